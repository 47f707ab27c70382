"""How privileged is each basis: do coordinates have heavier tails than those of the same vectors in a random rotation?

    excess kurtosis of coordinate i = E[(xᵢ − E xᵢ)⁴] / E[(xᵢ − E xᵢ)²]² − 3       0 for a Gaussian, large where few stand out
    control: the coordinates of x Q, Q the factor of a Gaussian matrix (QR), so that no direction is special

Residual streams and neurons over the tokens of text, BOS left out; embeddings over the rows of W_E, each token once. Neurons
have a basis of their own, as the non-linearity acts on each; in the residual stream nothing singles out a coordinate but the
norms' gains and the optimiser. The mean over coordinates leans on those that fire least: one that fires once in N tokens has
kurtosis near N. So the median stands beside it. Sources: Elhage et al. 2023 (Privileged Bases in the Transformer Residual
Stream).
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model, Tokens, by_length
from loci.progress import Progress, silent
from loci.stats import Estimate, mean, median
from loci.survey import sample_text

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
        estimates = {name: getattr(self, name).to_dict() for name in ("own", "rotated", "own_median", "rotated_median")}
        return asdict(self) | estimates


@dataclass(frozen=True)
class Bases:
    """Every basis of a model: embedding, then residual stream after each layer, then neurons of each layer."""

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

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "loci.bases/1", **vars(self), "rows": [row.to_dict() for row in self.rows]}


class Tails:
    """Mean and central moments 2, 3, 4 of every coordinate, streamed in float64: [width]; of x · turn where a `turn` is given.

    Batches are joined by the formulas of Pébay 2008, which do not cancel as sums of raw powers do where a mean is large.
    """

    def __init__(self, turn: Float[Tensor, "width columns"] | None = None) -> None:
        self.turn = turn
        self.count = 0
        self._mean: Tensor | None = None
        self._sums = torch.empty(0)

    def update(self, vectors: Float[Tensor, "vector width"]) -> None:
        wide = vectors.cpu().double()
        if self.turn is not None:
            wide = wide @ self.turn
        center = wide.mean(0)
        away = wide - center
        square = away * away
        self._join(len(wide), center, torch.stack([square.sum(0), (square * away).sum(0), (square * square).sum(0)]))

    def merge(self, other: "Tails") -> None:
        if other._mean is not None:
            self._join(other.count, other._mean, other._sums)

    def _join(self, b: int, center: Tensor, sums: Tensor) -> None:
        if self._mean is None:
            self.count, self._mean, self._sums = b, center.clone(), sums.clone()
            return
        a, n, δ = self.count, self.count + b, center - self._mean
        (a2, a3, a4), (b2, b3, b4) = self._sums, sums
        fourth = δ**4 * a * b * (a * a - a * b + b * b) / n**3 + 6 * δ**2 * (a * a * b2 + b * b * a2) / n**2
        self._sums = torch.stack(
            [
                a2 + b2 + δ**2 * a * b / n,
                a3 + b3 + δ**3 * a * b * (a - b) / n**2 + 3 * δ * (a * b2 - b * a2) / n,
                a4 + b4 + fourth + 4 * δ * (a * b3 - b * a3) / n,
            ]
        )
        self.count, self._mean = n, self._mean + δ * b / n

    @property
    def mean(self) -> Float[Tensor, " width"]:
        if self._mean is None:
            raise ValueError("nothing was accumulated")
        return self._mean

    @property
    def kurtosis(self) -> Float[Tensor, " width"]:
        """Excess kurtosis of every coordinate; NaN where it does not vary beyond rounding."""
        variance, fourth = self._sums[0] / self.count, self._sums[2] / self.count
        return torch.where(variance > 1e-14 * self.mean.square(), fourth / variance.square() - 3, torch.nan)


@torch.no_grad()
def bases(
    model: Model, texts: Sequence[str] | None = None, *, columns: int = COLUMNS, seed: int = 0, progress: Progress = silent
) -> Bases:
    """Kurtosis in every basis of the model and in random rotations; without `texts`, over 20,000 tokens of the embedded text.

    Mixtures have no neurons in common: they are left out, with the reason. Cost: one run over the text, and width · `columns`
    products a token and layer for the rotations. Memory: one batch and the moments. Raises `ModelError` where there is no text.
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
    gathered = {point: (Tails(), Tails(turns[space])) for point, (space, _) in places.items()}
    tokens = tokens_of(model, texts)
    for batch, reads in through(model, tokens, *gathered):
        for point, pair in gathered.items():
            for tails in pair:
                tails.update(reads[point].flatten(0, 1))
        progress(len(batch), len(tokens))
    rows = [_basis("embedding", None, _embedding(model), _embedding(model, turns["residual"]))]
    rows += [_basis(*places[point], *pair) for point, pair in gathered.items()]
    seen = next(iter(gathered.values()))[0].count
    return Bases(model.name, model.with_bos, len(tokens), seen, columns, seed, tuple(rows), missing)


def tokens_of(model: Model, texts: Sequence[str] | None, count: int = TOKENS) -> list[Tokens]:
    """The texts that are not empty in tokens, or `count` tokens of the embedded text. Raises `ModelError` without text."""
    tokens = [model.tokenize(text) for text in (sample_text(model, count) if texts is None else texts) if text.strip()]
    if not tokens:
        raise ModelError("there is no text to run the model on")
    return tokens


def through(model: Model, tokens: Sequence[Tokens], *points: str) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Batches of equally long texts: their indices, and the points without what stands before a text."""
    for batch in by_length(tokens, len, BUDGET):
        reads = model.read(model.ids([tokens[i].ids for i in batch]), *points)
        yield batch, {point: read[:, tokens[batch[0]].special :] for point, read in reads.items()}


def rotation(width: int, columns: int, seed: int = 0) -> Float[Tensor, "width columns"]:
    """The first columns of a random rotation: orthonormal, and no direction likelier than another."""
    generator = torch.Generator().manual_seed(seed)
    Q, R = torch.linalg.qr(torch.randn(width, min(width, columns), generator=generator, dtype=torch.float64))
    turned: Tensor = Q * R.diagonal().sign()  # without the signs QR prefers some rotations
    return turned


def _embedding(model: Model, turn: Tensor | None = None) -> Tails:
    tails = Tails(turn)
    for rows in model.W_E.split(BUDGET):
        tails.update(rows)
    return tails


def _basis(space: str, layer: int | None, own: Tails, turned: Tails) -> Basis:
    kept, rotated = (found[~found.isnan()].tolist() for found in (own.kurtosis, turned.kurtosis))
    width = len(own.mean)
    return Basis(
        space=space,
        layer=layer,
        vectors=own.count,
        width=width,
        left_out=width - len(kept),
        own=mean(kept, samples=500),
        rotated=mean(rotated, samples=500),
        own_median=median(kept, samples=500),
        rotated_median=median(rotated, samples=500),
    )
