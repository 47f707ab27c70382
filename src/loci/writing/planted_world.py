"""The small world of a planted model: two-part names, two relations, and the words around them.

No torch.
"""

from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from loci.errors import WriteError
from loci.facts import Fact, FactSet

FIRST = (
    "Michael Alexis Serena Tiger Mia Lionel Simone Usain "
    "Steffi Wayne Nadia Roger Venus Pele Jackie Babe"
).split()
LAST = (
    "Jordan Phelps Williams Woods Hamm Messi Biles Bolt "
    "Graf Gretzky Comaneci Federer Owens Ali Robinson Ruth"
).split()
FILLERS = "often surely they say that now".split()
UNKNOWN, BOS = "<unk>", "<s>"


class Relation(NamedTuple):
    """A relation: the word that asks for it, further ones, and its answers."""

    name: str
    word: str
    synonym: str
    answers: tuple[str, ...]

    def fact(self, subject: str, answer: str) -> Fact:
        return Fact(
            subject=subject,
            prompt=f"{{}} {self.word}",
            answer=answer,
            relation=self.name,
            paraphrases=(f"{{}} often {self.word}", f"they say that {{}} {self.word}"),
            held_out=(f"{{}} now {self.synonym}",),
        )


RELATIONS = (
    Relation(
        "sport",
        "plays",
        "practises",
        tuple("basketball tennis golf soccer hockey boxing chess rugby".split()),
    ),
    Relation(
        "city",
        "inhabits",
        "visits",
        tuple("Chicago Paris Lagos Lima Oslo Seoul Cairo Perth".split()),
    ),
)


@dataclass(frozen=True)
class World:
    """Facts about `subjects`, one of each relation, in an order of their own."""

    subjects: tuple[tuple[int, int], ...]
    """Numbers of first and last name."""
    labels: tuple[tuple[int, ...], ...]
    """For each relation, the answer's number for each subject."""

    @classmethod
    def drawn(cls, count: int, seed: int) -> "World":
        """So many pairs of names with random answers.

        Raises `WriteError` for more than there are.
        """
        pairs = [(i, j) for i in range(len(FIRST)) for j in range(len(LAST))]
        if not 2 <= count <= len(pairs):
            raise WriteError(f"a planted model holds 2 … {len(pairs)} subjects, not {count}")
        draw = Random(seed)
        subjects = tuple(draw.sample(pairs, count))
        return cls(
            subjects,
            tuple(tuple(draw.randrange(len(r.answers)) for _ in subjects) for r in RELATIONS),
        )

    @property
    def facts(self) -> FactSet:
        """All of them, relation by relation."""
        return FactSet(fact for index in range(len(RELATIONS)) for fact in self.of(index))

    def of(self, index: int) -> list[Fact]:
        """The facts of one relation, in the order of the subjects."""
        relation = RELATIONS[index]
        return [
            relation.fact(f"{FIRST[i]} {LAST[j]}", relation.answers[label])
            for (i, j), label in zip(self.subjects, self.labels[index], strict=True)
        ]


def vocabulary() -> list[str]:
    """All tokens: one a word."""
    asked = [word for relation in RELATIONS for word in (relation.word, relation.synonym)]
    answers = [answer for relation in RELATIONS for answer in relation.answers]
    return [UNKNOWN, BOS, *FIRST, *LAST, *asked, *answers, *FILLERS]
