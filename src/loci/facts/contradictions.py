"""Facts that ask the same question of the same subject: edits that contradict each other, or are
made twice.
"""

from collections.abc import Iterable
from typing import NamedTuple

from loci.facts.fact import Fact


class Conflict(NamedTuple):
    """Two facts with one question, and what each wants."""

    first: Fact
    second: Fact

    @property
    def same(self) -> bool:
        """Whether both want the same answer: made twice rather than contradicting."""
        return self.first.new_answer == self.second.new_answer

    def __str__(self) -> str:
        wanted = (
            f"{self.first.new_answer!r}, twice"
            if self.same
            else f"{self.first.new_answer!r} and {self.second.new_answer!r}"
        )
        return f"{self.first.text!r} → {wanted}"


def conflicts(first: Iterable[Fact], second: Iterable[Fact] | None = None) -> list[Conflict]:
    """Pairs of edits, one of each collection (or two of one), on the same subject and relation or
    with the same prompt.

    Facts without a new answer conflict with nothing. Cost: linear in the number of facts.
    """
    edits = [fact for fact in first if fact.new_answer is not None]
    others = edits if second is None else [fact for fact in second if fact.new_answer is not None]
    by_question: dict[tuple[str, ...], list[int]] = {}
    for i, fact in enumerate(edits):
        for question in _questions(fact):
            by_question.setdefault(question, []).append(i)
    pairs = {
        (i, j)
        for j, fact in enumerate(others)
        for question in _questions(fact)
        for i in by_question.get(question, ())
    }
    return [Conflict(edits[i], others[j]) for i, j in sorted(pairs) if second is not None or i < j]


def _questions(fact: Fact) -> list[tuple[str, ...]]:
    """What two facts must share to ask the same: the whole prompt, or the subject and a relation
    that is said.
    """
    return [(fact.text,), *([(fact.subject, fact.relation)] if fact.relation else [])]
