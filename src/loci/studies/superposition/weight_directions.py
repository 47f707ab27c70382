"""Directions in real weights: how do a model's keys, values and embeddings share their dimensions?

    keys: rows of W_key    values: columns of W_down    embeddings: rows of W_E, unembeddings of
                                                        W_U, once each
    effective rank          exp(−Σ p_i ln p_i), p = σ_i / Σσ (Roy and Vetterli 2007); participation
                            (Σσ²)² / Σσ⁴
    capacity                C_i = 1 / Σ_j cos² θ_ij of unit vectors, Σ_i C_i ≤ d (Scherlis et al.
                            2022)
    features per dimension  N / Σ_i C_i: how many directions share one dimension's worth of room; N
        / rank at least

Beside each stand as many random directions of the same dimension, and the limit: no N lines have a
nearest pair further apart (Levenshtein). Angles are those of the vectors as they are. A common mean
makes all of them near; `centre` takes it off.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from loci.errors import SuperpositionError
from loci.linalg import by_smaller_side
from loci.model import Weights
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.studies.superposition.best_angles import reach
from loci.studies.superposition.packing import drawn
from loci.studies.superposition.pairwise_angles import Angles, angles
from loci.tables import Table, columns

SPACES = ("keys", "values", "embeddings", "unembeddings")
SAMPLE = 20_000


@dataclass(frozen=True)
class DirectionSet:
    """One set of directions, and as many random ones."""

    name: str
    layer: int | None
    total: int
    """How many there are; `angles` are of at most 20,000 of them, drawn."""
    zeros: int
    """Left out: vectors of zeros."""
    angles: Angles
    random: Angles
    limit: float
    """Degrees: no so many lines have a nearest pair further apart."""
    mean_cosine: float
    effective_rank: float
    participation: float
    capacity: float
    """Σ_i C_i, at most the dimension."""

    @property
    def per_dimension(self) -> float:
        """Features per dimension: N / Σ C_i."""
        return self.angles.vectors / self.capacity

    def to_dict(self) -> dict[str, Any]:
        names = (
            "name",
            "layer",
            "total",
            "zeros",
            "limit",
            "mean_cosine",
            "effective_rank",
            "participation",
            "capacity",
            "per_dimension",
        )
        return {name: getattr(self, name) for name in names} | {
            "angles": self.angles.to_dict(),
            "random": self.random.to_dict(),
        }


@dataclass(frozen=True)
class WeightAngles(Result):
    """The spaces of a model, or of a file."""

    about: ClassVar[About] = About(
        "directions in weights",
        "How are the directions of a real model spread?",
        "Angles to the nearest other, beside random vectors.",
        "weights.weights_figure",
    )

    model: str
    centred: bool
    seed: int
    spaces: tuple[DirectionSet, ...]

    def of(self, name: str) -> tuple[DirectionSet, ...]:
        """The spaces of one name, by layer."""
        return tuple(space for space in self.spaces if space.name == name)

    def title(self) -> str:
        centred = ", centred" if self.centred else ""
        return f"{self.model}{centred}: degrees to the nearest other, as lines"

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                own.name if own.layer is None else f"{own.name} {own.layer}",
                f"{own.angles.vectors:,} × {own.angles.dim}",
                own.angles.median_nearest,
                own.random.median_nearest,
                own.angles.closest_line,
                own.random.closest_line,
                own.limit,
                own.mean_cosine,
                own.effective_rank,
                own.per_dimension,
            )
            for own in self.spaces
        )
        angles = ("median|.1f", "random|.1f", "nearest pair|.1f", "random|.1f", "limit|.1f")
        others = ("mean cosine|+.3f", "effective rank|.0f", "features a dimension|.1f")
        return (Table("By space", columns("", "vectors", *angles, *others), rows),)

    def to_dict(self) -> dict[str, Any]:
        plain = {"model": self.model, "centred": self.centred, "seed": self.seed}
        return {
            "schema": "loci.superposition_weights/1",
            **plain,
            "spaces": [space.to_dict() for space in self.spaces],
        }


def weight_angles(
    model: Weights,
    *,
    centre: bool = False,
    sample: int = SAMPLE,
    seed: int = 0,
    progress: Progress = silent,
) -> WeightAngles:
    """Angles and effective dimensions of a model's keys, values and embeddings.

    In a mixture of experts embeddings alone, as neurons are each expert's own.

    Args:
        model: an open model or `open_weights`; nothing is run.
        centre: subtract the mean first.
        sample: most vectors of a set, drawn by seed.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `WeightAngles`, one set a layer and kind, beside as many random directions.
    Cost: N² · d / 2 multiplications a set, and as many for random ones, once for each shape.
    """
    sets = []
    named = list(_named(model))
    for name, layer, vectors in named:
        sets.append(space(name, vectors, layer=layer, centre=centre, sample=sample, seed=seed))
        progress(1, len(named))
    return WeightAngles(model.name, centre, seed, tuple(sets))


def _named(model: Weights) -> Iterator[tuple[str, int | None, Tensor]]:
    for layer in range(0 if model.n_experts else model.n_layers):
        yield "keys", layer, model.W_key(layer)
    for layer in range(0 if model.n_experts else model.n_layers):
        yield "values", layer, model.W_down(layer).T
    yield "embeddings", None, model.W_E
    if not model.tied:
        yield "unembeddings", None, model.W_U


@torch.no_grad()
def space(
    name: str,
    vectors: Float[Tensor, "vector dim"],
    *,
    layer: int | None = None,
    centre: bool = False,
    sample: int = SAMPLE,
    seed: int = 0,
) -> DirectionSet:
    """Any directions, as rows: of a model, or of a dictionary.

    Raises `SuperpositionError` where fewer than two are not zero.
    """
    if vectors.ndim != 2 or vectors.shape[1] < 2:
        raise SuperpositionError(
            f"{name}: directions are rows of a matrix with two columns at least, not "
            f"{list(vectors.shape)}"
        )
    X = vectors.detach().float().cpu()
    X = X - X.mean(0) if centre else X
    kept = X[X.norm(dim=1) > 1e-12] if bool(X.isfinite().all()) else X
    if len(kept) > sample:
        kept = kept[
            torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))[:sample]
        ]
    own = angles(kept)
    unit = normalize(kept, dim=1)
    second = unit.T @ unit  # its entries squared sum to Σ_ij cos²
    room = 1 / ((unit @ second) * unit).sum(1)
    singular = by_smaller_side(kept, name)[0]
    p = singular / singular.sum()
    count, dim = kept.shape
    return DirectionSet(
        name=name,
        layer=layer,
        total=len(X),
        zeros=len(X) - int((X.norm(dim=1) > 1e-12).sum()),
        angles=own,
        random=_random(count, dim, seed),
        limit=reach(dim, count).lines.limit,
        mean_cosine=float((unit.sum(0).square().sum() - count) / (count * (count - 1))),
        effective_rank=float((-(p * p.clamp(min=1e-30).log()).sum()).exp()),
        participation=float(singular.square().sum() ** 2 / singular.pow(4).sum()),
        capacity=float(room.sum()),
    )


@lru_cache(maxsize=4)
def _random(count: int, dim: int, seed: int) -> Angles:
    return angles(drawn(dim, count, seed))
