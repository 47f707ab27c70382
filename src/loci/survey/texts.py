"""Text where the user has none: the embedded model's, for any model, always in the same order."""

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
    """As many sentences of the embedded text as hold `tokens` tokens of this model; always the same ones, in a shuffled order."""
    chosen: list[str] = []
    count = 0
    for sentence in _sentences():
        if count >= tokens:
            break
        chosen.append(sentence)
        count += len(model.tokenize(sentence))
    return chosen


def prefixes(model: Model, count: int) -> list[str]:
    """`count` sentences of the embedded text, all of one length in tokens, so that what follows them makes one batch."""
    by_length: dict[int, list[str]] = {}
    for sentence in _sentences()[:2000]:
        by_length.setdefault(len(model.tokenize(sentence)), []).append(sentence)
    return max(by_length.values(), key=len)[:count]
