"""How far apart can N directions of R^d be: the largest angle known to be possible, and the limit.

    lines:      N ≤ d 90°;  N = d + 1 the simplex, |cos| = 1/d;  explicit codes;  Gilbert–Varshamov
                where 1/(2σ(θ)) ≥ N
    one-sided:  N ≤ 2d 90° (±basis);  a set of lines with both signs of each vector: N/2 lines;
        Gilbert–Varshamov 1/σ(θ) ≥ N
    limit:      the angle at which Levenshtein's bound falls to N
    a draw:     the closest pair of N random vectors is in the median where C(N, 2) · p(θ) = ln 2,
                with p = σ, or 2σ for lines
                (pairs meet independently in the limit of many: Cai, Fan and Jiang 2013)

More than 90° is possible for N ≤ d + 1 one-sided alone (the simplex: cos = −1/(N − 1)); this module
stops at 90°.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from loci.errors import SuperpositionError
from loci.result import About, Result
from loci.studies.superposition.code_counts import LARGEST, blocks
from loci.studies.superposition.levenshtein import levenshtein_lines, levenshtein_one_sided
from loci.studies.superposition.packing_bounds import TWO
from loci.studies.superposition.sphere_caps import check_dim, cosine, degrees, log10_cap
from loci.tables import Table, columns

NEAREST = 0.1
"""Degrees: closer than this is not asked."""


@dataclass(frozen=True)
class BestAngle:
    """Degrees between the nearest two of N."""

    possible: float
    by: str
    """The construction that shows it to be possible."""
    limit: float
    """No N vectors are further apart than this (Levenshtein)."""
    drawn: float
    """Median of the closest pair of a random draw."""

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class BestAngles(Result):
    """The inverse question: N directions in R^dim."""

    about: ClassVar[About] = About(
        "reach",
        "How far apart can so many directions be?",
        "Degrees between the nearest two: a random draw, what is possible, the limit.",
        "bounds.reach_figure",
    )

    dim: int
    log10_count: float
    lines: BestAngle
    one_sided: BestAngle

    def title(self) -> str:
        return f"10^{self.log10_count:.4g} directions of R^{self.dim:,}"

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (name, side.drawn, side.possible, side.by, side.limit)
            for name, side in (("lines", self.lines), ("one-sided", self.one_sided))
        )
        heads = ("a random draw (median)|.3f", "known to be possible|.3f", "by")
        title = "Degrees between the nearest two"
        return (Table(title, columns("", *heads, "limit (Levenshtein)|.3f"), rows),)

    def to_dict(self) -> dict[str, Any]:
        sides = {"lines": self.lines.to_dict(), "one_sided": self.one_sided.to_dict()}
        return {
            "schema": "loci.superposition_reach/1",
            "dim": self.dim,
            "count": 10**self.log10_count,
            "log10_count": self.log10_count,
        } | sides


def reach(dim: int, count: float) -> BestAngles:
    """How far apart `count` directions of R^dim can be: the best known angle, and the limit.

    Args:
        dim: dimension of the space.
        count: 2 … 10³⁰⁰ directions.

    Returns: `BestAngles`, one-sided and for lines, in degrees.
    Raises: `SuperpositionError` outside these ranges.
    Cost: Some hundred bounds, below a second.
    """
    dim = check_dim(dim)
    if not 2 <= count <= 1e300:
        raise SuperpositionError(
            f"{count:g} directions have no smallest angle to ask about: expected 2 or more, at "
            "most 1e300"
        )
    log = math.log10(count)
    lines = BestAngle(
        *_lines(dim, count), _limit(levenshtein_lines, dim, log, dim), _drawn(dim, log, TWO)
    )
    one_sided = BestAngle(
        *_one_sided(dim, count),
        _limit(levenshtein_one_sided, dim, log, 2 * dim),
        _drawn(dim, log, 0.0),
    )
    return BestAngles(dim, log, lines, one_sided)


def _lines(dim: int, count: float) -> tuple[float, str]:
    if count <= dim:
        return 90.0, "standard basis"
    known = [(_greedy(dim, math.log10(count), TWO), "Gilbert–Varshamov")]
    if count <= dim + 1:
        known.append((degrees(1 / dim), "simplex"))
    for level in range(LARGEST, 0, -1):
        codes = blocks(dim, level)
        if sum(code.lines for code in codes) >= count:
            names = dict.fromkeys(code.kind for code in codes)
            known.append((degrees(2.0**-level), " + ".join(names)))
            break
    return max(known)


def _one_sided(dim: int, count: float) -> tuple[float, str]:
    if count <= 2 * dim:
        return 90.0, "standard basis with both signs"
    angle, by = _lines(dim, count / 2)
    both = [
        (angle, f"{by}, both signs"),
        (_greedy(dim, math.log10(count), 0.0), "Gilbert–Varshamov"),
    ]
    return max(both)


def _greedy(dim: int, log: float, sides: float) -> float:
    """The largest angle at which greedy packing still gives 10^log."""
    return _crossing(lambda angle: -log10_cap(dim, cosine(angle)) - sides - log)


def _limit(bound: Callable[[int, float], float], dim: int, log: float, free: int) -> float:
    return 90.0 if log <= math.log10(free) else _crossing(lambda angle: bound(dim, angle) - log)


def _drawn(dim: int, log: float, sides: float) -> float:
    pairs = 2 * log - TWO + (math.log10(-math.expm1(-log * math.log(10))))
    return _crossing(
        lambda angle: math.log10(math.log(2)) - pairs - sides - log10_cap(dim, cosine(angle))
    )


def _crossing(f: Callable[[float], float]) -> float:
    """Where f, which falls with the angle, meets 0; the ends where it does not."""
    low, high = NEAREST, 90 - 1e-9
    if f(low) < 0:
        return low
    for _ in range(36):
        middle = (low + high) / 2
        low, high = (middle, high) if f(middle) >= 0 else (low, middle)
    return low
