"""How well a dictionary gives back what it is given: sums over tokens that are divided once, at the
end.

FVU = Σ_t ‖y_t − ŷ_t‖² / Σ_t ‖y_t − ȳ‖²  ȳ: mean of each dimension over all tokens; predicting ȳ
                                         gives 1
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.dictionary import Dictionary

BLOCK = 4096
"""Tokens encoded at a time."""


@dataclass(frozen=True)
class Fit:
    """Reconstruction error and sparsity of a dictionary on some tokens."""

    tokens: int
    fvu: float
    """Fraction of variance unexplained: 0 is perfect, 1 is what predicting the mean gives."""
    l0: float
    """Mean number of features that are on at a token."""
    alive: float
    """Share of features that are on at one of the tokens at least."""
    ratio: float
    """Mean of ‖ŷ‖ / ‖y‖: below 1 where reconstructions shrink."""
    cosine: float
    """Mean cosine of y and ŷ."""
    l1: float
    """Mean sum of sizes of features at a token."""
    mse: float
    density: Float[Tensor, " features"] = field(repr=False)
    """Share of tokens at which each feature is on."""

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "density"}


@torch.no_grad()
def fit(
    dictionary: Dictionary,
    x: Float[Tensor, "token d_in"],
    y: Float[Tensor, "token d_out"] | None = None,
) -> Fit:
    """The fit of a dictionary to inputs x and outputs y (x itself for an autoencoder). Cost: one
    encoding of each token.
    """
    y = x if y is None else y
    mean, n = y.double().mean(0), len(y)
    sums = dict.fromkeys(("error", "spread", "l0", "l1", "ratio", "cosine"), 0.0)
    on = torch.zeros(dictionary.features)
    for some_x, some_y in zip(x.split(BLOCK), y.split(BLOCK), strict=True):
        f = dictionary.encode(some_x)
        guess = dictionary.decode(f, some_x).double()
        wide, active = some_y.double(), f != 0
        sums["error"] += float((wide - guess).square().sum())
        sums["spread"] += float((wide - mean).square().sum())
        sums["l0"] += float(active.sum())
        sums["l1"] += float(f.abs().sum())
        size, guessed = wide.norm(dim=-1).clamp(min=1e-30), guess.norm(dim=-1)
        sums["ratio"] += float((guessed / size).sum())
        sums["cosine"] += float(((wide * guess).sum(-1) / (size * guessed.clamp(min=1e-30))).sum())
        on += active.sum(0).cpu()
    return Fit(
        tokens=n,
        fvu=sums["error"] / sums["spread"] if sums["spread"] else float("nan"),
        l0=sums["l0"] / n,
        alive=float((on > 0).float().mean()),
        ratio=sums["ratio"] / n,
        cosine=sums["cosine"] / n,
        l1=sums["l1"] / n,
        mse=sums["error"] / y.numel(),
        density=on / n,
    )


@torch.no_grad()
def share_on(dictionary: Dictionary, x: Float[Tensor, "token d_in"]) -> float:
    """The share of features that are on at one of these inputs at least."""
    on = torch.zeros(dictionary.features, dtype=torch.bool)
    for some in x.split(BLOCK):
        on |= (dictionary.encode(some) != 0).any(0).cpu()
    return float(on.float().mean())
