"""The report of an edit, its prompts asked again, as a value that a patch carries.

said        share of the patch's facts whose new answer the edited model generates greedily, in full
failed      the others, and what the edited model says instead
neighbours  share of prompts about other subjects that get another answer than the base's
sentences   share of next tokens, the likeliest each, that are others than the base's, over the
            model's own texts
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from loci.errors import PatchError
from loci.stats import NOTHING, Estimate

NEIGHBOUR_LIMIT = 0.05
"""Share of neighbours with another answer above which an edit is warned of."""
SENTENCE_LIMIT = 0.1
"""Share of next tokens of the model's own texts, the same."""


class FailedFact(NamedTuple):
    """A fact whose new answer the edited model does not give."""

    subject: str
    prompt: str
    """The whole prompt."""
    wanted: str
    says: str


class MovedAnswer(NamedTuple):
    """A prompt that was not edited, and gets another answer."""

    prompt: str
    before: str
    says: str


class OldAnswer(NamedTuple):
    """A fact whose old answer was given as something that the model does not say."""

    subject: str
    prompt: str
    given: str
    says: str


@dataclass(frozen=True)
class EditReport:
    """Facts asked again, and a quick sample of what else moved."""

    said: Estimate
    failed: tuple[FailedFact, ...] = ()
    neighbours: Estimate = NOTHING
    source: str = ""
    """Where the neighbours came from."""
    same_subject: Estimate = NOTHING
    moved: tuple[MovedAnswer, ...] = ()
    sentences: Estimate = NOTHING
    old_answers: tuple[OldAnswer, ...] = ()
    already: tuple[str, ...] = ()
    """Prompts that the model answered so before the edit."""

    @property
    def hits(self) -> int:
        """How many facts are said."""
        return self.said.n - len(self.failed)

    @property
    def worth(self) -> float:
        """Share of the facts that are said + share of the neighbours that stay + share of next
        tokens that stay: by what two edits of the same facts are compared.
        """
        return self.said.value + sum(
            1 - asked.value for asked in (self.neighbours, self.sentences) if asked.n
        )

    @property
    def harmful(self) -> bool:
        """Whether more moved than one of the limits allows."""
        limits = (
            (self.neighbours, NEIGHBOUR_LIMIT),
            (self.same_subject, NEIGHBOUR_LIMIT),
            (self.sentences, SENTENCE_LIMIT),
        )
        return any(estimate.n and estimate.value > limit for estimate, limit in limits)

    @property
    def warnings(self) -> list[str]:
        """One line for each limit that is passed, and for what was not as the facts say."""
        warnings = []
        for asked, what in (
            (self.neighbours, "prompts about other subjects"),
            (self.same_subject, "other facts of the subjects"),
        ):
            if asked.n and asked.value > NEIGHBOUR_LIMIT:
                warnings.append(
                    f"{round(asked.value * asked.n)} of {asked.n} {what} get another answer (limit"
                    f" {NEIGHBOUR_LIMIT:.0%})"
                )
        if self.sentences.n and self.sentences.value > SENTENCE_LIMIT:
            warnings.append(
                f"{self.sentences.value:.1%} of the likeliest next tokens over {self.sentences.n}"
                f" texts of the model's own are others (limit {SENTENCE_LIMIT:.0%})"
            )
        if self.already:
            warnings.append(
                f"{len(self.already)} of the new answers were the model's before:"
                f" {_some(self.already)}"
            )
        if self.old_answers:
            wrong = [
                f"{old.prompt!r} is {old.says!r} to the model, not {old.given!r}"
                for old in self.old_answers
            ]
            warnings.append(f"{len(wrong)} old answers are not what the model said: {_some(wrong)}")
        return warnings

    def to_dict(self) -> dict[str, Any]:
        return {
            "said": self.said.to_dict(),
            "failed": [fact._asdict() for fact in self.failed],
            "moved": {
                "neighbours": self.neighbours.to_dict()["value"],
                "low": self.neighbours.to_dict()["low"],
                "high": self.neighbours.to_dict()["high"],
                "n": self.neighbours.n,
                "source": self.source,
                "same_subject": self.same_subject.to_dict(),
                "limit": NEIGHBOUR_LIMIT,
                "changed": [answer._asdict() for answer in self.moved],
                "sentences": {**self.sentences.to_dict(), "limit": SENTENCE_LIMIT},
            },
            "old_answers": [old._asdict() for old in self.old_answers],
            "already": list(self.already),
            "warnings": self.warnings,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "EditReport":
        """The way back from `to_dict`. Raises `PatchError` for anything else."""
        try:
            moved = plain["moved"]
            return cls(
                _estimate(plain["said"]),
                tuple(FailedFact(*_words(row, FailedFact._fields)) for row in plain["failed"]),
                _estimate({**moved, "value": moved["neighbours"]}),
                str(moved["source"]),
                _estimate(moved["same_subject"]),
                tuple(MovedAnswer(*_words(row, MovedAnswer._fields)) for row in moved["changed"]),
                _estimate(moved["sentences"]),
                tuple(OldAnswer(*_words(row, OldAnswer._fields)) for row in plain["old_answers"]),
                tuple(map(str, plain["already"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PatchError(
                f"its report is none of Loci's ({type(error).__name__}: {error})"
            ) from None


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    value, low, high = (
        float("nan") if plain[name] is None else float(plain[name])
        for name in ("value", "low", "high")
    )
    n = int(plain["n"])
    if n < 0 or not (n == 0 or 0 <= value <= 1):
        raise ValueError(f"{value} of {n} is no share")
    return Estimate(value, low, high, n)


def _words(row: Mapping[str, Any], names: tuple[str, ...]) -> list[str]:
    values = [row[name] for name in names]
    if not all(isinstance(value, str) for value in values):
        raise TypeError("expected text")
    return values


def _some(texts: tuple[str, ...] | list[str], most: int = 3) -> str:
    return "; ".join(texts[:most]) + ("; …" if len(texts) > most else "")
