"""Other subjects of an edit's question: who else it may be asked of.

stated         what stands in the question's place in background text
listed_names   what the model itself lists after the edited subjects
names_in       names in background text
words_in       its other words, where an edited subject is none: "pinto bean"
"""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain

import torch

from loci.facts.fact import BLANK
from loci.model import Model
from loci.model.generation import continue_all

NAMES = 500
"""Most names that are tried in a question."""
LISTS, FEW_LISTS, LISTED, LIST_TOKENS = 24, 8, 8, 16
"""Lists of names that the model is let go on with, for each question; fewer where there are more
than `LISTED` questions; and the tokens of each.
"""
NAME = re.compile(
    r"[^\W\d_][\w'’.-]*(?: (?:(?:of|de|la|van|von|der|al|bin|del|di|the|and) )?[^\W_][\w'’.-]*)*"
)
LONGEST = 6
"""Most words in a name."""


def stated(sentences: Sequence[str], question: str, seed: int) -> list[str]:
    """At most `NAMES` // 2 of what stands in the question's place in sentences that state it, in a
    seeded order; nothing where no word follows the blank, as then nothing says where a subject
    ends.
    """
    before, after = question.split(BLANK)
    if not after.strip():
        return []
    place = re.compile(
        rf"{re.escape(before)}(\S+(?: \S+){{0,{LONGEST - 1}}}?){re.escape(after)}(?!\w)"
    )
    found = (place.match(sentence) for sentence in sentences if after in sentence)
    stated = list(dict.fromkeys(match[1] for match in found if match))
    return random.Random(seed).sample(stated, min(len(stated), NAMES // 2))


def is_name(subject: str) -> bool:
    return not subject[:1].islower()


@lru_cache(maxsize=4)
def words_in(sentences: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Words in sentences that are no names, in a seeded order."""
    drawn = random.Random(seed).sample(list(sentences), min(len(sentences), 8 * NAMES))
    words = (word.strip(".,;:!?\"'()[]“”") for sentence in drawn for word in sentence.split())
    return tuple(dict.fromkeys(word for word in words if len(word) > 2 and word.islower()))


@lru_cache(maxsize=4)
def names_in(sentences: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Names in sentences: runs of capitalised words, in a seeded order; words that also stand in
    lower case are none.
    """
    drawn = random.Random(seed).sample(list(sentences), min(len(sentences), 8 * NAMES))
    lower = {word for sentence in drawn for word in sentence.split() if word[:1].islower()}
    names = dict.fromkeys(chain.from_iterable(_runs(sentence, lower) for sentence in drawn))
    return tuple(names)


def _runs(sentence: str, lower: set[str]) -> list[str]:
    """The capitalised runs of one sentence."""
    runs: list[list[str]] = [[]]
    for word in sentence.split():
        bare = word.strip(".,;:!?\"'()[]“”").removesuffix("'s")
        if bare[:1].isupper() and bare[:1].isalpha():
            runs[-1].append(bare)
        else:
            runs.append([])
        if bare != word:
            runs.append([])
    kept = [" ".join(run) for run in runs if 0 < len(run) <= LONGEST]
    return [name for name in kept if name.lower() not in lower and len(name) > 2]


@torch.no_grad()
def listed_names(
    model: Model, subjects: Mapping[str, Sequence[str]], seed: int
) -> dict[str, list[str]]:
    """Names that the model goes on with in a list that a question's edited subjects begin: others
    of their kind.
    """
    rng, begun = random.Random(seed), list[tuple[str, tuple[int, ...]]]()
    count = LISTS if len(subjects) <= LISTED else FEW_LISTS
    for question, own in subjects.items():
        names = list(dict.fromkeys(own))
        drawn = [rng.sample(names, min(4, len(names))) for _ in range(count)]
        begun += [(question, model.tokenize(f"{', '.join(some)},").ids) for some in drawn]
    counts = {question: Counter[str]() for question in subjects}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = continue_all(model, [ids for _, ids in begun], LIST_TOKENS, sample=True)
    for (question, _), row in zip(begun, made, strict=True):
        counts[question].update(_names_of(model, row.ids))
    return {question: [name for name, _ in own.most_common()] for question, own in counts.items()}


def _names_of(model: Model, row: Sequence[int]) -> list[str]:
    """The names in a list's continuation; the last is cut off."""
    parts = str(model.tokenizer.decode(row, skip_special_tokens=True)).split(",")[:-1]
    names = (part.strip() for part in parts)
    return [name for name in names if NAME.fullmatch(name) and len(name.split()) <= LONGEST]
