"""The text that small models learn: names that come back, and frames whose last word two earlier
words decide.

    balo kiri dumo waits here .                a name, what it does, sometimes how; each text has
                                               few names, and they come back
    balo kiri dumo greets tesa vamu rino .     two names
    keep the lamp in mind .                    a frame: keep … in → mind, keep … at → bay

A frame's noun follows from verb and preposition together, as an exclusive or: of the verbs two by
two, the first has one noun with "in" and the other with "at", the second the other way round. So no
sum of what the verb says and what the preposition says picks the noun, for any verb (nouns passed
on in a circle could be ranked, and only one verb would fail).
"""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise, product

import torch

from loci.studies.attention_only.grammar import BOS, Grammar

VERBS = tuple("keep hold leave put set take bring have find lay send turn".split())
PREPOSITIONS = ("in", "at")
NOUNS = tuple("mind bay hand ease place rest view heart line peace stock end".split())
OBJECTS = tuple("lamp coat letter song boat key wine map".split())
ACTS = tuple("sleeps waits sings laughs rides writes".split())
MANNERS = tuple("now here alone again today well".split())
LENGTH = 3
"""Words of a name."""
NAMED = 0.7
"""Share of clauses with a name; of these `PLAIN` have one, the others two."""
PLAIN = 2 / 3
CURT = 0.4
"""Share of acts without a manner."""


def noun(verb: str, preposition: str) -> str:
    """The last word of a frame."""
    return NOUNS[VERBS.index(verb) ^ PREPOSITIONS.index(preposition)]


def frames() -> Iterator[tuple[str, str, str]]:
    """Every (verb, preposition, noun)."""
    for verb, preposition in product(VERBS, PREPOSITIONS):
        yield verb, preposition, noun(verb, preposition)


def syllables() -> Iterator[str]:
    """Words of names, as in "balo", in an order in which neighbours do not look alike."""
    parts = [a + b for a, b in product("bdfgklmnprstvz", "aeiou")]
    words = ["".join(pair) for pair in product(parts, parts)]
    step = 1597  # shares no factor with their number, so that all are met
    return (words[(i * step) % len(words)] for i in range(len(words)))


def made_text(names: int = 64, cast: int = 3) -> Grammar:
    """The grammar of the synthetic text.

    Args:
        names: words that names are made of.
        cast: different names of a text.

    Returns: `Grammar`, whose statistics are exact.
    """
    plain = (BOS, ".", "the", "greets", *VERBS, *PREPOSITIONS, *NOUNS, *OBJECTS, *ACTS, *MANNERS)
    return _Chain(
        (*plain, *islice((word for word in syllables() if word not in plain), names))
    ).grammar(names, cast)


def falling(count: int, turn: int = 0) -> list[float]:
    """Shares in the ratio 1 : 1/2 : 1/3 …, turned on by some places."""
    weights = [1 / (1 + (i + turn) % count) for i in range(count)]
    return [w / sum(weights) for w in weights]


class _Chain:
    """States and moves, clause by clause; all clauses end in the state of the full stop."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)
        self.says: list[int] = []
        self.place: list[int] = []
        self.moves: list[tuple[int, int, float]] = []

    def word(self, word: str) -> int:
        return self._state(self.words.index(word), -1)

    def _state(self, says: int, place: int) -> int:
        self.says.append(says)
        self.place.append(place)
        return len(self.says) - 1

    def lead(self, ends: Sequence[tuple[int, float]], to: Sequence[tuple[int, float]]) -> None:
        """From states with what is left of their probability, to states with their shares of it."""
        self.moves += [(a, b, p * q) for a, p in ends for b, q in to]

    def name(self, ends: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
        """A name behind some states: its last state, with all that is left of the probability."""
        states = [self._state(-1, place) for place in range(LENGTH)]
        self.lead(ends, [(states[0], 1.0)])
        for a, b in pairwise(states):
            self.lead([(a, 1.0)], [(b, 1.0)])
        return [(states[-1], 1.0)]

    def grammar(self, names: int, cast: int) -> Grammar:
        stop = self.word(".")
        self._named(stop)
        self._framed(stop)
        T = torch.zeros(len(self.says), len(self.says), dtype=torch.float64)
        for a, b, p in self.moves:
            T[a, b] += p
        return Grammar(
            self.words, names, torch.tensor(self.says), torch.tensor(self.place), T, cast
        )

    def _named(self, stop: int) -> None:
        """<name> acts [manner] .   and   <name> greets <name> ."""
        acts, manners, greets = (
            [self.word(w) for w in ACTS],
            [self.word(w) for w in MANNERS],
            self.word("greets"),
        )
        first = self.name([(stop, NAMED * PLAIN)])
        self.lead(first, list(zip(acts, falling(len(acts)), strict=True)))
        for turn, act in enumerate(acts):
            self.lead(
                [(act, 1 - CURT)], list(zip(manners, falling(len(manners), turn), strict=True))
            )
        self.lead(
            [*((act, CURT) for act in acts), *((manner, 1.0) for manner in manners)], [(stop, 1.0)]
        )
        self.lead(self.name([(stop, NAMED * (1 - PLAIN))]), [(greets, 1.0)])
        self.lead(self.name([(greets, 1.0)]), [(stop, 1.0)])

    def _framed(self, stop: int) -> None:
        """verb the object preposition noun .   The verb is remembered by the state, up to the
        noun."""
        nouns = {word: self.word(word) for word in NOUNS}
        self.lead([(state, 1.0) for state in nouns.values()], [(stop, 1.0)])
        for verb in VERBS:
            verb_state, article = self.word(verb), self.word("the")
            objects = [self.word(w) for w in OBJECTS]
            self.lead([(stop, (1 - NAMED) / len(VERBS))], [(verb_state, 1.0)])
            self.lead([(verb_state, 1.0)], [(article, 1.0)])
            self.lead([(article, 1.0)], list(zip(objects, falling(len(objects)), strict=True)))
            for preposition in PREPOSITIONS:
                between = self.word(preposition)
                self.lead([(state, 1 / len(PREPOSITIONS)) for state in objects], [(between, 1.0)])
                self.lead([(between, 1.0)], [(nouns[noun(verb, preposition)], 1.0)])
