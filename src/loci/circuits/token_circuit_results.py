"""One head between tokens: whom it looks at, and what it then makes likelier."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from loci.result import About, Result
from loci.stats import Estimate
from loci.tables import Table, columns


class ScoredToken(NamedTuple):
    """A token and its score."""

    token: str
    score: float


class TokenSource(NamedTuple):
    """A token that is looked at: by whom, and what it then makes likelier."""

    token: str
    seen_by: tuple[ScoredToken, ...]
    raises: tuple[ScoredToken, ...]
    rank: int
    """Its own place among the tokens that it raises; 0 is the first."""


class SkipTrigram(NamedTuple):
    """source … destination → out."""

    source: str
    destination: str
    out: str
    strength: float


@dataclass(frozen=True)
class TokenCircuit(Result):
    """One head between tokens."""

    about: ClassVar[About] = About(
        "a head's circuit between tokens",
        "Which tokens does a head look at, and what does it write for them?",
        "Strengths of source … destination → output.",
        "circuits.tokens_figure",
    )

    model: str
    head: str
    view: str
    offset: int | None
    tokens: int
    copying_positivity: float
    qk_positivity: float
    copies: Estimate
    """Share of tokens that raise themselves more than any other token."""
    trigrams: tuple[SkipTrigram, ...]
    sources: tuple[TokenSource, ...]
    """Those that were asked for, else those of the strongest trigrams."""

    def title(self) -> str:
        return (
            f"{self.head} of {self.model}: copies {self.copies} of {self.tokens:,} tokens best of"
            f" all; Σλ/Σ|λ| of OV {self.copying_positivity:+.2f}, of QK {self.qk_positivity:+.2f}"
        )

    def tables(self) -> tuple[Table, ...]:
        trigrams = tuple(
            (repr(own.source), repr(own.destination), repr(own.out), own.strength)
            for own in self.trigrams
        )
        sources = tuple(
            (
                repr(own.token),
                " ".join(repr(word.token) for word in own.seen_by[:6]),
                " ".join(repr(word.token) for word in own.raises[:6]),
                own.rank + 1,
            )
            for own in self.sources
        )
        return (
            Table(
                "Skip-trigrams",
                columns("source", "destination", "raises", "strength|.2f"),
                trigrams,
            ),
            Table(
                "Sources", columns("source", "seen by", "raises", "its own place"), sources, shown=6
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        sources = [
            {
                "token": s.token,
                "rank": s.rank,
                "seen_by": [w._asdict() for w in s.seen_by],
                "raises": [w._asdict() for w in s.raises],
            }
            for s in self.sources
        ]
        trigrams = [trigram._asdict() for trigram in self.trigrams]
        return {
            "schema": "loci.tokens/1",
            **vars(self),
            "copies": self.copies.to_dict(),
            "trigrams": trigrams,
            "sources": sources,
        }
