"""Directions of pairs of words: cosines, analogies that they solve, tokens that they promote."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from loci.reading.value_projections import Scored
from loci.result import About, Result
from loci.stats import Estimate, percent
from loci.tables import Table, columns, joined

Pair = tuple[str, str]


@dataclass(frozen=True)
class Directions(Result):
    """How far pairs share one direction a − b, and what it is good for."""

    about: ClassVar[About] = About(
        "directions",
        "Do pairs of words differ in one direction, and does it solve analogies it did not see?",
        "Cosines between the pairs' differences: dark blue off the diagonal is a shared direction.",
        "directions.directions_figure",
    )

    model: str
    bos: bool
    point: str
    pairs: tuple[Pair, ...]
    direction: Float[Tensor, " d_model"]
    """Mean difference a − b of all pairs."""
    cosines: Float[Tensor, "pair pair"]
    """Between the pairs' differences."""
    alignment: Estimate
    """Mean cosine of the differences of pairs without a common word, bootstrapped over pairs."""
    shuffled: Estimate
    """The same, each b taken from another pair, over ten shuffles: what the two sides' means
    give by themselves."""
    beyond: Estimate
    """Alignment less that of shuffled partners, over the same draws of pairs."""
    nearest: tuple[str | None, ...]
    """For each pair, the word nearest to b + the other pairs' mean difference; None where all
    others share a word with it."""
    analogy: Estimate
    """Share of pairs where that word is a."""
    without: Estimate
    """Share where a is the nearest to b itself."""
    random: Estimate
    """Share where a is the nearest to b + a random direction of equal norm, ten draws each."""
    candidates: int
    """Words among which the nearest is looked for: those of the pairs, b itself left out."""
    promotes: Scored
    suppresses: Scored
    seed: int

    @property
    def norm(self) -> float:
        return float(self.direction.norm())

    def summary(self) -> tuple[str, ...]:
        if len(self.pairs) < 2:
            return (
                "One pair has a direction, but nothing to be compared with: give several for"
                " alignment"
                " and analogies.",
            )
        return (
            f"Cosine between the pairs' differences {self.alignment}, with shuffled partners"
            f" {self.shuffled}; held-out analogies solved {percent(self.analogy)}, without a"
            " direction"
            f" {percent(self.without)}.",
        )

    def title(self) -> str:
        plural = "s" * (len(self.pairs) > 1)
        return f"{len(self.pairs)} pair{plural} at {self.point}, norm of the mean {self.norm:.3g}"

    def tables(self) -> tuple[Table, ...]:
        cosines = (
            ("the pairs' differences", self.alignment),
            ("partners shuffled", self.shuffled),
            ("beyond shuffled", self.beyond),
        )
        solved = (
            ("direction of the others", self.analogy),
            ("none", self.without),
            ("random", self.random),
        )
        near = tuple(
            (b, nearest, a)
            for (a, b), nearest in zip(self.pairs, self.nearest, strict=True)
            if nearest is not None
        )
        apart = self.alignment.n
        few = (
            f"; {apart} of the pairs can be compared: that takes two with no word in common, an"
            " interval of their cosine three"
        ) * (apart < 3)
        promoted = tuple(
            (name, joined(token for token, _ in tokens))
            for name, tokens in (("promotes", self.promotes), ("suppresses", self.suppresses))
        )
        return (
            Table("Alignment", columns("", "mean cosine|.4f", "pairs"), _counted(cosines)),
            Table("Held-out analogies", columns("", "solved|.1%", "pairs"), _counted(solved)),
            *([Table("Nearest", columns("of", "is", "should be"), near, shown=10)] if near else []),
            Table(
                "Tokens",
                columns("", "tokens"),
                promoted,
                note=f"the nearest of {self.candidates} words, by cosine{few}",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        names = ("alignment", "shuffled", "beyond", "analogy", "without", "random")
        estimates = {name: getattr(self, name).to_dict() for name in names}
        pairs = [
            {"a": a, "b": b, "nearest": near}
            for (a, b), near in zip(self.pairs, self.nearest, strict=True)
        ]
        tokens = {
            side: [{"token": t, "score": s} for t, s in getattr(self, side)]
            for side in ("promotes", "suppresses")
        }
        tensors = {name: getattr(self, name).tolist() for name in ("direction", "cosines")}
        plain = {
            name: getattr(self, name)
            for name in ("model", "bos", "point", "norm", "candidates", "seed")
        }
        return {
            "schema": "loci.directions/1",
            **plain,
            **estimates,
            "pairs": pairs,
            **tokens,
            **tensors,
        }


def _counted(rows: Iterable[tuple[str, Estimate]]) -> tuple[tuple[str, Estimate, int], ...]:
    return tuple((name, own, own.n) for name, own in rows)
