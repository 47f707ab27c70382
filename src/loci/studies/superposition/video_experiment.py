"""The video's experiment, as it was shown and as it is: 10,000 vectors in 100 dimensions,
"nearly perpendicular".

    as shown:  least Σ_{ij} ReLU(|⟨x_i, x_j⟩ − δ_ij| − 0.01) + N Σ_i (‖x_i‖² − 1)²
            Adam, rate 0.01, 250 steps
               plotted: the histogram of angles from 80° to 100°

The loss counts how far products are from 0, so it likes most of them at 0 and some at 1 better than
all of them small: the vectors gather round about d axes. N/d copies of each of d axes would cost it
d · (N/d)² products of 1, that is 1/d of the pairs, against 0.08 · N² for random vectors at d = 100.
The pairs that are nearly parallel lie outside the plotted window. No set can be what the picture
says:
|angle − 90°| ≤ 1° holds for 103 lines of R¹⁰⁰ at most (Levenshtein), and 10,000 lines have a pair
nearer than 81.95°.

Honest: the same vectors by `packing`, whose loss is led by the nearest pair; and an explicit code
of at least as many lines.
Sources: Sanderson 2024 (3Blue1Brown, Deep Learning chapter 7, code of `almost_orthogonal`, and the
correction on its page); Yoder 2025.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.studies.superposition.packing import Packing, descend, drawn, pack, summed
from loci.studies.superposition.packing_bounds import bounds
from loci.studies.superposition.pairwise_angles import Angles, angles
from loci.studies.superposition.sphere_caps import check_dim
from loci.tables import Table, columns

CUTOFF = 0.01
STEPS = 250
LR = 0.01


@dataclass(frozen=True)
class VideoExperiment(Result):
    """Three sets of as many vectors: drawn, optimised as shown, and pushed apart."""

    about: ClassVar[About] = About(
        "the famous picture",
        "What is wrong with ten thousand nearly perpendicular vectors in a hundred dimensions?",
        "Histograms of angles: as shown, and pushed apart honestly.",
        "packing.video_figure",
    )

    shown: Angles
    honest: Packing
    most_within_1: int
    """How many lines can have all angles within 1° of 90° (Levenshtein)."""
    seed: int

    @property
    def drawn(self) -> Angles:
        return self.honest.before

    @property
    def near_parallel(self) -> float:
        """Share of pairs with |cosine| above 0.9 in what was shown."""
        return self.shown.beyond(0.9)

    @property
    def twins(self) -> float:
        """Share of vectors with another at |cosine| above 0.999 in what was shown."""
        return float((self.shown.nearest > 0.999).float().mean())

    def title(self) -> str:
        return f"{self.shown.vectors:,} vectors in {self.shown.dim:,} dimensions"

    def summary(self) -> tuple[str, ...]:
        return (
            f"{self.twins:.0%} of the vectors as shown have a twin at |cosine| above 0.999. All"
            f" pairs within 1° of 90° is possible for {self.most_within_1:,} lines at most; so many"
            f" have a pair nearer than {self.honest.reach.lines.limit:.2f}°",
        )

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                name,
                own.share(89, 91),
                1 - own.share(80, 100),
                own.beyond(0.9),
                own.closest_line,
                own.median_nearest,
            )
            for name, own in (
                ("random draw", self.drawn),
                ("as shown", self.shown),
                ("pushed apart", self.honest.after),
            )
        )
        shares = ("89° … 91°|.2%", "outside 80° … 100°|.2%", "cosine above 0.9|.3%")
        heads = (*shares, "nearest pair|.2f", "median nearest|.2f")
        return (Table("Angles", columns("", *heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        sets = {
            "drawn": self.drawn.to_dict(),
            "shown": self.shown.to_dict(),
            "honest": self.honest.to_dict(),
        }
        plain = {
            name: getattr(self, name)
            for name in ("near_parallel", "twins", "most_within_1", "seed")
        }
        head = {
            "dim": self.shown.dim,
            "count": self.shown.vectors,
            "limit": self.honest.reach.lines.limit,
        }
        return {"schema": "loci.superposition_video/1", **head, **plain, **sets}


def video(
    count: int = 10_000,
    dim: int = 100,
    *,
    steps: int = STEPS,
    seed: int = 0,
    progress: Progress = silent,
) -> VideoExperiment:
    """The video's packing experiment as it was shown, and with a loss that pushes the nearest
    apart.

    Args:
        count: number of vectors.
        dim: dimension of the space.
        steps: training steps.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `VideoExperiment`.
    Raises: `SuperpositionError` for fewer than two vectors.
    Cost: As two packings of `pack`; 2,000 vectors show the same in seconds.
    Source: Sanderson 2024; Yoder 2025.
    """
    check_dim(dim)
    if count < 2:
        raise SuperpositionError(f"{count} vectors have no angles: expected 2 at least")
    halves = [lambda done, total: progress(done, 2 * total)] * 2
    x = as_shown(drawn(dim, count, seed), steps, halves[0])
    honest = pack(dim, count, steps=steps, seed=seed, progress=halves[1])
    return VideoExperiment(angles(x), honest, int(10 ** bounds(dim, 89).levenshtein_lines), seed)


def as_shown(x: Tensor, steps: int = STEPS, progress: Progress = silent) -> Tensor:
    """Minimise the loss of the video from `x` on; the vectors' lengths are free, as they were."""
    count, x = len(x), x.clone()
    adam = torch.optim.Adam([x], LR)
    for _ in range(steps):
        excess = x.square().sum(1, keepdim=True) - 1
        own = 2 * ((excess.abs() > CUTOFF) * excess.sign() + 2 * count * excess) * x
        descend(x, 2 * summed(x, _slope) + own, adam, LR)
        progress(1, steps)
    return normalize(x, dim=1)


def _slope(products: Tensor) -> Tensor:
    return products.sign() * (products.abs() > CUTOFF)
