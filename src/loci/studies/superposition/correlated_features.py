"""Features that come together, or never together: how do they share two dimensions?

    together: both features of a pair are there, or neither; apart: one at most; independent: as it
        happens
    each feature is there with the same probability; values uniform in [0, 1], independent
    partners = mean cos(W_i, W_j) over pairs, others = the same over features of different pairs

Features that come together disturb each other most, so they are put orthogonal, or side by side
where there is no room; those that never do may be opposite at no cost. Source: Elhage et al. 2022,
"Correlated and anticorrelated features".
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.studies.superposition.toy_model import Draw, train
from loci.tables import Table, columns

KINDS = ("independent", "together", "apart")


@dataclass(frozen=True)
class CorrelatedFeatures(Result):
    """For each kind of correlation, all runs' weights, best first."""

    about: ClassVar[About] = About(
        "correlated features",
        "What do features that come together do?",
        "Cosines of features, by the way they come.",
        "toys_costs.correlated_figure",
    )

    density: float
    W: dict[str, Float[Tensor, "run dim feature"]]
    loss: dict[str, Float[Tensor, " run"]]
    seed: int

    def partners(self, kind: str) -> Estimate:
        """Mean cosine of partners, one value a run."""
        return mean(self._cosines(kind, partners=True))

    def others(self, kind: str) -> Estimate:
        return mean(self._cosines(kind, partners=False))

    def _cosines(self, kind: str, *, partners: bool) -> list[float]:
        W = self.W[kind]
        unit = W / W.norm(dim=1, keepdim=True).clamp(min=1e-6)
        pair = torch.arange(W.shape[2]) // 2
        same = pair[:, None] == pair
        chosen = same & ~torch.eye(len(pair), dtype=torch.bool) if partners else ~same
        return [float(x) for x in (unit.mT @ unit)[:, chosen].mean(1)]

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (kind, self.partners(kind), self.others(kind), float(self.loss[kind][0]))
            for kind in self.W
        )
        heads = ("features of a pair come", "cosine of partners", "of others", "least loss|.4g")
        return (Table("Cosines", columns(*heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        kinds = {
            kind: {
                "partners": self.partners(kind).to_dict(),
                "others": self.others(kind).to_dict(),
                "W": self.W[kind][0].tolist(),
            }
            for kind in self.W
        }
        return {
            "schema": "loci.superposition_correlated/1",
            "density": self.density,
            "seed": self.seed,
            "kinds": kinds,
        }


def correlated(
    pairs: int = 2,
    dims: int = 2,
    density: float = 0.1,
    *,
    runs: int = 16,
    steps: int = 3000,
    seed: int = 0,
    progress: Progress = silent,
) -> CorrelatedFeatures:
    """Toy models of features that come together, or never together, in pairs.

    Args:
        pairs: pairs of features.
        dims: hidden dimensions of the toy model.
        density: probability that a feature is active.
        runs: models of each kind.
        steps: training steps.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `CorrelatedFeatures`: cosines of partners and of others, by kind.
    Raises: `SuperpositionError` for sizes that make no model.
    Cost: As `toy`.
    Source: Elhage et al. 2022.
    """
    if pairs < 1 or not 1 <= dims <= 2 * pairs or not 0 < density <= 0.5 or runs < 1:
        raise SuperpositionError(
            f"{pairs} pairs in {dims} dimensions at density {density}: expected 1 pair and 1 "
            "dimension at least, no more dimensions than "
            "features, and a density above 0 and at most 0.5, as features that are never together "
            "cannot be there more often"
        )
    W, loss = {}, {}
    features = 2 * pairs
    for kind in KINDS:
        draw, ones = _draw(kind, runs, pairs, density), torch.ones(features)
        trained, _, losses = train(
            draw,
            runs,
            features,
            dims,
            ones,
            steps=steps,
            batch=256,
            seed=seed,
            progress=lambda done, total: progress(done, 3 * total),
        )
        order = losses.argsort()
        W[kind], loss[kind] = trained[order], losses[order]
    return CorrelatedFeatures(density, W, loss, seed)


def _draw(kind: str, runs: int, pairs: int, density: float) -> Draw:
    def draw(batch: int, generator: torch.Generator) -> Tensor:
        chance = torch.rand(runs, batch, pairs, 2, generator=generator)
        value = torch.rand(runs, batch, pairs, 2, generator=generator)
        first = chance[..., :1]
        there = {
            "independent": chance < density,
            "together": first.expand_as(chance) < density,
            "apart": torch.cat([first < density, (density <= first) & (first < 2 * density)], -1),
        }[kind]
        return (value * there).flatten(2)

    return draw
