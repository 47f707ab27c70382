"""How many facts fit: the smallest number of neurons that stores all of a case, by each method.

Protocol: keys on a sphere, which are the values too, in a random order; all facts must be recalled;
the number of neurons is found by bisection to 5 %, from a guess; seconds are those of the solver at
that number. Gradient descent (Adam, full batch, 3,000 steps) is asked the same in the same run. A
descent may fail where another start would not, so numbers of compilers and of gradient descent are
upper bounds of what is needed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns
from loci.writing.mlp import MLP
from loci.writing.storage import METHODS, check_methods, stored_bits
from loci.writing.table import FactTable

PRECISION = 0.05
GUESSES = {"compiled-gated": 2.2, "adam-gated": 1.9, "compiled": 1.9, "adam": 1.7, "random": 0.18}
DEFAULT = (
    "random-relu",
    "bilinear-whitened",
    "bilinear-fitted",
    "compiled-relu",
    "compiled-gated",
    "adam-relu",
    "adam-gated",
)


class MethodCapacity(NamedTuple):
    """The size that a method needs; where it stores not all facts with any number tried, what it
    reaches with the largest."""

    method: str
    neurons: int
    parameters: int
    bits_per_parameter: float
    recall: float
    seconds: float


@dataclass(frozen=True)
class Capacity(Result):
    """The needs of several methods for one case."""

    about: ClassVar[About] = About(
        "capacity",
        "How few neurons store so many facts?",
        "Bits per parameter of each method; only methods that recall all facts have a bar.",
        "writing.capacity_figure",
    )

    dim: int
    facts: int
    rows: tuple[MethodCapacity, ...]

    def of(self, method: str) -> MethodCapacity:
        return next(row for row in self.rows if row.method == method)

    def title(self) -> str:
        return f"{self.facts:,} facts in {self.dim} dimensions: fewest neurons that hold them all"

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                own.method,
                f"{own.neurons:,}" if own.recall == 1 else f"> {own.neurons:,}",
                own.parameters,
                own.bits_per_parameter,
                own.recall,
                own.seconds,
            )
            for own in self.rows
        )
        heads = ("neurons", "parameters", "bits/parameter|.3f", "recall|.1%", "time|.2f|s")
        return (Table("", columns("method", *heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.capacity/1",
            "dim": self.dim,
            "facts": self.facts,
            "rows": [row._asdict() for row in self.rows],
        }


@dataclass(frozen=True)
class CapacityCurve(Result):
    """Capacities of several cases, for the figure."""

    about: ClassVar[About] = About(
        "capacity",
        "How many facts fit, by each method?",
        "Bits per parameter over the number of facts; dotted lines are gradient descent.",
        "writing.curve_figure",
    )

    cases: tuple[Capacity, ...]

    def tables(self) -> tuple[Table, ...]:
        return tuple(
            replace(table, title=case.title()) for case in self.cases for table in case.tables()
        )

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "loci.capacity_curve/1", "cases": [case.to_dict() for case in self.cases]}


def capacity(
    table: FactTable,
    methods: Sequence[str] = DEFAULT,
    *,
    precision: float = PRECISION,
    progress: Progress = silent,
) -> Capacity:
    """The smallest MLP that stores a whole table, by each method.

    Args:
        table: keys, values and labels to store.
        methods: names of `METHODS`.
        precision: relative width at which bisection stops.
        progress: called with (steps done, steps in all).

    Returns: `Capacity`: neurons, parameters and bits a parameter, by method.
    Raises: `WriteError` for an unknown method.
    Cost: Some ten solves a method; those that fail take longest.
    """
    check_methods(methods)
    rows = []
    for method in methods:
        rows.append(need(table, method, precision))
        progress(1, len(methods))
    return Capacity(table.dim, len(table), tuple(rows))


def need(table: FactTable, method: str, precision: float = PRECISION) -> MethodCapacity:
    """The smallest number of neurons with which a method stores all of a table: gallop from a
    guess, then bisect."""
    tried: dict[int, MethodCapacity] = {}

    def enough(neurons: int) -> bool:
        tried[neurons] = _tried(table, method, METHODS[method], neurons)
        return tried[neurons].recall == 1

    low, high = bracket(enough, _guess(table, method), 4 * len(table))
    if high is None:
        return tried[max(tried)]
    return tried[bisected(enough, low, high, precision)]


def bracket(enough: Callable[[int], bool], guess: int, limit: int) -> tuple[int, int | None]:
    """(a number that is not enough, or 0; one that is, or None where none is up to `limit`), by
    steps of a fifth from a guess."""
    guess = max(1, min(guess, limit))
    if enough(guess):
        high = guess
        while high > 1:
            lower = min(high - 1, int(high / 1.2))
            if not enough(lower):
                return lower, high
            high = lower
        return 0, high
    low, step = guess, 1.2
    while low < limit:
        higher = min(limit, max(low + 1, int(low * step)))
        if enough(higher):
            return low, higher
        low, step = higher, step * 1.2
    return low, None


def bisected(enough: Callable[[int], bool], low: int, high: int, precision: float) -> int:
    """A number that is enough, at most `precision` above one that is not."""
    while high - low > max(1, precision * low):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _tried(
    table: FactTable, method: str, make: Callable[[FactTable, int], MLP], neurons: int
) -> MethodCapacity:
    started = time.process_time()
    mlp = make(table, neurons)
    seconds = time.process_time() - started
    recall = recalled(mlp, table)
    return MethodCapacity(
        method,
        mlp.size,
        mlp.parameters,
        stored_bits(table, recall) / mlp.parameters,
        recall,
        seconds,
    )


@torch.no_grad()
def recalled(mlp: MLP, table: FactTable) -> float:
    """Share of the facts that an MLP, in float32, gives back."""
    return float((table.margins(mlp.map(Tensor.float)(table.keys)) > 0).double().mean())


def _guess(table: FactTable, method: str) -> int:
    """Neurons at about the bits that a method is known to reach; ends do not depend on it, only
    how many solves it takes."""
    bits = next((bits for name, bits in GUESSES.items() if method.startswith(name)), 0.1)
    sides = 3 if "gated" in method or "bilinear" in method else 2
    return max(1, round(table.bits / (bits * sides * table.dim)))
