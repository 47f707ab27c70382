"""Facts in order, found by subject, prompt and relation; and edits that contradict each other."""

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple, overload

from loci.errors import FactError
from loci.facts.fact import Fact
from loci.facts.spans import occurrences


class FactSet(Sequence[Fact]):
    """An ordered, immutable collection of facts that knows who is whose neighbour."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts = tuple(facts)

    @overload
    def __getitem__(self, index: int) -> Fact: ...
    @overload
    def __getitem__(self, index: slice) -> "FactSet": ...
    def __getitem__(self, index: int | slice) -> "Fact | FactSet":
        return FactSet(self._facts[index]) if isinstance(index, slice) else self._facts[index]

    def __len__(self) -> int:
        return len(self._facts)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self._facts)

    def __repr__(self) -> str:
        return (
            f"FactSet({len(self)} facts, {len(self.relations)} relations, {len(self._by_subject)}"
            " subjects)"
        )

    @cached_property
    def _by_subject(self) -> dict[str, list[Fact]]:
        groups: dict[str, list[Fact]] = {}
        for fact in self:
            groups.setdefault(fact.subject, []).append(fact)
        return groups

    @cached_property
    def relations(self) -> dict[str | None, list[Fact]]:
        """Facts by relation, in order of first appearance."""
        groups: dict[str | None, list[Fact]] = {}
        for fact in self:
            groups.setdefault(fact.relation, []).append(fact)
        return groups

    def of(self, relation: str) -> "FactSet":
        """The facts of one relation. Raises `FactError`, with the relations there are, where it has
        none.
        """
        if relation not in self.relations:
            raise FactError(
                f"there is no relation {relation!r}; relations:"
                f" {', '.join(map(str, self.relations))}"
            )
        return FactSet(self.relations[relation])

    @property
    def subjects(self) -> list[str]:
        return list(self._by_subject)

    def about(self, subject: str) -> "FactSet":
        """All facts of one subject."""
        return FactSet(self._by_subject.get(subject, ()))

    def others(self, fact: Fact) -> "FactSet":
        """The other known facts of the fact's subject."""
        return FactSet(
            f
            for f in self.about(fact.subject)
            if f.relation != fact.relation or f.prompt != fact.prompt
        )

    def neighbours(self, fact: Fact, count: int, seed: int = 0) -> "FactSet":
        """`count` facts of the same relation about other subjects, drawn with a seed of the fact's
        own.
        """
        pool = [f for f in self.relations.get(fact.relation, ()) if f.subject != fact.subject]
        return FactSet(random.Random(f"{seed}/{fact.text}").sample(pool, min(count, len(pool))))

    def without(self, facts: Iterable[Fact]) -> "FactSet":
        """The facts that ask none of the same prompts."""
        texts = {fact.text for fact in facts}
        return FactSet(fact for fact in self if fact.text not in texts)

    def answers(self, relation: str | None) -> list[str]:
        """The different answers of a relation, most frequent first."""
        counts: dict[str, int] = {}
        for fact in self.relations.get(relation, ()):
            counts[fact.answer] = counts.get(fact.answer, 0) + 1
        return sorted(counts, key=lambda answer: (-counts[answer], answer))

    def sample(self, count: int, seed: int = 0) -> "FactSet":
        """`count` facts without repetition, seeded."""
        return FactSet(random.Random(seed).sample(self._facts, min(count, len(self))))

    def sample_each(self, count: int, seed: int = 0) -> "FactSet":
        """At most `count` facts of each relation without repetition, seeded."""
        drawn = (
            random.Random(f"{seed}/{name}").sample(own, min(count, len(own)))
            for name, own in self.relations.items()
        )
        return FactSet(fact for own in drawn for fact in own)

    def same(self, fact: Fact) -> Fact | None:
        """The fact of this set that asks the same prompt about the same subject,
        if there is one.
        """
        return next(
            (f for f in self._by_subject.get(fact.subject, ()) if f.text == fact.text), None
        )

    def subjects_in(self, prompt: str) -> list[str]:
        """Known subjects that stand in the prompt as whole words, without those inside a longer
        one.
        """
        subjects = [
            s
            for s in self._by_subject
            if (s in prompt or not s.isascii()) and occurrences(prompt, s)
        ]
        return [s for s in subjects if not any(s != other and s in other for other in subjects)]


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
    """Keys of a question: two facts that share one ask the same. The whole prompt, and the subject
    with the relation where that is given.
    """
    return [(fact.text,), *([(fact.subject, fact.relation)] if fact.relation else [])]
