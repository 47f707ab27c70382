"""Where a named weight lies in a checkpoint: the parameter, which of its rows, and which way round.

W_down.3 → transformer.h.3.mlp.c_proj.weight, transposed (GPT-2)
    W_up.3 → model.layers.3.mlp.gate_up_proj.weight, lower half (Phi-3)
"""

from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from loci.model import Weights, is_conv1d

PARTS = {"W_up": "up", "W_gate": "gate", "W_down": "down"}


class WeightRows(NamedTuple):
    """Rows [start, stop) of a module's weight as [out, in] are the named weight."""

    module: str
    start: int
    stop: int
    shape: tuple[int, int]
    """[out, in] of the whole module."""
    transposed: bool
    """Whether the module keeps it as [in, out]."""

    @property
    def parameter(self) -> str:
        return f"{self.module}.weight"

    def spread(self, rows: Float[Tensor, "rows any"]) -> Float[Tensor, "out any"]:
        """The rows in their places, the module's other rows zero."""
        whole = rows.new_zeros(self.shape[0], rows.shape[1])
        whole[self.start : self.stop] = rows
        return whole


@dataclass(frozen=True)
class ComparableWeight:
    """A weight that can be compared: its shape, and how to read it."""

    weights: Weights
    path: str
    """The module and the parameter's name in it."""
    place: WeightRows | None

    @property
    def shape(self) -> tuple[int, ...]:
        return (
            tuple(self._parameter().shape)
            if self.place is None
            else (self.place.stop - self.place.start, self.place.shape[1])
        )

    def read(self) -> Tensor:
        """Its values on the CPU, [out, in] for a named weight."""
        module, _, leaf = self.path.rpartition(".")
        values = self.weights.tensor(self.weights.hf.get_submodule(module), leaf).detach().cpu()
        if self.place is None:
            return values
        return (values.T if self.place.transposed else values)[self.place.start : self.place.stop]

    def _parameter(self) -> Tensor:
        return self.weights.hf.get_parameter(self.path)


def patchable(name: str) -> bool:
    """Whether this is the name of a weight that a patch can hold."""
    stem, _, layer = name.partition(".")
    return stem in PARTS and layer.isdecimal()


def place_of(weights: Weights, name: str) -> WeightRows:
    """Where `W_up.3`, `W_gate.3` or `W_down.3` lies. Raises `ModelError` where the model has no
    such weight.
    """
    stem, _, layer = name.partition(".")
    module = weights.module(PARTS[stem], int(layer))
    stored = module.weight
    assert isinstance(stored, Tensor)
    transposed = is_conv1d(module)
    out, into = reversed(stored.shape) if transposed else stored.shape
    if stem == "W_down" or not weights.layout.gate or weights.layout.gate != weights.layout.up:
        return WeightRows(_path(weights, module), 0, out, (out, into), transposed)
    half = out // 2
    return WeightRows(
        _path(weights, module),
        *((0, half) if stem == "W_gate" else (half, out)),
        (out, into),
        transposed,
    )


def named_parameters(weights: Weights) -> dict[str, ComparableWeight]:
    """All parameters of a checkpoint: a patch's names where a patch can hold them, their own
    elsewhere. What is tied counts once.
    """
    stems = (
        ()
        if weights.n_experts
        else [stem for stem in PARTS if stem != "W_gate" or weights.layout.gate]
    )
    named = {
        f"{stem}.{layer}": place_of(weights, f"{stem}.{layer}")
        for layer in range(weights.n_layers)
        for stem in stems
    }
    taken = {place.parameter for place in named.values()}
    entries = {
        name: ComparableWeight(weights, place.parameter, place) for name, place in named.items()
    }
    rest = [name for name, _ in weights.hf.named_parameters() if name not in taken]
    twice = _listed_twice(weights, rest)
    return entries | {name: ComparableWeight(weights, name, None) for name in rest if name != twice}


def _listed_twice(weights: Weights, names: list[str]) -> str | None:
    """The unembedding's name where it is the embedding and both are listed, as offloading does."""
    embed, unembed = (
        f"{_path(weights, weights.module(part))}.weight" for part in ("embed", "unembed")
    )
    return unembed if weights.tied and embed in names else None


def _path(weights: Weights, module: nn.Module) -> str:
    paths: list[str] = [path for path, other in weights.hf.named_modules() if other is module]
    return paths[0]
