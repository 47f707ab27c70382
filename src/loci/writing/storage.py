"""A store: facts in the weights of one MLP, and what they are like there.

    bits per parameter = bits / parameters,  bits = log2(number of maps) where all facts are stored
                       = N [log2 C − h(q) − (1 − q) log2(C − 1)] where a share q is
                               (h the binary entropy)

Every number is measured on the weights as they are, in float32: recall and margins at all keys (no
sample), recall at keys with noise, and the largest |∂y/∂x| at a key, which is a lower bound of the
Lipschitz constant.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from loci.errors import WriteError
from loci.linalg import spectral_norms
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, share
from loci.tables import Table, columns
from loci.writing import closed_form
from loci.writing.compiler import compiled
from loci.writing.gradient_descent import adam
from loci.writing.mlp import MLP, check_neurons
from loci.writing.table import FactTable

NOISES = (0.01, 0.05, 0.2)

METHODS: dict[str, Callable[[FactTable, int], MLP]] = {
    "one-per-fact": closed_form.one_per_fact,
    "outer-product": closed_form.outer_product,
    "least-squares": closed_form.least_squares,
    "random-relu": closed_form.random_relu,
    "bilinear": closed_form.bilinear,
    "bilinear-whitened": closed_form.bilinear_whitened,
    "bilinear-fitted": closed_form.bilinear_fitted,
    "compiled-relu": partial(compiled, act="relu"),
    "compiled-gelu": partial(compiled, act="gelu"),
    "compiled-gated": partial(compiled, act="silu", gated=True),
    "adam-relu": partial(adam, act="relu"),
    "adam-gated": partial(adam, act="silu", gated=True),
}
CLOSED = tuple(name for name in METHODS if not name.startswith(("compiled", "adam")))


@dataclass(frozen=True)
class StoredTable:
    """An MLP that holds facts of a table, and its numbers."""

    method: str
    mlp: MLP
    facts: int
    values: int
    dim: int
    bits: float
    """Of the facts that are stored."""
    margin: float
    """The smallest over the facts: score of the right value less that of the best other one.
    Negative where a fact is lost."""
    lost: tuple[int, ...]
    """Facts that are not stored, by their rows."""
    noise: dict[float, Estimate]
    """Recall at keys with Gaussian noise of so many times their length."""
    lipschitz: float
    """The largest spectral norm of the Jacobian at a key."""
    seconds: float
    """Of the solver alone."""

    @property
    def recall(self) -> float:
        return 1 - len(self.lost) / self.facts

    @property
    def bits_per_parameter(self) -> float:
        return self.bits / self.mlp.parameters

    @property
    def words(self) -> str:
        """Whether all facts fit, in a sentence."""
        if not self.lost:
            return f"All {self.facts:,} facts are stored in {self.mlp.size:,} neurons."
        kept = self.facts - len(self.lost)
        return (
            f"{kept:,} of {self.facts:,} facts are stored: {len(self.lost):,} found no room in "
            f"{self.mlp.size:,} neurons by this method."
        )

    def to_dict(self) -> dict[str, Any]:
        plain = (
            "method",
            "facts",
            "values",
            "dim",
            "bits",
            "bits_per_parameter",
            "recall",
            "margin",
            "lipschitz",
            "seconds",
            "words",
        )
        return {
            "schema": "loci.store/1",
            **{name: getattr(self, name) for name in plain},
            "neurons": self.mlp.size,
            "parameters": self.mlp.parameters,
            "lost": list(self.lost),
            "noise": {str(size): estimate.to_dict() for size, estimate in self.noise.items()},
        }


@dataclass(frozen=True)
class StoredTables(Result):
    """The same facts, stored by several methods in the same number of neurons."""

    about: ClassVar[About] = About(
        "facts stored by every method",
        "The same facts in the same number of neurons: which method recalls them?",
        "Recall at the keys and at keys with noise.",
        "writing.stores_figure",
    )

    neurons: int
    stores: tuple[StoredTable, ...]

    @property
    def best(self) -> StoredTable:
        """The one that holds most facts, with the larger margin where several hold all."""
        return max(
            self.stores,
            key=lambda store: (
                store.recall,
                store.margin / store.lipschitz if store.lipschitz else 0.0,
            ),
        )

    def title(self) -> str:
        first = self.stores[0]
        return (
            f"{first.facts:,} facts, {self.neurons} neurons: {first.dim} dimensions,"
            f" {first.values:,} values"
        )

    def summary(self) -> tuple[str, ...]:
        return (f"{self.best.method}: {self.best.words}",)

    def tables(self) -> tuple[Table, ...]:
        noises = (f"noise {size:g}|.1%" for size in self.stores[0].noise)
        heads = ("smallest margin", "steepest slope ≥", "bits/parameter|.3f", "time|.2f|s")
        rows = tuple(
            (
                own.method,
                own.recall,
                *(estimate.value for estimate in own.noise.values()),
                own.margin,
                own.lipschitz,
                own.bits_per_parameter,
                own.seconds,
            )
            for own in self.stores
        )
        return (Table("By method", columns("method", "recall|.1%", *noises, *heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.stores/1",
            "neurons": self.neurons,
            "best": self.best.method,
            "stores": [store.to_dict() for store in self.stores],
        }


def store(
    table: FactTable, neurons: int, method: str = "compiled-relu", *, seed: int = 0
) -> StoredTable:
    """Store a table in an MLP by one method, and measure it.

    Args:
        table: keys, values and labels to store.
        neurons: width of the MLP.
        method: one of `METHODS`.
        seed: seed of every random draw.

    Returns: `StoredTable`; facts that do not fit are counted, not refused.
    Raises: `WriteError` for an unknown method.
    """
    check_neurons(neurons)
    check_methods([method])
    started = time.perf_counter()
    mlp = METHODS[method](table, neurons)
    seconds = time.perf_counter() - started
    return measured(method, mlp.map(Tensor.float), table.to(torch.float32), seconds, seed)


def stores(
    table: FactTable,
    neurons: int,
    methods: Sequence[str] = tuple(METHODS),
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> StoredTables:
    """Store a table by several methods.

    Args:
        table: keys, values and labels to store.
        neurons: width of the MLP.
        methods: names of `METHODS`.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `StoredTables`.
    Raises: `WriteError` for an unknown method, before the work.
    """
    check_methods(methods)
    stored = []
    for method in methods:
        stored.append(store(table, neurons, method, seed=seed))
        progress(1, len(methods))
    return StoredTables(neurons, tuple(stored))


@torch.no_grad()
def measured(method: str, mlp: MLP, table: FactTable, seconds: float, seed: int = 0) -> StoredTable:
    """Measure how much of a table an MLP stores."""
    margins = table.margins(mlp(table.keys))
    lost = tuple((~(margins > 0)).nonzero()[:, 0].tolist())
    source = torch.Generator().manual_seed(seed)
    noise = {size: share(_hits(mlp, table, size, source)) for size in NOISES}
    steepest = spectral_norms(mlp.jacobians(table.keys), "the store's slopes").max()
    bits = stored_bits(table, 1 - len(lost) / len(table))
    return StoredTable(
        method=method,
        mlp=mlp,
        facts=len(table),
        values=len(table.values),
        dim=table.dim,
        bits=bits,
        margin=float(margins.min()),
        lost=lost,
        noise=noise,
        lipschitz=float(steepest),
        seconds=seconds,
    )


def stored_bits(table: FactTable, recall: float) -> float:
    """Bits of a table of which a share is recalled; never below 0."""
    if recall == 1:
        return table.bits
    choices = len(table.values)
    entropy = -sum(q * math.log2(q) for q in (recall, 1 - recall) if q)
    return max(
        0.0, len(table) * (math.log2(choices) - entropy - (1 - recall) * math.log2(choices - 1))
    )


def check_methods(methods: Sequence[str]) -> None:
    unknown = [method for method in methods if method not in METHODS]
    if unknown:
        raise WriteError(f"there is no method {unknown[0]!r}: {', '.join(METHODS)}")


def _hits(mlp: MLP, table: FactTable, size: float, source: torch.Generator) -> list[float]:
    noise = torch.randn(table.keys.shape, generator=source) / table.dim**0.5
    noisy = table.keys + size * table.keys.norm(dim=1, keepdim=True) * noise
    return (table.margins(mlp(noisy)) > 0).float().tolist()
