"""Histograms of activations, in bins a quarter of an octave wide."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.survey.accumulators import Rows, Values, _Sums

OCTAVES, PARTS = 16, 4
"""Sizes 2⁻¹⁰ … 2⁶, each octave in four bins; one bin for what is smaller, on both sides of zero."""

LOWEST = 127 - 10

BINS = 2 * OCTAVES * PARTS + 1


class Histogram(_Sums):
    """Counts of each coordinate in bins whose edges are a fifth to a quarter apart, of every
    `every`-th text: [width, bin].

    Bins are read off the bits of a float, so that no search is needed, and are the same in every
    pass, so that shards merge exactly.
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.every = every

    def update(self, values: Values, rows: Rows) -> None:
        chosen = values[rows.text.to(values.device) % self.every == 0].flatten(0, 1).float()
        if not len(chosen):
            return
        offsets = BINS * torch.arange(chosen.shape[1], device=chosen.device)
        counts = torch.bincount(
            (bins(chosen) + offsets).flatten(), minlength=BINS * chosen.shape[1]
        )
        self._add(len(chosen), counts=counts.unflatten(0, (-1, BINS)))

    @property
    def counts(self) -> Int[Tensor, "width bin"]:
        return self._sum("counts")

    def quantile(self, q: float) -> Float[Tensor, " width"]:
        """The upper edge of the bin that holds the quantile: right to a bin's width."""
        reached = self.counts.cumsum(1) >= q * self.count
        return edges()[reached.int().argmax(1)]


def bins(values: Float[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """The bin of each value: the middle one is for what is smaller than 2⁻¹⁰, larger sizes follow
    on both sides.
    """
    bits = values.abs().view(torch.int32)
    size = (bits >> 21) - (LOWEST << 2) + 1
    size = size.clamp(0, OCTAVES * PARTS)
    return (OCTAVES * PARTS + torch.where(values < 0, -size, size)).long()


def edges() -> Float[Tensor, " bin"]:
    """The upper edge of each bin, away from −∞."""
    sizes = torch.tensor(
        [
            2.0 ** (octave - 10) * (1 + part / PARTS)
            for octave in range(OCTAVES)
            for part in range(PARTS)
        ]
        + [2.0**6]
    )
    return torch.cat([-sizes[:-1].flip(0), sizes[:1], sizes[1:]])
