"""Neurons added to an MLP: what a patch holds beside changes of weights that are there.

    y = MLP(x) + down · act(up · x + bias)        up [n, d_model], bias [n], down [d_model, n]; act the model's own, a ReLU

On a model in memory they are computed beside the MLP, whose weights stay as they are. In a checkpoint they stand behind its own neurons; as a
configuration has one width for all layers, other layers are filled up with neurons of zeros. Cut to its width again, it is the base, bit for bit.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import PatchError
from loci.model import Model
from loci.model.hooks import adding

WIDTHS = ("n_inner", "intermediate_size", "ffn_dim")
"""What families call the width of an MLP in their configurations."""
ACTS = ("activation_function", "hidden_act")


class Neurons(NamedTuple):
    """Neurons of a plain MLP with a ReLU."""

    up: Float[Tensor, "neuron d_model"]
    bias: Float[Tensor, " neuron"]
    down: Float[Tensor, "d_model neuron"]

    def __call__(self, x: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_model"]:
        up, bias, down = (tensor.to(x) for tensor in self)
        return torch.relu(x @ up.T + bias) @ down.T

    @property
    def size(self) -> int:
        return len(self.up)

    def check(self, name: str) -> None:
        """Raise `PatchError` where the parts do not fit, or hold NaN."""
        n, d = self.up.shape if self.up.ndim == 2 else (-1, -1)
        if self.bias.shape != (n,) or self.down.shape != (d, n):
            raise PatchError(f"the parts of {name} do not fit: {', '.join(str(tuple(part.shape)) for part in self)}")
        if not all(part.isfinite().all() for part in self):
            raise PatchError(f"{name} holds NaN or infinite numbers")


def takes_neurons(model: Model) -> bool:
    """Whether neurons can be added: a plain MLP with a ReLU, whose width the configuration names."""
    plain = model.config.to_dict()
    relu = next((plain[name] for name in ACTS if name in plain), None) == "relu"
    return relu and not model.gated and any(name in plain for name in WIDTHS)


@contextmanager
def beside(model: Model, neurons: Mapping[int, Neurons]) -> Iterator[None]:
    """Inside the block, what the neurons write is added to the outputs of their layers' MLPs."""
    with model.patched(adding("mlp_in", "mlp_out", {layer: each.__call__ for layer, each in neurons.items()})):
        yield


@torch.no_grad()
def widened(model: Model, neurons: Mapping[int, Neurons]) -> Model:
    """A copy of a model with neurons behind its own. Cost: a copy of the weights. Raises `PatchError` where it takes none."""
    if not takes_neurons(model):
        raise PatchError(f"{model.name!r} ({model.layout.family}) takes no neurons: they are added to plain MLPs with a ReLU")
    width = model.d_mlp
    wide = resized(model, width + max(part.size for part in neurons.values()))
    for layer, part in neurons.items():
        if part.up.shape[1] != model.d_model:
            raise PatchError(f"neurons of {part.up.shape[1]} dimensions for a model of {model.d_model}")
        mine = slice(width, width + part.size)
        wide.W_up(layer)[mine], wide.b_up(layer)[mine] = part.up.to(wide.dtype), part.bias.to(wide.dtype)
        wide.W_down(layer)[:, mine] = part.down.to(wide.dtype)
    return wide


@torch.no_grad()
def resized(model: Model, width: int) -> Model:
    """A copy of a model with so many neurons a layer: the first ones, or all and then neurons of zeros."""
    config = copy.deepcopy(model.hf.config)
    setattr(config, next(name for name in WIDTHS if hasattr(config, name)), width)
    hf = type(model.hf)(config).to(model.device, model.dtype)
    old = dict(model.hf.named_parameters())
    for name, parameter in hf.named_parameters():
        shared = tuple(slice(min(sizes)) for sizes in zip(parameter.shape, old[name].shape, strict=True))
        parameter.zero_()
        parameter[shared] = old[name][shared]
    return Model(hf, model.tokenizer, model.name, model.layout, bos=model.bos)
