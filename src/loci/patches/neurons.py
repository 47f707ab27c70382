"""Neurons added to an MLP: what a patch holds beside changes of weights that are there.

    y = MLP(x) + down · act(up · x + bias)  up [n, d_model], bias [n], down [d_model, n]; act the
                                            model's own

In a gated MLP they are gates whose other side is 1 at every input: a row of zeros, with a bias of
1. On a model in memory they are computed beside the MLP, whose weights stay as they are. In a
checkpoint they stand behind its own neurons; as a configuration has one width for all layers, other
layers are filled up with neurons of zeros, and a gated MLP gets biases of zeros where it may have
some and has none. Cut to its width again, it is the base, bit for bit.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from loci.errors import PatchError
from loci.model import Model
from loci.model.hooks import adding

WIDTHS = ("n_inner", "intermediate_size", "ffn_dim")
"""Names of the MLP's width in the configurations of families."""
ACTS = ("activation_function", "hidden_act")
BIASES = "mlp_bias"
"""The entry in the configurations of gated families by which an MLP has biases; families without it
have none.
"""
Act = Callable[[Tensor], Tensor]
_tanh_gelu = partial(functional.gelu, approximate="tanh")
ACTIVATIONS: dict[str, Act] = {
    "relu": torch.relu,
    "gelu": functional.gelu,
    **dict.fromkeys(("gelu_new", "gelu_fast", "gelu_pytorch_tanh"), _tanh_gelu),
    **dict.fromkeys(("silu", "swish"), functional.silu),
}
"""By the names that configurations use."""


class AddedNeurons(NamedTuple):
    """Neurons that read the stream as an MLP does."""

    up: Float[Tensor, "neuron d_model"]
    bias: Float[Tensor, " neuron"]
    down: Float[Tensor, "d_model neuron"]

    def written(self, x: Float[Tensor, "*any d_model"], act: Act) -> Float[Tensor, "*any d_model"]:
        up, bias, down = (tensor.to(x) for tensor in self)
        return act(x @ up.T + bias) @ down.T

    @property
    def size(self) -> int:
        return len(self.up)

    def check(self, name: str) -> None:
        """Raise `PatchError` where the parts do not fit, or hold NaN."""
        n, d = self.up.shape if self.up.ndim == 2 else (-1, -1)
        if self.bias.shape != (n,) or self.down.shape != (d, n):
            raise PatchError(
                f"the parts of {name} do not fit:"
                f" {', '.join(str(tuple(part.shape)) for part in self)}"
            )
        if not all(part.isfinite().all() for part in self):
            raise PatchError(f"{name} holds NaN or infinite numbers")


def activation(model: Model) -> str | None:
    """The name of the model's activation, where its configuration has one."""
    plain: dict[str, Any] = model.config.to_dict()
    return next((str(plain[name]) for name in ACTS if name in plain), None)


def takes_neurons(model: Model) -> bool:
    """Whether neurons can be added: an MLP whose width the configuration names, of a known
    activation, with biases, and no norm behind it.
    """
    plain: dict[str, Any] = model.config.to_dict()
    if model.n_experts or model.layout.mlp_post or not any(name in plain for name in WIDTHS):
        return False
    biased = (
        BIASES in plain if model.gated else getattr(model.module("up", 0), "bias", None) is not None
    )
    return biased and activation(model) in ACTIVATIONS


def check_takes(model: Model) -> None:
    """Raise `PatchError` where no neurons can be added."""
    if not takes_neurons(model):
        raise PatchError(
            f"{model.name!r} ({model.layout.family},"
            f" {activation(model) or 'of no named activation'}) takes no neurons: they are added to"
            f" MLPs with biases ({BIASES} in the configuration of a gated one) and"
            f" {', '.join(ACTIVATIONS)}"
        )


@contextmanager
def beside(model: Model, neurons: Mapping[int, AddedNeurons]) -> Iterator[None]:
    """Inside the block, what the neurons write is added to the outputs of their layers' MLPs.
    Raises `PatchError` where the model takes none.
    """
    if neurons:
        check_takes(model)
    act = ACTIVATIONS.get(activation(model) or "", torch.relu)
    with model.patched(
        adding(
            "mlp_in",
            "mlp_out",
            {layer: partial(each.written, act=act) for layer, each in neurons.items()},
        )
    ):
        yield


@torch.no_grad()
def widened(model: Model, neurons: Mapping[int, AddedNeurons]) -> Model:
    """A copy of a model with neurons behind its own. Cost: a copy of the weights. Raises
    `PatchError` where it takes none.
    """
    check_takes(model)
    width = model.d_mlp
    wide = resized(model, width + max(part.size for part in neurons.values()), biased=True)
    for layer, part in neurons.items():
        if part.up.shape[1] != model.d_model:
            raise PatchError(
                f"neurons of {part.up.shape[1]} dimensions for a model of {model.d_model}"
            )
        mine = slice(width, width + part.size)
        wide.W_key(layer)[mine], wide.b_key(layer)[mine] = (
            part.up.to(wide.dtype),
            part.bias.to(wide.dtype),
        )
        wide.W_down(layer)[:, mine] = part.down.to(wide.dtype)
        if model.gated:
            wide.b_up(layer)[mine] = 1
    return wide


@torch.no_grad()
def resized(model: Model, width: int, *, biased: bool | None = None) -> Model:
    """A copy of a model with so many neurons a layer: the first ones, or all and then neurons of
    zeros.

    A gated MLP has biases in the copy as `biased` says, where it may have any; new ones are 0.
    """
    config = copy.deepcopy(model.hf.config)
    setattr(config, next(name for name in WIDTHS if hasattr(config, name)), width)
    if biased is not None and model.gated:
        setattr(config, BIASES, biased)
    hf = type(model.hf)(config).to(model.device, model.dtype)
    old = dict(model.hf.named_parameters())
    for name, parameter in hf.named_parameters():
        parameter.zero_()
        if name in old:
            shared = tuple(
                slice(min(sizes)) for sizes in zip(parameter.shape, old[name].shape, strict=True)
            )
            parameter[shared] = old[name][shared]
    return Model(hf, model.tokenizer, model.name, model.layout, bos=model.bos)


def narrowed(model: Model, more: int, base: str) -> Model:
    """A wider copy cut to the width of its base, and without the biases of zeros that it was given,
    if it is the base only so.
    """
    cut = resized(model, model.d_mlp - more)
    if cut.fingerprint == base or not cut.gated or any(_biases(cut)):
        return cut
    return resized(cut, cut.d_mlp, biased=False)


def _biases(model: Model) -> Iterator[bool]:
    """For each bias of a gated model's MLPs, whether it says anything."""
    for layer in range(model.n_layers):
        yield from (bool(bias(layer).any()) for bias in (model.b_gate, model.b_up, model.b_down))
