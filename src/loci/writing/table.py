"""A table to store: keys, the values to choose from, and which value belongs to which key.

A fact i is stored where its value has the largest score:   label_i = argmax_j ⟨values_j, f(key_i)⟩.
A table has log2(number of maps) bits: log2 N! where the values are a permutation of the keys, N
log2 C where each key has any of C.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.errors import WriteError

SHOWN = 5
CLASSES = 2**15
"""Most values that are made as unit vectors: 4 GiB of them."""


@dataclass(frozen=True)
class FactTable:
    """N keys, C values, N labels."""

    keys: Float[Tensor, "fact d_in"]
    values: Float[Tensor, "value d_out"]
    labels: Int[Tensor, " fact"]

    def __post_init__(self) -> None:
        """Raises `WriteError` for tables that nothing can store."""
        _check_shapes(self.keys, self.values, self.labels)
        _check_numbers(self.keys, "key")
        _check_numbers(self.values, "value")
        _check_contradictions(self.keys, self.labels)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dim(self) -> int:
        return self.keys.shape[1]

    @property
    def is_permutation(self) -> bool:
        return len(self.values) == len(self) == len(self.labels.unique())

    @property
    def bits(self) -> float:
        """log2(number of maps)."""
        if self.is_permutation:
            return math.lgamma(len(self) + 1) / math.log(2)
        return len(self) * math.log2(len(self.values))

    @property
    def targets(self) -> Float[Tensor, "fact d_out"]:
        """Each fact's value."""
        return self.values[self.labels]

    def scores(self, outputs: Float[Tensor, "fact d_out"]) -> Float[Tensor, "fact value"]:
        return outputs @ self.values.T

    def margins(self, outputs: Float[Tensor, "fact d_out"]) -> Float[Tensor, " fact"]:
        """Score of the right value minus that of the best other one: positive where a fact is
        stored."""
        scores = self.scores(outputs)
        right = scores.gather(1, self.labels[:, None])[:, 0]
        return right - scores.scatter(1, self.labels[:, None], -torch.inf).amax(1)

    def first(self, count: int) -> "FactTable":
        """The first facts, with all values to choose from."""
        return FactTable(self.keys[:count], self.values, self.labels[:count])

    def to(self, dtype: torch.dtype) -> "FactTable":
        return FactTable(self.keys.to(dtype), self.values.to(dtype), self.labels)


def classes(
    keys: Float[Tensor, "fact d_in"], labels: Int[Tensor, " fact"], count: int | None = None
) -> FactTable:
    """A table whose answers are class numbers: values are unit vectors, an output is a list of
    scores.

    Args:
        keys: [fact, d_in].
        labels: [fact], 0 … count − 1.
        count: number of classes; None: the largest label + 1.

    Returns: `FactTable`.
    Raises: `WriteError` for a table that nothing can store.
    """
    count = (int(labels.max()) + 1 if len(labels) else 0) if count is None else count
    if count > CLASSES:
        raise WriteError(f"{count:,} classes: at most {CLASSES:,} are stored as unit vectors")
    return FactTable(keys, torch.eye(count, dtype=keys.dtype), labels)


def vectors(keys: Float[Tensor, "fact d_in"], answers: Float[Tensor, "fact d_out"]) -> FactTable:
    """A table whose answers are vectors; equal answers are one value.

    Args:
        keys: [fact, d_in].
        answers: [fact, d_out].

    Returns: `FactTable`.
    Raises: `WriteError` for a table that nothing can store.
    """
    values, labels = answers.unique(dim=0, return_inverse=True)
    return FactTable(keys, values, labels)


def _check_shapes(keys: Tensor, values: Tensor, labels: Tensor) -> None:
    if not len(keys):
        raise WriteError("there are no facts to store (N = 0)")
    if keys.ndim != 2 or keys.shape[1] < 2:
        raise WriteError(
            f"keys are vectors of at least two dimensions, not {tuple(keys.shape[1:])}: in one, "
            "all keys lie on a line"
        )
    if values.ndim != 2 or len(values) < 2:
        raise WriteError(f"there must be two values at least to choose from, not {len(values)}")
    if labels.shape != (len(keys),):
        raise WriteError(
            f"there are {len(keys)} keys and labels of shape {tuple(labels.shape)}: each key has "
            "one"
        )
    wrong = [i for i, label in enumerate(labels.tolist()) if not 0 <= label < len(values)]
    if wrong:
        raise WriteError(
            f"classes are 0 … {len(values) - 1}; out of range: {_listed(wrong, labels)}"
        )


def _check_numbers(rows: Tensor, name: str) -> None:
    broken = (~rows.isfinite().all(1)).nonzero()[:, 0].tolist()
    if broken:
        raise WriteError(f"{name} {_names(broken)} holds NaN or infinite numbers")
    zero = (rows == 0).all(1).nonzero()[:, 0].tolist()
    if zero:
        raise WriteError(f"{name} {_names(zero)} is zero: nothing points at it")


def _check_contradictions(keys: Tensor, labels: Tensor) -> None:
    _, group = keys.unique(dim=0, return_inverse=True)
    pairs = torch.stack([group, labels], 1).unique(dim=0)
    double = pairs[:, 0].bincount() > 1
    if double.any():
        groups = [
            (group == g).nonzero()[:, 0].tolist() for g in double.nonzero()[:SHOWN, 0].tolist()
        ]
        raise WriteError(
            f"the same key has different answers in facts {'; '.join(map(str, groups))}: no map "
            "can hold both"
        )


def _names(rows: list[int]) -> str:
    return ", ".join(map(str, rows[:SHOWN])) + (
        f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    )


def _listed(rows: list[int], labels: Tensor) -> str:
    return ", ".join(f"{int(labels[i])} at fact {i}" for i in rows[:SHOWN]) + (
        " …" if len(rows) > SHOWN else ""
    )
