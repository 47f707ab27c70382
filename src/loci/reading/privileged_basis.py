"""How privileged is each basis: do coordinates have heavier tails than those of the same vectors
in a random rotation?

    excess kurtosis of coordinate i = E[(xᵢ − E xᵢ)⁴] / E[(xᵢ − E xᵢ)²]² − 3
            0 for a Gaussian, large where few stand out
    control: the coordinates of x Q, Q the factor of a Gaussian matrix (QR), so that no direction is
        special

Residual streams and neurons over the tokens of text, BOS left out; embeddings over the rows of W_E,
each token once. Neurons have a basis of their own, as the non-linearity acts on each; in the
residual stream nothing singles out a coordinate but the norms' gains and the optimiser. The mean
over coordinates leans on those that fire least: one that fires once in N tokens has kurtosis near
N. So the median stands beside it. Sources: Elhage et al. 2023 (Privileged Bases in the Transformer
Residual Stream).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, median
from loci.survey import Moments, Rows, rotation, survey
from loci.tables import Table, columns
from loci.text import sample_text

TOKENS = 20_000
COLUMNS = 512
BUDGET = 2048


@dataclass(frozen=True)
class Basis:
    """Excess kurtosis over the coordinates of one place, and over those of a random rotation."""

    space: str
    """embedding, residual or neurons."""
    layer: int | None
    vectors: int
    width: int
    left_out: int
    """Coordinates that are the same in all vectors: neurons that never fire."""
    own: Estimate
    rotated: Estimate
    own_median: Estimate
    rotated_median: Estimate

    def to_dict(self) -> dict[str, Any]:
        estimates = {
            name: getattr(self, name).to_dict()
            for name in ("own", "rotated", "own_median", "rotated_median")
        }
        return asdict(self) | estimates


@dataclass(frozen=True)
class Bases(Result):
    """Every basis of a model: embedding, then residual stream after each layer, then neurons of
    each layer."""

    about: ClassVar[About] = About(
        "privileged bases",
        "Are the axes of a space special?",
        "Excess kurtosis of the coordinates beside the same vectors in random "
        "rotations: only a distance between the two makes a basis special.",
        "reading.basis_figure",
    )

    model: str
    bos: bool
    texts: int
    tokens: int
    columns: int
    """At most so many coordinates of a rotation are looked at."""
    seed: int
    rows: tuple[Basis, ...]
    missing: dict[str, str]
    """Spaces that this model lacks, with the reason."""

    def of(self, space: str) -> tuple[Basis, ...]:
        """The rows of one space, by layer."""
        return tuple(row for row in self.rows if row.space == space)

    def title(self) -> str:
        return f"Excess kurtosis of coordinates, {self.tokens:,} tokens of {self.texts:,} texts"

    def summary(self) -> tuple[str, ...]:
        return tuple(f"Not asked ({space}): {why}" for space, why in self.missing.items())

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                row.space,
                "" if row.layer is None else str(row.layer),
                row.own_median,
                row.rotated_median.value,
                row.own.value,
                row.rotated.value,
                f"{row.left_out} of {row.width}",
            )
            for row in self.rows
        )
        heads = (
            "space",
            "layer",
            "median|.2f",
            "rotated|.2f",
            "mean|.2f",
            "rotated|.2f",
            "never vary",
        )
        note = "0 for a Gaussian; rotated: the same vectors in a random rotation"
        return (Table("By space", columns(*heads), rows, note=note),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.bases/1",
            **vars(self),
            "rows": [row.to_dict() for row in self.rows],
        }


@torch.no_grad()
def bases(
    model: Model,
    texts: Sequence[str] | None = None,
    *,
    columns: int = COLUMNS,
    seed: int = 0,
    progress: Progress = silent,
) -> Bases:
    """Kurtosis of activations in the model's own bases, and in random rotations of them.

    Mixtures of experts have no neurons in common: they are left out, with the reason.

    Args:
        model: an open model; it is left as it was.
        texts: None: 20,000 tokens of the embedded text.
        columns: columns of each random rotation.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Bases`, one row a basis.
    Raises: `ModelError` where there is no text.
    Cost: One run over the text, and width · `columns` multiplications a token and layer.
    Source: Elhage et al. 2023 ("Privileged bases").
    """
    if columns < 2:
        raise ModelError(f"a rotation is looked at in two coordinates at least, not {columns}")
    missing = {} if model.has("mlp_act") else {"neurons": str(model.why_not("mlp_act"))}
    stems = {"residual": "resid_post", "neurons": "mlp_act"}
    places = {
        f"{stem}.{layer}": (space, layer)
        for space, stem in stems.items()
        if space not in missing
        for layer in range(model.n_layers)
    }
    widths = {"residual": model.d_model, "neurons": 0 if missing else model.d_mlp}
    turns = {space: rotation(width, columns, seed) for space, width in widths.items() if width}
    gathered = {point: (Moments(), Moments(turns[space])) for point, (space, _) in places.items()}
    texts = [
        text for text in (sample_text(model, TOKENS) if texts is None else texts) if text.strip()
    ]
    seen = survey(model, texts, gathered, budget=BUDGET, progress=progress)
    rows = [_basis("embedding", None, _embedding(model), _embedding(model, turns["residual"]))]
    rows += [_basis(*places[point], *pair) for point, pair in gathered.items()]
    return Bases(
        model.name, model.with_bos, seen.texts, seen.tokens, columns, seed, tuple(rows), missing
    )


def _embedding(model: Model, turn: Tensor | None = None) -> Moments:
    moments = Moments(turn)
    for ids in torch.arange(model.d_vocab).split(BUDGET):
        moments.update(model.W_E[ids, None], Rows(ids, torch.zeros_like(ids)))
    return moments


def _basis(space: str, layer: int | None, own: Moments, turned: Moments) -> Basis:
    plain, rotated = (
        kurtosis[~kurtosis.isnan()].tolist() for kurtosis in (own.kurtosis, turned.kurtosis)
    )
    width = len(own.mean)
    return Basis(
        space=space,
        layer=layer,
        vectors=own.count,
        width=width,
        left_out=width - len(plain),
        own=mean(plain, samples=500),
        rotated=mean(rotated, samples=500),
        own_median=median(plain, samples=500),
        rotated_median=median(rotated, samples=500),
    )
