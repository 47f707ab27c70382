"""Texts in front of a prompt, so that a key or a target does not hang on the prompt standing alone."""

import random
from functools import cache

from loci.facts import corpus
from loci.model import Model


@cache
def _sentences() -> tuple[str, ...]:
    """The embedded text in one seeded order."""
    sentences = corpus()
    random.Random(0).shuffle(sentences)
    return tuple(sentences)


def sample_text(model: Model, tokens: int) -> list[str]:
    """As many sentences of the embedded text as hold `tokens` tokens of this model; always the same ones."""
    chosen: list[str] = []
    count = 0
    for sentence in _sentences():
        if count >= tokens:
            break
        chosen.append(sentence)
        count += len(model.tokenize(sentence))
    return chosen


def prefixes(model: Model, count: int, seed: int = 0) -> list[str]:
    """`count` sentences of the embedded text, all of one length in tokens, so that what follows them makes one batch."""
    pool = random.Random(seed).sample(_sentences(), min(2000, len(_sentences())))
    by_length: dict[int, list[str]] = {}
    for sentence in pool:
        by_length.setdefault(len(model.tokenize(sentence)), []).append(sentence)
    return max(by_length.values(), key=len)[:count]
