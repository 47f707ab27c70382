"""The phase diagram of two features in one dimension: which are kept, dedicated or as an
antipodal pair?

    x' = ReLU(Wᵀ W x + b), W = (w₁, w₂), importances 1 and r, density s
    first alone          r (s/3 − s²/4)          second at its mean, its variance is the loss
    second alone         s/3 − s²/4
    antipodal pair       (1 + r) s²/6            W = (1, −1): both at once (probability s²) lose
                                                 min(x₁, x₂)²

    so the pair beats "first alone" iff s < 4r/(2 + 5r), and "second alone" iff s < 4/(5 + 2r); at r
        = 1 both are s < 4/7

These are losses of three exact solutions with unit weights. What training finds may be better by a
little (lengths and biases are free), so its boundary may lie a little beyond; the comparison says
by how much. Training is on the exact expected loss: of the cases nothing, one alone, both, each by
Gauss–Legendre quadrature, so no draws and no noise. Source: Elhage et al. 2022, "Superposition as a
phase change".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, share, spelt

KINDS = ("first alone", "second alone", "antipodal pair")
NODES = 12
KEPT = 0.5
"""A weight above this keeps its feature."""


@dataclass(frozen=True)
class PhaseDiagram(Result):
    """Closed form and training at each density (rows) and relative importance of the second
    feature (columns)."""

    about: ClassVar[About] = About(
        "a phase diagram",
        "When is a feature dropped, kept alone, or shared?",
        "Left what training finds, right the closed form.",
        "toys.phase_figure",
    )

    densities: tuple[float, ...]
    relative: tuple[float, ...]
    losses: Float[Tensor, "kind density relative"]
    """Of the three closed forms."""
    trained: Float[Tensor, "density relative"]
    """The least loss of all runs."""
    W: Float[Tensor, "density relative feature"]
    """Of the run with the least loss."""
    runs: int
    seed: int

    @property
    def predicted(self) -> Int[Tensor, "density relative"]:
        """Which closed form has the least loss."""
        return self.losses.argmin(0)

    @property
    def found(self) -> Int[Tensor, "density relative"]:
        """The phase that training reached; −1 where it is none of the three."""
        first, second = (self.W.abs() > KEPT).unbind(-1)
        kinds = torch.full(first.shape, -1)
        kinds[first & ~second], kinds[~first & second] = 0, 1
        kinds[first & second & (self.W.prod(-1) < 0)] = 2
        return kinds

    @property
    def agreement(self) -> Estimate:
        """Share of cells where training came to what the closed form says."""
        return share((self.found == self.predicted).double().flatten().tolist())

    @property
    def gain(self) -> float:
        """By how much of the closed form's loss training was better, at most over cells."""
        return float((1 - self.trained / self.losses.amin(0)).max())

    def summary(self) -> tuple[str, ...]:
        agreement = self.agreement
        return (
            f"Training ends where the closed form says in {spelt(agreement.value, '.1%')} of"
            f" {agreement.n} cells [{agreement.interval('.1%')}], best of {self.runs} runs; its"
            " loss"
            f" is lower by {self.gain:.1%} at most.",
            "Closed form: the pair is kept for s < 4r/(2 + 5r) and s < 4/(5 + 2r), at r = 1 for s <"
            " 4/7.",
        )

    def to_dict(self) -> dict[str, Any]:
        tensors = {
            name: getattr(self, name).tolist()
            for name in ("losses", "trained", "W", "predicted", "found")
        }
        plain = {
            "kinds": list(KINDS),
            "runs": self.runs,
            "seed": self.seed,
            "agreement": self.agreement.to_dict(),
            "gain": self.gain,
        }
        axes = {"densities": list(self.densities), "relative": list(self.relative)}
        return {"schema": "loci.superposition_phase/1", **axes, **plain, **tensors}


def closed_form(density: Tensor, relative: Tensor) -> Float[Tensor, "kind row column"]:
    """Losses of the three solutions."""
    dropped = density / 3 - density.square() / 4
    return torch.stack(
        [
            relative * dropped,
            dropped.expand_as(relative * dropped),
            (1 + relative) * density.square() / 6,
        ]
    )


