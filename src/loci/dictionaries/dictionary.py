"""One form for every sparse autoencoder and transcoder, whoever trained it.

    f = act(W_enc (x − b_in) + b_enc)                 features   [token, features]
    y = f W_dec + b_dec (+ skip x)                    output     [token, d_out]

An autoencoder gives x back (y ≈ x); a transcoder gives what an MLP makes of x. Rows of W_enc say
what a feature looks for, rows of W_dec what it writes. Whatever a library keeps apart (input
scales, decoder norms in the ranking, norm gains) is folded into these tensors, so that two files
that compute the same have the same form. Cost: 2 · features · d_in FLOPs a token, and 2 · L0 ·
d_out for the output.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import DictionaryError

ActivationKind = Literal["relu", "jumprelu", "topk", "abstopk", "groupmax", "gated"]
Normalisation = Literal["none", "layer_norm", "unit_norm"]
EPSILON = 1e-5
"""Added to the standard deviation in `layer_norm`, as OpenAI's and SAELens' dictionaries do."""


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A sparse autoencoder or transcoder in canonical form. Tensors are float32 on one device."""

    W_enc: Float[Tensor, "features d_in"]
    b_enc: Float[Tensor, " features"]
    W_dec: Float[Tensor, "features d_out"]
    b_dec: Float[Tensor, " d_out"]
    activation: ActivationKind = "relu"
    b_in: Float[Tensor, " d_in"] | None = None
    """Subtracted from the input; None: nothing is."""
    threshold: Float[Tensor, " features"] | None = None
    """For `jumprelu`: a feature is on where its pre-activation exceeds this."""
    k: int | None = None
    """For `topk`, `abstopk` and `groupmax`: how many features may be on at a token."""
    gain: Float[Tensor, " features"] | None = None
    b_gain: Float[Tensor, " features"] | None = None
    """For `gated`: an open feature has the size relu(gain · W_enc (x − b_in) + b_gain)."""
    skip: Float[Tensor, "d_out d_in"] | None = None
    normalise: Normalisation = "none"
    """The normalisation of each input: (x − mean) / (std + ε), or √d_in · x / ‖x‖; it is undone on
    an autoencoder's output.
    """
    transcoder: bool = False
    point: str | None = None
    """Where the input is read, as the file says or as was found."""
    target: str | None = None
    """Where the output belongs; an autoencoder's is its own point."""
    model: str | None = None
    fingerprint: str | None = None
    """SHA-256 of the weights of the model that it was trained on, where that is known."""
    format: str = "loci"
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Further entries of the file, and observations on opening it."""

    @property
    def features(self) -> int:
        return len(self.W_enc)

    @property
    def d_in(self) -> int:
        return self.W_enc.shape[1]

    @property
    def d_out(self) -> int:
        return self.W_dec.shape[1]

    def pre(self, x: Float[Tensor, "*any d_in"]) -> Float[Tensor, "*any features"]:
        """Pre-activations W_enc (x − b_in) + b_enc, of a normalised x where the dictionary
        normalises.
        """
        x, _, _ = self._normalised(x)
        return self._linear(x) + self.b_enc

    def encode(self, x: Float[Tensor, "*any d_in"]) -> Float[Tensor, "*any features"]:
        """The features of input vectors. Raises `DictionaryError` for another width."""
        if x.shape[-1] != self.d_in:
            raise DictionaryError(
                f"the dictionary takes vectors of {self.d_in} numbers, not of {x.shape[-1]}"
            )
        x, _, _ = self._normalised(x.float())
        return self._features(x)

    def decode(
        self, f: Float[Tensor, "*any features"], x: Float[Tensor, "*any d_in"] | None = None
    ) -> Tensor:
        """The output of features. `x` is needed where there is a skip connection, or where the
        input is normalised and put back.
        """
        return self._put_back(f @ self.W_dec, x)

    def __call__(self, x: Float[Tensor, "*any d_in"]) -> Float[Tensor, "*any d_out"]:
        """The reconstruction: decode(encode(x))."""
        return self.decode(self.encode(x), x)

    def to(self, device: torch.device | str) -> Self:
        moved: dict[str, Any] = {name: tensor.to(device) for name, tensor in self.tensors().items()}
        return replace(self, **moved)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that there are, by the names of their fields."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}

    def check(self, where: str) -> Self:
        """The dictionary, if its parts fit together. Raises `DictionaryError`, one line that begins
        with `where`.
        """
        if (
            self.W_enc.ndim != 2
            or self.W_dec.ndim != 2
            or not self.W_enc.numel()
            or not self.W_dec.numel()
        ):
            shapes = f"{tuple(self.W_enc.shape)} and {tuple(self.W_dec.shape)}"
            raise DictionaryError(
                f"{where}: encoder and decoder are matrices of features × width, not {shapes}"
            )
        if self.activation not in get_args(ActivationKind):
            raise DictionaryError(
                f"{where}: no activation {self.activation!r}: {', '.join(get_args(ActivationKind))}"
            )
        n, d_in, d_out = self.features, self.d_in, self.d_out
        wanted = {
            "b_enc": (n,),
            "W_dec": (n, d_out),
            "b_dec": (d_out,),
            "b_in": (d_in,),
            "threshold": (n,),
            "gain": (n,),
            "b_gain": (n,),
            "skip": (d_out, d_in),
        }
        for name, tensor in self.tensors().items():
            if tuple(tensor.shape) != wanted.get(name, tuple(tensor.shape)):
                shape = " × ".join(map(str, wanted[name]))
                raise DictionaryError(
                    f"{where}: {name} has the shape {tuple(tensor.shape)}, and {n:,} features need"
                    f" {shape}"
                )
            if not tensor.isfinite().all():
                raise DictionaryError(f"{where}: {name} holds NaN or infinite numbers")
        self._check_activation(where)
        if not self.transcoder and d_in != d_out:
            raise DictionaryError(
                f"{where}: an autoencoder gives back what it takes, and this one makes {d_out} of"
                f" {d_in} numbers"
            )
        return self

    def _check_activation(self, where: str) -> None:
        if self.activation in ("topk", "abstopk", "groupmax"):
            if self.k is None:
                raise DictionaryError(f"{where}: {self.activation} needs k, and it says none")
            if not 1 <= self.k <= self.features:
                raise DictionaryError(
                    f"{where}: k = {self.k:,}, and there are {self.features:,} features: expected 1"
                    f" … {self.features}"
                )
            if self.activation == "groupmax" and self.features % self.k:
                raise DictionaryError(
                    f"{where}: groupmax splits {self.features:,} features into k = {self.k} groups"
                    " of equal size"
                )
        if self.activation == "jumprelu" and self.threshold is None:
            raise DictionaryError(f"{where}: jumprelu needs a threshold, and there is none")
        if self.activation == "gated" and (self.gain is None or self.b_gain is None):
            raise DictionaryError(
                f"{where}: a gated dictionary needs the gain and the bias of its magnitudes"
            )

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """The input as the encoder takes it, and the shift and the scale that put an output
        back.
        """
        if self.normalise == "layer_norm":
            mean, scale = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
            return (x - mean) / (scale + EPSILON), mean, scale
        if self.normalise == "unit_norm":
            scale = x.norm(dim=-1, keepdim=True).clamp(min=1e-30) / self.d_in**0.5
            return x / scale, 0.0, scale
        return x, 0.0, 1.0

    def _linear(self, x: Tensor) -> Tensor:
        return (x if self.b_in is None else x - self.b_in) @ self.W_enc.T

    def _features(self, x: Tensor) -> Tensor:
        linear = self._linear(x)
        pre = linear + self.b_enc
        if self.activation == "relu":
            return pre.relu()
        if self.activation == "jumprelu":
            assert self.threshold is not None
            return torch.where(pre > self.threshold, pre.relu(), 0.0)
        if self.activation == "gated":
            assert self.gain is not None and self.b_gain is not None
            return torch.where(pre > 0, (linear * self.gain + self.b_gain).relu(), 0.0)
        assert self.k is not None
        if self.activation == "groupmax":
            best = pre.relu().unflatten(-1, (self.k, -1)).max(-1, keepdim=True)
            zeros = pre.new_zeros(*pre.shape[:-1], self.k, self.features // self.k)
            return zeros.scatter(-1, best.indices, best.values).flatten(-2)
        return keep_top(pre, self.k, absolute=self.activation == "abstopk")

    def _put_back(self, y: Tensor, x: Tensor | None) -> Tensor:
        y = y + self.b_dec
        if x is None and (
            self.skip is not None or (self.normalise != "none" and not self.transcoder)
        ):
            raise DictionaryError(
                "this dictionary's output needs its input too: decode(features, x)"
            )
        if x is None:
            return y
        x, shift, scale = self._normalised(x.float())
        if self.skip is not None:
            y = y + x @ self.skip.T
        return y if self.transcoder else y * scale + shift


def keep_top(
    pre: Float[Tensor, "*any features"], k: int, *, absolute: bool = False
) -> Float[Tensor, "*any features"]:
    """The k largest of each vector, as they are where positive (with `absolute`, of either sign);
    the others 0.
    """
    top = (pre.abs() if absolute else pre).topk(k, dim=-1, sorted=False)
    values = pre.gather(-1, top.indices) if absolute else top.values.relu()
    return torch.zeros_like(pre).scatter(-1, top.indices, values)


MLP_OUTPUTS = ("mlp_out", "mlp_raw")


def mlp_output(d: Dictionary, done: str, stems: Collection[str] = MLP_OUTPUTS) -> tuple[str, int]:
    """The point that a dictionary's output belongs to, and its layer. Raises `DictionaryError`
    where that is not one of these outputs of an MLP.
    """
    target = d.target or d.point or ""
    stem, _, layer = target.partition(".")
    if stem not in stems or not layer.isdigit():
        raise DictionaryError(
            f"{done} in an MLP's output, as mlp_out.0; this dictionary gives"
            f" {target or 'no point that it names'}"
        )
    return target, int(layer)
