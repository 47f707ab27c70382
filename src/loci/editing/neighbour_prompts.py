"""Prompts about others that are asked before and after an edit, and texts of the model itself."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch

from loci.errors import ModelError
from loci.facts import Fact, known_facts
from loci.facts.fact import BLANK
from loci.model import Model
from loci.text import own_texts

TEXTS, LENGTH = 24, 16
"""Texts of the model's own, and the tokens of each."""

LOGITS = 2**27
"""Most logits at a time: 512 MiB in float32."""

_sampled: WeakKeyDictionary[Model, tuple[tuple[str, int], "_OwnTexts"]] = WeakKeyDictionary()
"""A model's own texts, by its fingerprint and the seed."""


class _OwnTexts(NamedTuple):
    """Tokens of texts that a model samples itself, and the likeliest next token at every position
    of each.
    """

    texts: list[tuple[int, ...]]
    likeliest: list[torch.Tensor]


def neighbour_prompts(
    model: Model, fact: Fact, facts: Sequence[Fact]
) -> tuple[list[tuple[str, str]], str]:
    """Whole prompts about other subjects for one fact, each with the answer that is known ("" for
    none), and where they come from.
    """
    if fact.neighbours:
        return [(prompt, "") for prompt in fact.neighbours], "the facts' neighbours"
    relation = known_relation(fact)
    if relation is not None:
        as_asked = _templates().get(fact.prompt) == relation
        others = [other for other in known_facts().of(relation) if other.subject != fact.subject]
        known = [
            (_filled(fact, other.subject) if as_asked else other.text, other.answer)
            for other in others
        ]
        return known, "known subjects"
    subjects = dict.fromkeys(other.subject for other in facts if other.subject != fact.subject)
    return [(_filled(fact, subject), "") for subject in subjects], "the facts' other subjects"


def _filled(fact: Fact, subject: str) -> str:
    return fact.prompt.replace(BLANK, subject, 1)


def known_relation(fact: Fact) -> str | None:
    """The known relation that a fact is of: by its prompt, its name, or what is known of the
    subject; None where nothing tells.
    """
    named = _templates().get(fact.prompt)
    if named is not None:
        return named
    about = known_facts().about(fact.subject)
    same = [
        known.relation
        for known in about
        if known.relation == fact.relation or known.answer == fact.answer
    ]
    return same[0] if same else None


@cache
def _templates() -> dict[str, str]:
    """The known relation of each template."""
    facts = [fact for group in known_facts().relations.values() for fact in group]
    return {
        t: fact.relation
        for fact in facts
        for t in (fact.prompt, *fact.paraphrases, *fact.held_out)
        if fact.relation
    }


def own_sentences(model: Model, seed: int) -> _OwnTexts:
    """Texts of the model's own, kept for its next edit; none for a model without a beginning to
    sample from.
    """
    key = (model.fingerprint, seed)
    found = _sampled.get(model)
    if found is None or found[0] != key:
        texts: list[str] = []
        with suppress(ModelError):
            texts = [
                text for text in own_texts(model, TEXTS, length=LENGTH, seed=seed) if text.strip()
            ]
        tokens = [model.tokenize(text).ids for text in texts]
        found = _sampled[model] = (key, _OwnTexts(tokens, likeliest_tokens(model, tokens)))
    return found[1]


@torch.no_grad()
def likeliest_tokens(model: Model, texts: Sequence[tuple[int, ...]]) -> list[torch.Tensor]:
    """The likeliest next token at every position of each text; padding stands behind it, where
    nothing attends to it.
    """
    found: list[torch.Tensor] = []
    rows = max(1, LOGITS // (model.d_vocab * max(map(len, texts), default=1)))
    for start in range(0, len(texts), rows):
        some = texts[start : start + rows]
        best = model(model.padded(some)[0]).argmax(-1).cpu()
        found += [row[: len(text)] for row, text in zip(best, some, strict=True)]
    return found
