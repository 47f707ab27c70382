"""Does superposition make models easy to attack? Small changes of the input that use other
features' overlaps.

    x → x ± ε (WᵀW)_i / ‖(WᵀW)_i‖      the change of length ε that moves output i most, where the
                                       model is linear
    vulnerability = E_x max_{i, ±} [loss(x ± …) − loss(x)] / ε²

In a linear model output i moves by ε ‖(WᵀW)_i‖ = ε ‖W_i‖² / √D_i, so the squared error grows as
‖W_i‖⁴ / D_i: one over the dimensions that the feature has for itself (expected: the sum over
features, ‖WᵀW‖², beside the worst one that is measured). ε is a tenth of the mean length of an
input. Source: Elhage et al. 2022, "The relationship to adversarial robustness".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.studies.superposition.toy_model import ToyModels, rebuilt, toy, uniform
from loci.tables import Column, Table, columns

STRENGTH = 0.1
INPUTS = 1000


@dataclass(frozen=True)
class Vulnerability(Result):
    """Toy models over densities, and how vulnerable each is."""

    about: ClassVar[About] = About(
        "attacks",
        "Does superposition make a model easier to fool?",
        "Vulnerability over features a dimension.",
        "toys_costs.attack_figure",
    )

    toy: ToyModels
    vulnerability: tuple[Estimate, ...]
    """For each density, over inputs."""

    @property
    def relative(self) -> tuple[float, ...]:
        """Vulnerability over that of the densest model."""
        return tuple(e.value / self.vulnerability[0].value for e in self.vulnerability)

    @property
    def expected(self) -> tuple[float, ...]:
        """Σ_i ‖W_i‖⁴ / D_i = ‖WᵀW‖² of each model, over that of the densest."""
        total = (self.toy.W.mT @ self.toy.W).square().sum((1, 2))
        return tuple((total / total[0]).tolist())

    def tables(self) -> tuple[Table, ...]:
        per = self.toy.per_feature.tolist()
        rows = tuple(
            (f"{p:.3g}", 1 / own, times, linear)
            for p, own, times, linear in zip(
                self.toy.densities, per, self.relative, self.expected, strict=True
            )
        )
        linear = Column("linear: ‖WᵀW‖²", ".2f")
        heads = ("features a dimension|.2f", "vulnerability, times the densest|.2f")
        return (Table("By density", (*columns("density", *heads), linear), rows),)

    def to_dict(self) -> dict[str, Any]:
        own = {
            "vulnerability": [e.to_dict() for e in self.vulnerability],
            "relative": list(self.relative),
            "expected": list(self.expected),
        }
        return {
            **self.toy.to_dict(),
            "schema": "loci.superposition_attack/1",
            "strength": STRENGTH,
            **own,
        }


def attack(
    features: int = 50,
    dims: int = 10,
    densities: Sequence[float] | None = None,
    *,
    steps: int = 4000,
    batch: int = 512,
    seed: int = 0,
    progress: Progress = silent,
) -> Vulnerability:
    """Is superposition vulnerability? Attack toy models with the features' overlaps, by density.

    Args:
        features: number of features.
        dims: hidden dimensions of the toy model.
        densities: None: 10 from 1 to 0.01, evenly in the logarithm.
        steps: training steps.
        batch: inputs a step.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Vulnerability`, measured on 1,000 new inputs a model, beside ‖WᵀW‖².
    Raises: `SuperpositionError` for sizes that make no model.
    Cost: As `toy`.
    Source: Elhage et al. 2022 ("The relationship to adversarial robustness").
    """
    rates = tuple(densities or np.geomspace(1, 0.01, 10).tolist())
    models = toy(
        features,
        dims,
        rates,
        importance=1.0,
        steps=steps,
        batch=batch,
        seed=seed,
        progress=progress,
    )
    x = uniform(torch.tensor(rates), features)(INPUTS, torch.Generator().manual_seed(seed + 1))
    return Vulnerability(
        models, tuple(_vulnerability(models, i, x[i], seed) for i in range(len(rates)))
    )


@torch.no_grad()
def _vulnerability(
    models: ToyModels, i: int, x: Float[Tensor, "input feature"], seed: int
) -> Estimate:
    W, b = models.W[i], models.b[i]
    length = STRENGTH * float(x.norm(dim=1).mean())
    rows = W.T @ W
    steps = length * rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-6)

    def loss(y: Tensor) -> Tensor:
        return (models.importance * (x - rebuilt(W, b, y, models.relu)).square()).sum(-1)

    worst = torch.stack([loss(x + sign * step) for step in steps for sign in (1, -1)]).amax(0)
    return mean(((worst - loss(x)) / length**2).tolist(), seed)
