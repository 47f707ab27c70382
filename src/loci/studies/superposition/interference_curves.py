"""The cost of sharing dimensions: k active of m features in d dimensions, read back by linear
decoders and by matching pursuit.

Two questions, for directions that are random, explicit (a code of `codes`) or learned (a sparse toy
model's):
    how often is a random set of k features read back, as k grows?
            with the largest k for which *every* set is
    how many dimensions do k features of m need?
            typical sets: ∝ k; every set, linear: ∝ k²; pursuit: ∝ k, fewer

What can be represented is not what can be read at once: geometry alone (see `packing_bounds`)
counts directions, and forgets k. See `decoding`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, share
from loci.studies.superposition.codes import explicit_code
from loci.studies.superposition.decoding import DECODERS, error_rate, largest_for_all, trial
from loci.studies.superposition.packing import drawn
from loci.studies.superposition.pairwise_angles import angles
from loci.studies.superposition.sphere_caps import check_dim, cosine
from loci.studies.superposition.toy_model import train, uniform
from loci.tables import Table, columns

ENOUGH = 0.9
"""Share of random supports that must be read back whole."""


@dataclass(frozen=True)
class RecoveryCurve:
    """How one set of directions is read, for each number of active features."""

    kind: str
    features: int
    coherence: float
    """The largest |cosine|."""
    whole: dict[str, tuple[Estimate, ...]]
    """Share of supports that each decoder reads back without an error."""
    errors: tuple[float, ...]
    """Share of features that the threshold reads wrong."""
    law: tuple[float, ...]
    """The same if interference were Gaussian."""
    for_all: int
    """The largest k for which the threshold reads every support right."""

    def to_dict(self) -> dict[str, Any]:
        whole = {name: [e.to_dict() for e in row] for name, row in self.whole.items()}
        return vars(self) | {"whole": whole, "errors": list(self.errors), "law": list(self.law)}


@dataclass(frozen=True)
class DimensionsNeeded:
    """The fewest dimensions in which random directions do, for each k; and the power of k that
    they grow with."""

    active: tuple[int, ...]
    dims: dict[str, tuple[int, ...]]

    def power(self, name: str) -> float:
        """Slope of log d over log k, least squares."""
        x, y = ([math.log(v) for v in row] for row in (self.active, self.dims[name]))
        mx, my = sum(x) / len(x), sum(y) / len(y)
        return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum(
            (a - mx) ** 2 for a in x
        )

    def to_dict(self) -> dict[str, Any]:
        dims = {name: list(row) for name, row in self.dims.items()}
        return {
            "active": list(self.active),
            "dims": dims,
            "power": {name: self.power(name) for name in self.dims},
        }


@dataclass(frozen=True)
class Interference(Result):
    about: ClassVar[About] = About(
        "interference",
        "How many features can be read at the same time?",
        "Share of random sets read back whole, over their size.",
        "interference.interference_figure",
    )

    dim: int
    features: int
    active: tuple[int, ...]
    trials: int
    curves: tuple[RecoveryCurve, ...]
    needed: DimensionsNeeded
    seed: int

    def summary(self) -> tuple[str, ...]:
        told = (f"{curve.kind}: every set of {curve.for_all}" for curve in self.curves)
        return (f"Guaranteed to be read back by a threshold: {'; '.join(told)}.",)

    def title(self) -> str:
        return (
            f"{self.features} features in {self.dim} dimensions: share of random sets of k read"
            " back whole"
        )

    def tables(self) -> tuple[Table, ...]:
        whole = tuple(
            (
                curve.kind,
                name,
                *(own.value for own in row),
                f"k ≤ {curve.for_all}" if name == "threshold" else "",
            )
            for curve in self.curves
            for name, row in curve.whole.items()
        )
        needed = self.needed
        dims = tuple(
            (name, *own, f"k^{needed.power(name):.2f}") for name, own in needed.dims.items()
        )
        sizes = (f"k={k}|.0%" for k in self.active)
        many = (f"k={k}" for k in needed.active)
        return (
            Table("Read back", columns("directions", "decoder", *sizes, "every set"), whole),
            Table("Dimensions needed (random)", columns("decoder", *many, "grows as"), dims),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("dim", "features", "trials", "seed")}
        parts = {
            "active": list(self.active),
            "curves": [c.to_dict() for c in self.curves],
            "needed": self.needed.to_dict(),
        }
        return {"schema": "loci.superposition_interference/1", **plain, **parts}


def interference(
    dim: int = 128,
    features: int = 512,
    active: Sequence[int] = (1, 2, 3, 4, 6, 8, 12, 16, 24),
    *,
    kinds: Sequence[str] = ("random", "explicit", "learned"),
    trials: int = 300,
    steps: int = 500,
    seed: int = 0,
    progress: Progress = silent,
) -> Interference:
    """How many active features can be read back from their sum, by decoder and by directions.

    Args:
        dim: dimension of the space.
        features: number of features.
        active: numbers of active features.
        kinds: kinds of directions.
        trials: sums drawn for each number.
        steps: training steps of the learned directions.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Interference`.
    Raises: `SuperpositionError` for sizes that make no question.
    Cost: A minute on one core.
    """
    check_dim(dim)
    if features < 4 or not active or min(active) < 1 or max(active) >= features:
        raise SuperpositionError(
            f"sets of {list(active)} of {features} features: expected 4 features at least, and "
            "fewer active ones than that"
        )
    curves = []
    for kind in kinds:
        curves.append(
            _curve(kind, features_of(kind, dim, features, steps, seed), active, trials, seed)
        )
        progress(1, len(kinds) + 1)
    needed = dimensions_needed(features, trials=max(1, trials // 3), seed=seed)
    progress(1, len(kinds) + 1)
    return Interference(dim, features, tuple(active), trials, tuple(curves), needed, seed)


def features_of(
    kind: str, dim: int, count: int, steps: int = 500, seed: int = 0
) -> Float[Tensor, "feature dim"]:
    """Unit directions: random; lines of an explicit code, drawn from its largest angle that has
    so many; or of a trained toy model."""
    if kind == "random":
        return drawn(dim, count, seed)
    if kind == "explicit":
        return _explicit(dim, count, seed)
    if kind != "learned":
        raise SuperpositionError(
            f"there are no {kind!r} directions: expected random, explicit or learned"
        )
    rate = torch.tensor([4 / count])
    W, _, _ = train(
        uniform(rate, count),
        1,
        count,
        dim,
        torch.ones(count),
        steps=steps,
        batch=256,
        lr=1e-2,
        seed=seed,
    )
    return normalize(W[0].T, dim=1)


def _explicit(dim: int, count: int, seed: int) -> Tensor:
    for level in range((dim.bit_length() - 1) // 2, 0, -1):
        code = explicit_code(dim, math.degrees(math.acos(2.0**-level)) - 1e-6)
        if code.count >= count:
            return code.vectors(Random(seed).sample(range(code.count), count)).float()
    raise SuperpositionError(
        f"no explicit code of R^{dim} has {count:,} lines: take more dimensions, or other "
        "directions"
    )


def _curve(kind: str, F: Tensor, active: Sequence[int], trials: int, seed: int) -> RecoveryCurve:
    generator = torch.Generator().manual_seed(seed)
    recovered = {name: [trial(F, k, trials, name, generator) for k in active] for name in DECODERS}
    return RecoveryCurve(
        kind=kind,
        features=len(F),
        coherence=cosine(angles(F).closest_line),
        whole={
            name: tuple(share(hits.double().tolist()) for hits, _ in row)
            for name, row in recovered.items()
        },
        errors=tuple(wrong for _, wrong in recovered["threshold"]),
        law=tuple(error_rate(F, k) for k in active),
        for_all=largest_for_all(F, max(active)),
    )


def dimensions_needed(
    features: int, active: Sequence[int] = (1, 2, 4, 8, 16), *, trials: int = 100, seed: int = 0
) -> DimensionsNeeded:
    """The fewest dimensions, to a tenth, in which random directions are read back: every set
    (threshold), 90 % of sets (threshold, pursuit)."""
    active = tuple(k for k in active if k < features // 4)
    generator = torch.Generator().manual_seed(seed)

    def typical(decoder: str, k: int, dim: int) -> bool:
        return (
            float(
                trial(drawn(dim, features, seed), k, trials, decoder, generator)[0].double().mean()
            )
            >= ENOUGH
        )

    tests = {
        "every set, threshold": lambda k, dim: largest_for_all(drawn(dim, features, seed), k) >= k,
        "90 % of sets, threshold": lambda k, dim: typical("threshold", k, dim),
        "90 % of sets, pursuit": lambda k, dim: typical("pursuit", k, dim),
    }
    return DimensionsNeeded(
        active,
        {
            name: tuple(_fewest(lambda dim, k=k, test=test: test(k, dim)) for k in active)
            for name, test in tests.items()
        },
    )


def _fewest(enough: Any) -> int:
    """The fewest dimensions that are enough: doubled until they are, then halved between to a
    tenth."""
    high = 4
    while not enough(high):
        high *= 2
    low = high // 2
    while high > 1.1 * low and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
