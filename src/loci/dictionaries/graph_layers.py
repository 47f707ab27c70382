"""The units of one layer in one run, as linear maps of the stream: what a graph's nodes are made
of.

A unit (neuron or feature) i at position p has the activation a. With slopes and norm scales held as
they are in the run,

    a = r_i · x + c_i                 x: what the MLP reads, after its norm
    plain:  r = (a / pre) W_up[i]     c = (a / pre) b_up[i]
    gated:  r = ½ (act(g) / g · u W_gate[i] + act(g) W_up[i])
            half of a product to each factor (RelP; Jafari et al. 2025)
    feature: r = W_enc[j], c = b_enc[j] where it is on

and it writes a · W_down[:, i] (a · W_dec[j]). What is left of the layer's output is no unit:
biases, a transcoder's skip and its error.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.dictionary import Dictionary
from loci.errors import DictionaryError
from loci.model import Model
from loci.model.frozen_norm import FrozenNorm


class NoNorm(FrozenNorm):
    """The identity in the place of a norm."""

    def __init__(self, like: Tensor) -> None:
        self.centres, self.bias, self.weight = (
            False,
            like.new_zeros(like.shape[-1]),
            like.new_ones(1),
        )


@dataclass(frozen=True)
class GraphLayer:
    """All units of one layer at every position of one run."""

    activations: Float[Tensor, "position unit"]
    write: Float[Tensor, "unit d_model"]
    first: Float[Tensor, "position unit"]
    W_first: Float[Tensor, "unit d_model"]
    """r of unit i at position p: first[p, i] · W_first[i] (+ second[p, i] · W_second[i])."""
    bias: Float[Tensor, "position unit"]
    """c."""
    before: FrozenNorm
    after: FrozenNorm
    rest: Float[Tensor, "position d_model"]
    """The part of the layer's output that does not depend on its input: biases."""
    error: Float[Tensor, "position d_model"]
    """The part of the layer's output that the transcoder does not reconstruct; zeros for neurons.
    """
    second: Float[Tensor, "position unit"] | None = None
    W_second: Float[Tensor, "unit d_model"] | None = None
    skip: Float[Tensor, "d_model d_model"] | None = None

    def reads(
        self, positions: Tensor, units: Tensor
    ) -> tuple[Float[Tensor, "target d_model"], Float[Tensor, " target"]]:
        """The covector of each target to the stream before the norm, and its constant: a = covector
        · stream + constant.
        """
        r = self.first[positions, units, None] * self.W_first[units]
        if self.second is not None and self.W_second is not None:
            r = r + self.second[positions, units, None] * self.W_second[units]
        constant = self.bias[positions, units] + r @ self.before.bias
        weight = self.before.weight
        r = r * (
            weight[0, positions] if weight.ndim > 1 else weight
        )  # each position has a scale of its own
        return r - r.mean(-1, keepdim=True) if self.before.centres else r, constant

    def effects(
        self, g: Float[Tensor, "target position d_model"]
    ) -> Float[Tensor, "target position unit"]:
        """The contribution of each unit to each target, whose covectors `g` are taken in the stream
        behind the layer.
        """
        return self.activations * (self.after.read(g) @ self.write.T)

    def through_skip(
        self, g: Float[Tensor, "target position d_model"]
    ) -> Float[Tensor, "target position d_model"]:
        """The covector that the skip carries on to the stream before the layer; only where there is
        one.
        """
        assert self.skip is not None
        return self.before.read(self.after.read(g) @ self.skip)


def neuron_layer(model: Model, layer: int, at: dict[str, Tensor]) -> GraphLayer:
    """The neurons of a layer in a run whose points `at` hold (one row each, in float32)."""
    if model.n_experts:
        raise DictionaryError(
            f"{model.name!r} has mixtures of experts: a graph over their neurons is not drawn"
        )
    act, pre = at[f"mlp_act.{layer}"][0], at[f"mlp_pre.{layer}"][0]
    after = _after(model, layer, at)
    W_down = model.W_down(layer).float()
    second, W_second = None, None
    if model.gated:
        up = at[f"mlp_up.{layer}"][0]
        gate = torch.where(up != 0, act / torch.where(up != 0, up, 1.0), 0.0)
        first = 0.5 * act / torch.where(pre != 0, pre, 1.0)
        second, W_second = 0.5 * gate, model.W_up(layer).float()
        bias = first * model.b_gate(layer).float() + second * model.b_up(layer).float()
    else:
        first = act / torch.where(pre != 0, pre, 1.0)
        bias = first * model.b_up(layer).float()
    first = torch.where(pre != 0, first, 0.0)
    flat = model.b_down(layer).float().expand(1, len(act), -1)
    return GraphLayer(
        activations=act,
        write=W_down.T,
        first=first,
        W_first=model.W_key(layer).float(),
        bias=bias,
        before=_before(model, layer, at),
        after=after,
        rest=(after(flat) + after.bias)[0],
        error=torch.zeros_like(flat[0]),
        second=second,
        W_second=W_second,
    )


def feature_layer(
    model: Model, layer: int, at: dict[str, Tensor], transcoder: Dictionary
) -> GraphLayer:
    """The features of a transcoder from mlp_in to what the stream gains, with what it leaves
    unexplained as its error.
    """
    if transcoder.point != f"mlp_in.{layer}" or transcoder.target not in (
        f"mlp_out.{layer}",
        f"mlp_raw.{layer}",
    ):
        raise DictionaryError(
            f"a graph takes transcoders from mlp_in.{layer} to mlp_out.{layer}, not"
            f" {transcoder.point} → {transcoder.target}"
        )
    if (
        transcoder.normalise != "none"
        or transcoder.activation == "gated"
        or transcoder.b_in is not None
    ):
        raise DictionaryError(
            "a graph takes transcoders that are linear where a feature is on: nothing subtracted,"
            " no norm, no gate"
        )
    x, y = at[f"mlp_in.{layer}"][0], at[f"{transcoder.target}"][0]
    f = transcoder.encode(x)
    f = (
        torch.cat([torch.zeros_like(f[:1]), f[1:]]) if model.special else f
    )  # at BOS dictionaries were not trained
    after = NoNorm(y) if transcoder.target.startswith("mlp_out") else _after(model, layer, at)
    on = (f != 0).float()
    made = f @ transcoder.W_dec + transcoder.b_dec
    made = made if transcoder.skip is None else made + x @ transcoder.skip.T
    bias = transcoder.b_dec.expand_as(y)
    before = _before(model, layer, at)
    if transcoder.skip is not None:
        bias = bias + before.bias @ transcoder.skip.T
    return GraphLayer(
        activations=f,
        write=transcoder.W_dec,
        first=on,
        W_first=transcoder.W_enc,
        bias=on * transcoder.b_enc,
        before=before,
        after=after,
        rest=(after(bias[None]) + after.bias)[0],
        error=after((y - made)[None])[0],
        skip=transcoder.skip,
    )


def _before(model: Model, layer: int, at: dict[str, Tensor]) -> FrozenNorm:
    """The norm before the MLP, or the identity, on the stream that it reads."""
    stem = "resid_pre" if model.layout.parallel else "resid_mid"
    return FrozenNorm(model, "mlp_norm", layer, at[f"{stem}.{layer}"])


def _after(model: Model, layer: int, at: dict[str, Tensor]) -> FrozenNorm:
    return FrozenNorm(
        model,
        "mlp_post",
        layer,
        at.get(f"mlp_raw.{layer}", at[f"mlp_act.{layer}"].new_zeros(1, 1, model.d_model)),
    )
