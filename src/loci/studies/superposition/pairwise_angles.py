"""All angles between N vectors, in blocks that never hold N × N.

    cosines of a block = X̂[rows] X̂[columns]ᵀ       every pair once, upper triangle only

Kept: a histogram of cosines with bins of 10⁻⁴ (0.006° at 90°), the largest cosine and |cosine| with
the pair that has it, and each vector's largest |cosine|. Cost: N²d/2 products and a few passes over
each block. Memory: the vectors and about 30 MB.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.studies.superposition.sphere_caps import cosine, degrees, log10_cap

BINS = 20_000
BLOCK = 1024
Best = dict[str, tuple[float, tuple[int, int]]]


@dataclass(frozen=True)
class Angles:
    """The angles of all pairs of some vectors."""

    vectors: int
    dim: int
    counts: Int[Tensor, " bin"]
    """Pairs by cosine, in equal bins from −1 to 1."""
    closest: float
    """The smallest angle of a pair, in degrees."""
    closest_pair: tuple[int, int]
    closest_line: float
    """The smallest angle of a pair as lines: by |cosine|."""
    closest_line_pair: tuple[int, int]
    nearest: Float[Tensor, " vector"]
    """Each vector's largest |cosine| with another."""

    @property
    def pairs(self) -> int:
        return self.vectors * (self.vectors - 1) // 2

    def share(self, low: float, high: float) -> float:
        """Share of pairs with low ≤ angle ≤ high degrees, to the width of a bin."""
        first, last = (
            round((1 + math.cos(math.radians(angle))) * BINS / 2) for angle in (high, low)
        )
        return float(self.counts[first:last].sum()) / self.pairs

    def beyond(self, cos: float) -> float:
        """Share of pairs with |cosine| above `cos`, to the width of a bin."""
        return 1 - self.share(degrees(cos), degrees(-cos))

    @property
    def median_nearest(self) -> float:
        """Median over vectors of the angle to the nearest line, in degrees."""
        return degrees(min(1.0, float(self.nearest.median())))

    def by_degree(self, step: float = 1.0) -> list[float]:
        """Share of pairs in each `step` degrees from 0 to 180."""
        return [self.share(step * i, step * (i + 1)) for i in range(round(180 / step))]

    def to_dict(self) -> dict[str, Any]:
        names = (
            "vectors",
            "dim",
            "pairs",
            "closest",
            "closest_pair",
            "closest_line",
            "closest_line_pair",
            "median_nearest",
        )
        shares = {
            "within_1_degree_of_90": self.share(89, 91),
            "within_5_degrees_of_90": self.share(85, 95),
            "above_0.9": self.beyond(0.9),
        }
        return {
            **{name: getattr(self, name) for name in names},
            "share": shares,
            "by_degree": self.by_degree(),
        }


def expected_share(dim: int, angle: float) -> float:
    """Share of random pairs of R^dim within `angle` degrees of a right angle: 1 − 2σ(90° − angle).

    Args:
        dim: dimension of the space.
        angle: in degrees.

    Returns: A share.
    """
    return 1 - 2 * 10 ** log10_cap(dim, cosine(90 - angle))


@torch.no_grad()
def angles(
    vectors: Float[Tensor, "vector dim"], *, block: int = BLOCK, progress: Progress = silent
) -> Angles:
    """The angles of all pairs of vectors, in blocks.

    Args:
        vectors: [vector, dim], any length but 0.
        block: rows of a block.
        progress: called with (steps done, steps in all).

    Returns: `Angles`: histogram of cosines, closest pairs, each vector's nearest.
    Raises: `SuperpositionError` for fewer than two vectors, zero vectors or NaN.
    Cost: N² · dim / 2 multiplications; memory: the vectors and about 30 MB.
    """
    norms = _norms(vectors)
    count, dim = vectors.shape
    counts = torch.zeros(BINS, dtype=torch.long)
    nearest = torch.zeros(count)
    best: Best = {"vector": (-2.0, (0, 1)), "line": (-1.0, (0, 1))}
    starts = range(0, count, block)
    total = len(starts) * (len(starts) + 1) // 2
    for i in starts:
        rows = _unit(vectors, norms, i, block)
        for j in range(i, count, block):
            cosines = (rows @ (rows if i == j else _unit(vectors, norms, j, block)).T).clamp_(-1, 1)
            none = torch.ones_like(cosines, dtype=torch.bool).tril_() if i == j else None
            counts += (
                torch.histc(cosines if none is None else cosines[~none], BINS, -1, 1).long().cpu()
            )
            _note(best, nearest, cosines, none, i, j)
            progress(1, total)
    closest = {name: _angle(vectors, pair, name == "line") for name, (_, pair) in best.items()}
    return Angles(
        count,
        dim,
        counts,
        closest["vector"],
        best["vector"][1],
        closest["line"],
        best["line"][1],
        nearest,
    )


def _norms(vectors: Tensor) -> Tensor:
    if vectors.ndim != 2 or len(vectors) < 2:
        raise SuperpositionError(
            f"angles need two vectors at least, as rows: got {list(vectors.shape)}"
        )
    norms = torch.cat([rows.float().norm(dim=1) for rows in vectors.split(BLOCK)])
    if not bool(norms.isfinite().all()) or not bool(norms.min() > 0):
        raise SuperpositionError(
            f"a vector of zeros, infinities or NaN has no direction: number {_bad(norms)} is one"
        )
    return norms


def _bad(norms: Tensor) -> int:
    return int((~(norms.isfinite() & (norms > 0))).nonzero()[0])


def _unit(vectors: Tensor, norms: Tensor, start: int, block: int) -> Tensor:
    return vectors[start : start + block].float() / norms[start : start + block, None]


def _note(
    best: Best, nearest: Tensor, cosines: Tensor, none: Tensor | None, i: int, j: int
) -> None:
    """Keep what is nearer than all before; `none` marks the entries on the diagonal and below
    it, which are no pairs."""

    for name in best:
        sizes = (
            cosines if name == "vector" else cosines.abs_()
        )  # in place: lines come last, and need no signs
        scores = sizes if none is None else sizes.masked_fill(none, -2)
        if float(scores.max()) > best[name][0]:
            row, column = divmod(int(scores.argmax()), scores.shape[1])
            best[name] = (float(scores[row, column]), (i + row, j + column))
    for start, largest in ((i, scores.amax(1)), (j, scores.amax(0))):
        part = nearest[start : start + len(largest)]
        torch.maximum(part, largest.to(part), out=part)


def _angle(vectors: Tensor, pair: tuple[int, int], line: bool) -> float:
    """Degrees between two vectors in float64, precise near 0: 2 atan2(‖x − y‖, ‖x + y‖) of unit
    vectors (Kahan)."""
    x, y = (vectors[i].double() / vectors[i].double().norm() for i in pair)
    angle = math.degrees(2 * math.atan2(float((x - y).norm()), float((x + y).norm())))
    return min(angle, 180 - angle) if line else angle
