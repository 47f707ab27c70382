"""Which weights differ between two checkpoints: by how much, in how many directions, and whether
rounding explains it.

    Δ = W_edited − W_base        relative norm ‖Δ‖ / ‖W_base‖ (Frobenius)
            rank = number of σ_i(Δ) above the floor of rounding

Every parameter is compared, one at a time, read where it lies: two checkpoints never stand in
memory whole. Cost: one pass over both files; for each matrix that changed, three symmetric
eigenproblems of its smaller side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.auditing.forensics.rounding import GRIDS, grid, is_rounding, noise_floor
from loci.auditing.forensics.spectra import PRECISION, SubspaceDrift, drift, spectrum
from loci.errors import ModelError
from loci.model import Weights
from loci.progress import Progress, silent

DOMINANT = 8
PARTS = {"q": "Q", "k": "K", "v": "V", "o": "O", "gate": "gate", "up": "up", "down": "down"}


@dataclass(frozen=True)
class WeightChange:
    """One parameter that is not what it was."""

    name: str
    """As in the papers where they have a word (`W_down.3`), else as in the checkpoint."""
    shape: tuple[int, ...]
    norm: float
    relative: float
    """‖Δ‖ / ‖W_base‖; infinite where the base's is nothing but zeros."""
    entries: float
    """Share of its numbers that differ."""
    rounding: bool
    """Whether no number differs by more than rounding to another dtype makes it."""
    floor: float
    """The largest singular value that rounding may have made."""
    values: Float[Tensor, " r"]
    """Singular values of the change, largest first; its norm alone for a vector."""
    drift: SubspaceDrift | None
    """None for a vector, and where rounding is all."""

    @property
    def rank(self) -> int:
        """Singular values above the floor."""
        return (
            0
            if self.rounding
            else int((self.values > max(self.floor, PRECISION * float(self.values[0]))).sum())
        )

    @property
    def full(self) -> bool:
        """Whether the change has more than half of all directions that it could have: no few
        edits, but training."""
        return self.rank > len(self.values) / 2

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shape": list(self.shape),
            "rank": self.rank,
            "norm": self.norm,
            "relative_norm": self.relative if math.isfinite(self.relative) else None,
            "entries": self.entries,
            "rounding": self.rounding,
            "floor": self.floor,
            "spectrum": self.values.tolist(),
            "drift": self.drift._asdict() if self.drift else None,
        }


def compare(
    base: Weights, edited: Weights, *, progress: Progress = silent
) -> tuple[WeightChange, ...]:
    """Every parameter that differs between two checkpoints.

    Args:
        base: the original.
        edited: the checkpoint in question.
        progress: called with (steps done, steps in all).

    Returns: `WeightChange` for each parameter that differs.
    Raises: `ModelError` for models of different shape, and for NaN or infinity in either.
    Cost: One pass over both files; three symmetric eigenproblems for each changed matrix.
    """
    names = check_alike(base, edited)
    field_of = field_names(base)
    changes = []
    for name in names:
        before, after = _read(base, name), _read(edited, name)
        if not torch.equal(before.double(), after.double()):
            changes.append(_change(field_of.get(name, name), before, after))
        progress(1, len(names))
    return tuple(changes)


def check_alike(base: Weights, edited: Weights) -> Sequence[str]:
    """The parameters that both have; a tied unembedding may be missing in one of them.

    Raises `ModelError` where shapes differ.
    """
    lone = sorted(set(base.parameter_names) ^ set(edited.parameter_names))
    common = [name for name in base.parameter_names if name in set(edited.parameter_names)]
    if not common or (lone and base.tied == edited.tied):
        whose = f": {lone[0]} is in one alone" if lone else ""
        raise ModelError(
            f"{base.name!r} and {edited.name!r} are not the same architecture{whose}; give the "
            "model that was edited"
        )
    for name in common:
        shapes = [tuple(weights.parameter(name).shape) for weights in (base, edited)]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"{name} is {shapes[0]} in {base.name!r} and {shapes[1]} in {edited.name!r}: not "
                "base and edit"
            )
    return common


def field_names(weights: Weights) -> dict[str, str]:
    """The papers' names of parameters, by their names in the checkpoint: W_E, W_U, W_Q.L …
    W_down.L, and b_… for biases."""
    paths = {id(module): path for path, module in weights.hf.named_modules()}
    words: dict[str, list[str]] = {paths[id(weights.module("embed"))]: ["E"]}
    words.setdefault(paths[id(weights.module("unembed"))], ["U"])
    layers: dict[str, str] = {}
    for layer in range(weights.n_layers):
        for part, word in PARTS.items():
            if getattr(weights.layout, part):
                path = paths[id(weights.module(part, layer))]
                words.setdefault(path, []).append(word)
                layers[path] = f".{layer}"
    ends = {"weight": "W", "bias": "b"}
    return {
        f"{path}.{end}": f"{letter}_{'+'.join(parts)}{layers.get(path, '')}"
        for path, parts in words.items()
        for end, letter in ends.items()
    }


def _read(weights: Weights, name: str) -> Tensor:
    tensor = weights.parameter(name)
    if not tensor.isfinite().all():
        raise ModelError(
            f"{name} of {weights.name!r} holds NaN or infinite numbers: a broken checkpoint"
        )
    return tensor


def _change(name: str, before: Tensor, after: Tensor) -> WeightChange:
    wide = before.double(), after.double()
    delta = wide[1] - wide[0]
    norm, size = float(delta.norm()), float(wide[0].norm())
    numbers = (
        tuple(before.shape),
        norm,
        norm / size if size else math.inf,
        float((delta != 0).double().mean()),
    )
    rounding = is_rounding(before, after)
    if delta.ndim < 2:
        return WeightChange(
            name, *numbers, rounding, 0.0, torch.tensor([norm], dtype=torch.float64), None
        )
    flat = [matrix.reshape(-1, matrix.shape[-1]) for matrix in (*wide, delta)]
    coarse = min(grid(before), grid(after), key=GRIDS.index)
    floor = noise_floor(torch.maximum(flat[0].abs(), flat[1].abs()), coarse)
    values = spectrum(flat[2]).values
    turned = None if rounding else drift(spectrum(flat[0]), spectrum(flat[1]), flat[2], DOMINANT)
    return WeightChange(name, *numbers, rounding, floor, values, turned)
