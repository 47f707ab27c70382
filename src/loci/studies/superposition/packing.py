"""Numerical packings: N directions of R^d pushed apart, in blocks that never hold N × N.

    lines:      least log Σ_{i<j} exp(β cos² θ_ij)            one-sided:  least log Σ_{i<j} exp(β
                                                              cos θ_ij)
    β grows from 20 to 1,600 over the steps, so that first all near pairs and at last the nearest
        alone are pushed

Steps are Adam's with a rate that falls to 0, on the sphere (the gradient's radial part is dropped,
rows are normalised after each).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.studies.superposition.best_angles import BestAngles, reach
from loci.studies.superposition.pairwise_angles import Angles, angles
from loci.studies.superposition.sphere_caps import check_dim
from loci.tables import Table, columns

SHARPNESS = (20.0, 1600.0)
BLOCK = 512
"""Products of a block stay in a cache."""
FLOOR = -50.0
"""Exponents are cut off here: smaller weights are nothing, and denormal numbers are slow."""
Slope = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Packing(Result):
    """Vectors pushed apart, beside the random draw that they began as, and what is possible."""

    about: ClassVar[About] = About(
        "a packing",
        "Directions pushed apart.",
        "Angles before and after, with the limit.",
        "packing.packing_figure",
    )

    lines: bool
    steps: int
    seed: int
    vectors: Float[Tensor, "vector dim"]
    before: Angles
    after: Angles
    reach: BestAngles

    @property
    def closest(self) -> float:
        """Degrees between the nearest two."""
        return self.after.closest_line if self.lines else self.after.closest

    @property
    def drawn(self) -> float:
        """The same in the random draw."""
        return self.before.closest_line if self.lines else self.before.closest

    def summary(self) -> tuple[str, ...]:
        return (f"The nearest two are {self.closest:.2f}° apart, {self.drawn:.2f}° before.",)

    def title(self) -> str:
        kind = "lines" if self.lines else "vectors"
        return f"{self.after.vectors:,} {kind} in {self.after.dim:,} dimensions"

    def tables(self) -> tuple[Table, ...]:
        side = self.reach.lines if self.lines else self.reach.one_sided
        rows = (
            ("random draw", self.drawn),
            (f"after {self.steps} steps", self.closest),
            (f"known to be possible ({side.by})", side.possible),
            ("limit (Levenshtein)", side.limit),
        )
        return (Table("Degrees between the nearest two", columns("", "degrees|.2f"), rows),)

    def to_dict(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name) for name in ("lines", "steps", "seed", "closest", "drawn")
        }
        parts = {name: getattr(self, name).to_dict() for name in ("before", "after", "reach")}
        return {
            "schema": "loci.superposition_packing/1",
            "dim": self.after.dim,
            "count": self.after.vectors,
            **plain,
            **parts,
        }


def pack(
    dim: int,
    count: int,
    *,
    lines: bool = True,
    steps: int = 300,
    lr: float = 0.01,
    seed: int = 0,
    progress: Progress = silent,
) -> Packing:
    """Push random directions of R^dim apart, by descent on the nearest pairs.

    Args:
        dim: dimension of the space.
        count: number of vectors.
        lines: make |cosines| small; without, cosines.
        steps: training steps.
        lr: Adam's rate.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Packing`: angles before and after, beside the limit.
    Raises: `SuperpositionError` for sizes that make no packing.
    Cost: 3 · count² · dim multiplications a step; memory: five times the vectors.
    """
    check_dim(dim)
    if count < 2 or steps < 1:
        raise SuperpositionError(
            f"nothing to push apart with {count} vectors in {steps} steps: expected 2 vectors and "
            "1 step at least"
        )
    start = drawn(dim, count, seed)
    pushed = _pushed(start, lines, steps, lr, progress)
    return Packing(lines, steps, seed, pushed, angles(start), angles(pushed), reach(dim, count))


def drawn(dim: int, count: int, seed: int = 0) -> Float[Tensor, "vector dim"]:
    """Random directions, evenly on the sphere."""
    return normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def _pushed(start: Tensor, lines: bool, steps: int, lr: float, progress: Progress) -> Tensor:
    """The best of all steps."""
    x, best, nearest, highest = start.clone(), start, float("inf"), 1.0
    adam = torch.optim.Adam([x], lr)
    for step in range(steps + 1):
        beta = SHARPNESS[0] * (SHARPNESS[1] / SHARPNESS[0]) ** (step / steps)
        push = Push(beta, lines, highest)
        gradient = summed(x, push)
        highest = push.seen
        if highest < nearest:
            best, nearest = x.clone(), highest
        gradient -= (gradient * x).sum(1, keepdim=True) * x
        descend(x, gradient, adam, lr * (1 - step / steps))
        x.copy_(normalize(x, dim=1))
        progress(1, steps + 1)
    return best


class Push:
    """The energy's slope in the cosine, up to a factor: relative to the largest term of the step
    before, so that nothing overflows."""

    def __init__(self, beta: float, lines: bool, highest: float) -> None:
        self.beta, self.lines, self.highest = beta, lines, highest
        self.seen = -1.0
        """The largest term."""

    def __call__(self, cosines: Tensor) -> Tensor:
        terms = cosines.square() if self.lines else cosines
        self.seen = max(self.seen, float(terms.max()))
        weights = (self.beta * (terms - self.highest)).clamp_(FLOOR, -FLOOR).exp_()
        return weights.mul_(cosines) if self.lines else weights


def summed(
    x: Float[Tensor, "vector dim"], slope: Slope, block: int = BLOCK
) -> Float[Tensor, "vector dim"]:
    """Σ_{j ≠ i} slope(x_i · x_j) x_j for all i, each pair once; a vector with itself counts as a
    product of 0."""
    total = torch.zeros_like(x)
    for i in range(0, len(x), block):
        for j in range(i, len(x), block):
            products = x[i : i + block] @ x[j : j + block].T
            if i == j:
                products.fill_diagonal_(0)
            weights = slope(products)
            total[i : i + block] += weights @ x[j : j + block]
            if i != j:
                total[j : j + block] += weights.T @ x[i : i + block]
    return total


def descend(x: Tensor, gradient: Tensor, optimizer: torch.optim.Optimizer, lr: float) -> None:
    """One step with a gradient that was computed by hand."""
    x.grad = gradient
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()