def boundary(relative: float) -> float:
    """The density below which the antipodal pair is best: the lesser of 4r/(2 + 5r) and 4/(5 +
    2r)."""
    return min(4 * relative / (2 + 5 * relative), 4 / (5 + 2 * relative))


def phase(
    densities: Sequence[float] | None = None,
    relative: Sequence[float] | None = None,
    *,
    size: int = 21,
    runs: int = 8,
    steps: int = 600,
    seed: int = 0,
    progress: Progress = silent,
) -> PhaseDiagram:
    """The phase diagram of one extra feature: ignored, stored alone, or in superposition.

    Args:
        densities: None: 0.01 … 1, evenly in the logarithm.
        relative: relative importances of the extra feature; None: 0.1 … 10, evenly in the
            logarithm.
        size: cells on each axis, where axes are not given.
        runs: models of each cell; the best is kept.
        steps: training steps.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `PhaseDiagram`: trained and theoretical phases.
    Raises: `SuperpositionError` for densities outside (0, 1].
    Cost: Size² · runs · 169 cases a step, about half a minute.
    Source: Elhage et al. 2022 ("Superposition as a phase change").
    """
    if size < 2 or runs < 1:
        raise SuperpositionError(
            f"a diagram of {size} × {size} cells with {runs} runs: expected 2 cells a side and 1 "
            "run at least"
        )
    rows = tuple(densities or np.geomspace(0.01, 1, size).tolist())
    columns = tuple(relative or np.geomspace(0.1, 10, size).tolist())
    if not all(0 < s <= 1 for s in rows) or not all(r > 0 for r in columns):
        raise SuperpositionError(
            "densities are above 0 and at most 1, relative importances above 0"
        )
    s, r = torch.meshgrid(torch.tensor(rows), torch.tensor(columns), indexing="ij")
    W, loss = _trained(s.flatten().repeat(runs), r.flatten().repeat(runs), steps, seed, progress)
    cells, best = s.numel(), loss.view(runs, -1).argmin(0)
    chosen = best * cells + torch.arange(cells)
    return PhaseDiagram(
        rows,
        columns,
        closed_form(s, r),
        loss[chosen].view(s.shape),
        W[chosen].view(*s.shape, 2),
        runs,
        seed,
    )


def _trained(
    s: Tensor, r: Tensor, steps: int, seed: int, progress: Progress
) -> tuple[Tensor, Tensor]:
    points, chance = _cases(s)
    importance = torch.stack([torch.ones_like(r), r], -1)
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(len(s), 2, generator=generator).requires_grad_()
    b = torch.zeros(len(s), 2, requires_grad=True)
    optimizer = torch.optim.Adam([W, b], lr=0.02)

    def losses() -> Tensor:
        hidden = points @ W.T  # [case, instance]
        rebuilt = [(hidden * W[:, i] + b[:, i]).relu() for i in range(2)]
        errors = sum(
            importance[:, i] * (points[:, i, None] - rebuilt[i]).square() for i in range(2)
        )
        return (chance * errors).sum(0)

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 0.02 * min(1.0, 2 * (1 - step / steps))
        optimizer.zero_grad()
        (
            losses() / (s * importance.mean(-1))
        ).sum().backward()  # of one size everywhere, so that Adam's floor does not show
        optimizer.step()
        progress(1, steps)
    with torch.no_grad():
        return W.detach(), losses()


def _cases(s: Tensor) -> tuple[Float[Tensor, "case 2"], Float[Tensor, "case instance"]]:
    """Points (x₁, x₂) and their probabilities at each density: nothing, one alone, both."""
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    x, w = torch.tensor((nodes + 1) / 2).float(), torch.tensor(weights / 2).float()
    zero = torch.zeros(NODES)
    grid = torch.cartesian_prod(x, x)
    points = torch.cat(
        [torch.zeros(1, 2), torch.stack([x, zero], 1), torch.stack([zero, x], 1), grid]
    )
    alone, both = w[:, None] * (s * (1 - s)), torch.outer(w, w).flatten()[:, None] * s.square()
    return points, torch.cat([(1 - s).square()[None], alone, alone, both])
