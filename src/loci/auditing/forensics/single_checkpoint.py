"""One checkpoint without its base: which weights stand out from the same weight of the other
layers?

    x_L = log σ₁, log ‖W‖, log of the largest column's norm over the median one
    z_L = (x_L − line through the other n layers) / spread of the others about it / √(n / (n − 2) ·
        (1 + 1/n + (L − mean)² / Σ(l − mean)²))

The line is Theil and Sen's (median slope), the spread robust, and at least `LEAST` in the
logarithm: siblings that agree by chance would make anything an outlier. The root is that of a
prediction's interval: the first and the last layer are extrapolated, and differ anyway. Only larger
values count, as edits add. Cost: one symmetric eigenproblem a matrix, each read where it lies.

What it can tell is little: a weight may stand out because training made it so. How often untouched
models are accused, and how large an edit must be to be seen, is measured in docs/forensics.md.
"""

import math
from dataclasses import dataclass
from itertools import combinations
from statistics import mean, median
from typing import Any, ClassVar

import torch

from loci.auditing.forensics.spectra import spectrum
from loci.errors import ModelError
from loci.model import Weights
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns

STEMS = ("W_up", "W_gate", "W_down")
LEAST = 0.05
OUTLIER = 8.0
FEWEST_LAYERS = 4


@dataclass(frozen=True)
class Outlier:
    """One weight's place among its siblings."""

    name: str
    layer: int
    measure: str
    value: float
    expected: float
    z: float


@dataclass(frozen=True)
class SingleCheckpoint(Result):
    """The outliers of one checkpoint among its own layers."""

    about: ClassVar[About] = About(
        "one checkpoint, without its base",
        "Does a layer stand out from the line through the others?",
        "Orange points stand out by the threshold.",
        "forensics.alone_figure",
    )

    model: str
    weights: tuple[Outlier, ...]
    """Every weight and measure, the most conspicuous first."""
    threshold: float = OUTLIER

    @property
    def conspicuous(self) -> list[Outlier]:
        return [weight for weight in self.weights if weight.z >= self.threshold]

    @property
    def verdict(self) -> str:
        if not self.conspicuous:
            return (
                "nothing stands out: no large edit of a few layers; small ones, and any of all "
                "layers alike, cannot be seen without the base"
            )
        names = ", ".join(dict.fromkeys(weight.name for weight in self.conspicuous))
        return (
            f"{names} stands out from the other layers: perhaps edited, perhaps trained so; "
            "compare with the base to know"
        )

    def summary(self) -> tuple[str, ...]:
        return (self.verdict,)

    def title(self) -> str:
        return f"{self.model}, without its base"

    def tables(self) -> tuple[Table, ...]:
        return (
            Table(
                "Weights, the furthest first",
                columns("weight", "measure", "z|.1f"),
                tuple((own.name, own.measure, own.z) for own in self.weights),
                note="z: above the line through the other layers, in their spread; from"
                f" {self.threshold:g} it stands out",
                shown=8,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.forensics/1",
            "model": self.model,
            "base": None,
            "weights": [vars(weight) for weight in self.weights],
            "subjects": [],
            "threshold": self.threshold,
            "verdict": self.verdict,
        }


def alone(model: Weights, *, progress: Progress = silent) -> SingleCheckpoint:
    """Judge a checkpoint without its base: which weights stand out from other layers'?

    Args:
        model: an open model or `open_weights`; nothing is run.
        progress: called with (steps done, steps in all).

    Returns: `SingleCheckpoint`.
    Raises: `ModelError` for too few layers to compare, and for mixtures of experts.
    Cost: One symmetric eigenproblem a matrix, each read where it lies.
    """
    if model.n_experts:
        raise ModelError(f"{model.name!r} is a mixture of experts: give its base to compare with")
    if model.n_layers < FEWEST_LAYERS:
        raise ModelError(
            f"{model.name!r} has {model.n_layers} layers, too few to compare with each other: give "
            "its base"
        )
    stems = [stem for stem in STEMS if stem != "W_gate" or model.gated]
    outliers = []
    for stem in stems:
        measured = []
        for layer in range(model.n_layers):
            measured.append(
                _measures(getattr(model, stem)(layer), f"{stem}.{layer} of {model.name!r}")
            )
            progress(1, len(stems) * model.n_layers)
        for measure in measured[0]:
            outliers += _judged(stem, measure, [each[measure] for each in measured])
    return SingleCheckpoint(model.name, tuple(sorted(outliers, key=lambda weight: -weight.z)))


def _measures(weight: torch.Tensor, name: str) -> dict[str, float]:
    wide = weight.double()
    if not wide.isfinite().all():
        raise ModelError(f"{name} holds NaN or infinite numbers: a broken checkpoint")
    columns = wide.norm(dim=0)
    return {
        "largest singular value": float(spectrum(wide).values[0].log()),
        "norm": float(wide.norm().log()),
        "largest column": float((columns.max() / columns.median()).log()),
    }


def _judged(stem: str, measure: str, values: list[float]) -> list[Outlier]:
    outliers = []
    for layer, value in enumerate(values):
        others = [(i, v) for i, v in enumerate(values) if i != layer]
        slope = median((b - a) / (j - i) for (i, a), (j, b) in combinations(others, 2))
        start = median(v - slope * i for i, v in others)
        spread = 1.4826 * median(abs(v - start - slope * i) for i, v in others)
        expected = start + slope * layer
        z = (value - expected) / (max(spread, LEAST) * _widened(layer, [i for i, _ in others]))
        outliers.append(Outlier(f"{stem}.{layer}", layer, measure, value, expected, z))
    return outliers


def _widened(layer: int, others: list[int]) -> float:
    """By how much a prediction is less sure than the points that it is made from."""
    n, middle = len(others), mean(others)
    return math.sqrt(
        n / (n - 2) * (1 + 1 / n + (layer - middle) ** 2 / sum((i - middle) ** 2 for i in others))
    )
