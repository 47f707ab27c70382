"""Computing in superposition: absolute values of n features by m neurons, with fewer neurons
than it would take exactly.

    y_i = |x_i|,  y' = ReLU(W₂ h + b),  h = ReLU(W₁ x)      x_i = 0 with probability S, else uniform
                                                            in [−1, 1]
    exactly: |x| = ReLU(x) + ReLU(−x), two neurons a feature
    a neuron's share = max_i W₁[·, i]² / Σ_i W₁[·, i]²      1: it reads one feature; 1/n: all alike
    a feature is computed where its error is below half of what guessing its mean leaves

The hidden basis is privileged here, as the non-linearity acts on each neuron. Trained networks and
the constructions that theory knows need not agree (that is contested: Hänni et al. 2024;
"Compressed computation", 2025). Source: Elhage et al. 2022, "Computation in superposition".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, share
from loci.studies.superposition.toy_model import check_toy
from loci.tables import Table, columns

ALONE = 0.9
"""A neuron with a larger share reads one feature."""


@dataclass(frozen=True)
class AbsoluteValueNetworks(Result):
    """Networks that compute absolute values, one for each density."""

    about: ClassVar[About] = About(
        "computing in superposition",
        "Can few neurons compute many absolute values?",
        "Weights of neurons by feature.",
        "toys_costs.computation_figure",
    )

    densities: tuple[float, ...]
    importance: Float[Tensor, " feature"]
    W_in: Float[Tensor, "instance neuron feature"]
    W_out: Float[Tensor, "instance feature neuron"]
    error: Float[Tensor, "instance feature"]
    """Mean squared error over that of guessing the mean."""
    seed: int

    @property
    def shares(self) -> Float[Tensor, "instance neuron"]:
        """How far each neuron reads one feature alone; NaN where it reads nothing."""
        squares = self.W_in.square()
        total = squares.sum(-1)
        return (
            squares.amax(-1)
            .div(total)
            .where((total > 1e-2) & (self.W_out.square().sum(1) > 1e-2), torch.nan)
        )

    @property
    def alone(self) -> tuple[Estimate, ...]:
        """For each density, the share of working neurons that read one feature."""
        return tuple(share((row[~row.isnan()] > ALONE).double().tolist()) for row in self.shares)

    @property
    def computed(self) -> list[int]:
        """How many features are computed."""
        return [int(row) for row in (self.error < 0.5).sum(1)]

    def title(self) -> str:
        neurons, features = self.W_in.shape[1:]
        return f"|x| of {features} features by {neurons} neurons; exactly it takes {2 * features}"

    def tables(self) -> tuple[Table, ...]:
        own = zip(self.densities, self.computed, self.alone, strict=True)
        heads = ("density", "features computed", "share of neurons that read one feature")
        rows = tuple((f"{p:g}", computed, alone) for p, computed, alone in own)
        return (Table("By density", columns(*heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        tensors = {
            name: getattr(self, name).tolist()
            for name in ("W_in", "W_out", "error", "shares", "importance")
        }
        plain = {"densities": list(self.densities), "computed": self.computed, "seed": self.seed}
        return {
            "schema": "loci.superposition_computation/1",
            **plain,
            "alone": [e.to_dict() for e in self.alone],
            **tensors,
        }


def computation(
    features: int = 24,
    neurons: int = 12,
    densities: Sequence[float] = (1.0, 0.3, 0.1, 0.03, 0.01),
    *,
    importance: float = 0.9,
    steps: int = 5000,
    batch: int = 1024,
    seed: int = 0,
    progress: Progress = silent,
) -> AbsoluteValueNetworks:
    """Networks that compute |x| of more features than they have neurons for, one a density.

    Args:
        features: number of features.
        neurons: hidden neurons; exact would take 2 a feature.
        densities: probabilities that a feature is active.
        importance: ratio of one feature's weight in the loss to the one before.
        steps: training steps.
        batch: inputs a step.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `AbsoluteValueNetworks`.
    Raises: `SuperpositionError` for sizes that make no model.
    Cost: As `toy`.
    Source: Elhage et al. 2022 ("Computation in superposition").
    """
    check_toy(features, 1, densities)
    if neurons < 1:
        raise SuperpositionError("nothing is computed without a neuron")
    generator = torch.Generator().manual_seed(seed)
    rates, weights = (
        torch.tensor(densities),
        importance ** torch.arange(features, dtype=torch.float),
    )
    scale = (2 / (features + neurons)) ** 0.5
    W_in = (
        torch.randn(len(densities), neurons, features, generator=generator) * scale
    ).requires_grad_()
    W_out = (
        torch.randn(len(densities), features, neurons, generator=generator) * scale
    ).requires_grad_()
    b = torch.zeros(len(densities), 1, features, requires_grad=True)
    optimizer = torch.optim.Adam([W_in, W_out, b], lr=3e-3)

    def errors() -> tuple[Tensor, Tensor]:
        x = _signed(rates, batch, features, generator)
        made = ((x @ W_in.mT).relu() @ W_out.mT + b).relu()
        return (x.abs() - made).square(), x.abs()

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1.0, 2 * (1 - step / steps))
        optimizer.zero_grad()
        (weights * errors()[0]).mean(1).sum().div(rates.mean()).backward()
        optimizer.step()
        progress(1, steps)
    with torch.no_grad():
        drawn = [errors() for _ in range(20)]
        missed = torch.cat([errors_of_run for errors_of_run, _ in drawn], 1).mean(1)
        plain = torch.cat([y for _, y in drawn], 1).var(1, correction=0)
    return AbsoluteValueNetworks(
        tuple(densities),
        weights,
        W_in.detach(),
        W_out.detach(),
        missed / plain.clamp(min=1e-12),
        seed,
    )


def _signed(rates: Tensor, batch: int, features: int, generator: torch.Generator) -> Tensor:
    chance, value = torch.rand(2, batch, features, generator=generator)
    drawn: Tensor = (2 * value - 1) * (chance < rates[:, None, None])
    return drawn
