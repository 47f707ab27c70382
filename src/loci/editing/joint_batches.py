"""Prompts of any length, run together with little padding."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from loci.editing.prompts import TrainingPrompt
from loci.model import Model, by_near_length

BUDGET = 4096
"""Tokens run at a time."""

TEXT = -2
"""The number in the place of a fact's, for prompts of background text."""

T = TypeVar("T")


def padded_batches(
    items: Sequence[T], prompt_of: Callable[[T], TrainingPrompt], positions: int
) -> Iterator[list[T]]:
    """The items by length, padded to at most `BUDGET` tokens and little more than they have, and
    read at no more than `positions` positions, for which there is room for logits.
    """
    for batch in by_near_length(
        items,
        lambda item: len(prompt_of(item).ids),
        BUDGET,
        positions,
        reads=lambda item: len(prompt_of(item).positions),
    ):
        yield [items[i] for i in batch]


def text_prompts(model: Model, texts: Sequence[str], most: int) -> list[TrainingPrompt]:
    """Texts that are read at all positions, cut where the context ends, until there are about
    `most` tokens.
    """
    found, count = list[TrainingPrompt](), 0
    for tokens in model.tokenize_all(texts):
        if count >= most:
            break
        ids = tokens.ids[: model.n_ctx]
        found.append(TrainingPrompt(TEXT, ids, 0, tuple(range(len(ids)))))
        count += len(ids)
    return found
