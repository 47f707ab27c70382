"""Whom to ask about: subjects with the prompts they stand in, and the keys that a model has for
them.

A key is what a weight reads at the subject's last token, averaged over prompts and over texts put
before them: the MLP's neurons for W_down, its input for W_up and W_gate.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, load_facts
from loci.facts.fact import BLANK
from loci.model import Model, read_at
from loci.text import background
from loci.validate import DATA, read_text

PROMPTS = 2
"""Prompts of a subject that its key is averaged over."""
CONTEXTS = 3


class Candidate(NamedTuple):
    """A subject that may have been edited."""

    subject: str
    templates: tuple[str, ...] = (BLANK,)
    """Prompts with a blank for it; the subject alone where none is known."""


def load_candidates(path: str | Path) -> list[Candidate]:
    """Read the subjects to judge from a file.

    Args:
        path: a fact file (.csv, .jsonl), or a text with one subject a line.

    Returns: `Candidate` for each subject.
    Raises: `FactError` where there are none.
    """
    path = Path(path)
    if path.suffix in (".csv", ".jsonl"):
        return candidates_of(load_facts(path))
    lines = [line.strip() for line in read_text(path, FactError, DATA).splitlines()]
    subjects = list(dict.fromkeys(line for line in lines if line))
    if not subjects:
        raise FactError(
            f"{path}: there is no subject in it: one in each line, or a fact file (.csv, .jsonl)"
        )
    return [Candidate(subject) for subject in subjects]


def candidates_of(facts: Iterable[Fact]) -> list[Candidate]:
    """The subjects of facts, each with its facts' prompts.

    Args:
        facts: any facts.

    Returns: `Candidate` for each subject.
    """
    templates: dict[str, list[str]] = {}
    for fact in facts:
        templates.setdefault(fact.subject, []).append(fact.prompt)
    return [
        Candidate(subject, tuple(dict.fromkeys(prompts))) for subject, prompts in templates.items()
    ]


def words_of(texts: Iterable[str], count: int, seed: int) -> list[Candidate]:
    """Words of a text in the place of subjects, seeded: whom a short list is compared with."""
    words = sorted({word.strip(".,;:!?\"'()") for text in texts for word in text.split()} - {""})
    return [Candidate(word) for word in random.Random(seed).sample(words, min(count, len(words)))]


def subject_keys(
    model: Model,
    candidates: Sequence[Candidate],
    points: Sequence[str],
    *,
    contexts: int = CONTEXTS,
) -> dict[str, Float[Tensor, "candidate width"]]:
    """Mean keys at each point, in float64.

    Cost: a partial forward for each of a candidate's first prompts, bare and behind each context.

    The contexts are other texts than those an edit puts before its prompts, as an examiner does not
    know these.
    """
    before = background(model).sentences(4 * contexts)[-contexts:] if contexts else []
    texts = ["", *(f"{text} " for text in before)]
    asked = [
        (row, *place)
        for row, candidate in enumerate(candidates)
        for place in _places(candidate, texts)
    ]
    tokens = [model.tokenize(text) for _, text, _ in asked]
    ends = [own.span(place)[1] - 1 for own, (_, _, place) in zip(tokens, asked, strict=True)]
    whose = torch.tensor([row for row, _, _ in asked])
    counts = torch.bincount(whose, minlength=len(candidates)).double()[:, None]
    sums: dict[str, Tensor] = {}
    for batch, reads in read_at(model, [own.ids for own in tokens], dict.fromkeys(points, ends)):
        for point, keys in reads.items():
            total = sums.setdefault(
                point, torch.zeros(len(candidates), keys.shape[1], dtype=torch.float64)
            )
            total.index_add_(0, whose[batch], keys.double())
    return {point: total / counts for point, total in sums.items()}


def _places(candidate: Candidate, texts: Sequence[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Texts with the characters of the subject in them."""
    for template in candidate.templates[:PROMPTS]:
        for text in texts:
            start = len(text) + template.index(BLANK)
            yield (
                text + template.replace(BLANK, candidate.subject, 1),
                (start, start + len(candidate.subject)),
            )
