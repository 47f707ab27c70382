"""The geometry of equal features: dimensions per feature, and the plateaus of single features'
dimensionality.

    D* = m / ‖W‖²                    sticks at 1 (each its own dimension) and ½ (pairs, antipodal)
                                     as features get sparser
    D_i = ‖W_i‖² / Σ_j (Ŵ_i · W_j)²  d/N for N unit vectors that are a tight frame of R^d:
        1 alone    ¾ tetrahedron    ⅔ triangle    ½ antipodal pair    ⅖ pentagon    ⅜ square
            antiprism    0 dropped

Source: Elhage et al. 2022, "The geometry of superposition". Importances are equal, so nothing but
sparsity decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, share
from loci.studies.superposition.toy_model import ToyModels, toy
from loci.tables import Table, columns

PLATEAUS = {
    "1 alone": 1.0,
    "3/4 tetrahedron": 3 / 4,
    "2/3 triangle": 2 / 3,
    "1/2 pair": 1 / 2,
    "2/5 pentagon": 2 / 5,
    "3/8 antiprism": 3 / 8,
}
NEAR = 0.0125
"""Half of the distance from ⅜ to ⅖."""


@dataclass(frozen=True)
class FeatureGeometry(Result):
    """Toy models of equal features over densities."""

    about: ClassVar[About] = About(
        "geometry",
        "Which shapes do features in superposition take?",
        "Dimensions a feature, over density; plateaus are polytopes.",
        "toys.geometry_figure",
    )

    toy: ToyModels

    def near(self, plateau: float) -> list[Estimate]:
        """For each density, the share of features whose dimensionality is within 0.0125 of a
        plateau."""
        return [
            share(row.double().tolist()) for row in (self.toy.dimensionality - plateau).abs() < NEAR
        ]

    def title(self) -> str:
        return f"{self.toy.features} equal features in {self.toy.dims} dimensions"

    def tables(self) -> tuple[Table, ...]:
        near = [self.near(value) for value in PLATEAUS.values()]
        rows = tuple(
            (f"{p:.3g}", float(self.toy.per_feature[i]), *(row[i].value for row in near))
            for i, p in enumerate(self.toy.densities)
        )
        plateaus = (f"{name}|.0%" for name in PLATEAUS)
        title = "Share of features near each plateau"
        return (Table(title, columns("density", "D*|.3f", *plateaus), rows),)

    def to_dict(self) -> dict[str, Any]:
        near = {
            name: [estimate.to_dict() for estimate in self.near(value)]
            for name, value in PLATEAUS.items()
        }
        return {**self.toy.to_dict(), "schema": "loci.superposition_geometry/1", "plateaus": near}


def geometry(
    features: int = 100,
    dims: int = 10,
    densities: Sequence[float] | None = None,
    *,
    steps: int = 4000,
    batch: int = 512,
    seed: int = 0,
    progress: Progress = silent,
) -> FeatureGeometry:
    """Dimensions per feature over densities: the plateaus of feature geometry.

    Args:
        features: number of features.
        dims: hidden dimensions of the toy model.
        densities: None: 24 from 1 to 0.1, evenly in the logarithm.
        steps: training steps.
        batch: inputs a step.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `FeatureGeometry`.
    Raises: `SuperpositionError` for sizes that make no model.
    Cost: As `toy`.
    Source: Elhage et al. 2022 ("The geometry of superposition").
    """
    rates = tuple(densities or np.geomspace(1, 0.1, 24).tolist())
    return FeatureGeometry(
        toy(
            features,
            dims,
            rates,
            importance=1.0,
            steps=steps,
            batch=batch,
            seed=seed,
            progress=progress,
        )
    )
