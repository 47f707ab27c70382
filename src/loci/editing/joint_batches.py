"""Prompts of any length, run together with little padding."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from loci.editing.prompts import TrainingPrompt
from loci.model import Model

BUDGET = 4096
"""Tokens run at a time."""

ENOUGH, PADDING = 128, 1.2
"""A batch of so many tokens ends where padding would make it so many times as long."""

TEXT = -2
"""The number in the place of a fact's, for prompts of background text."""

T = TypeVar("T")


def padded_batches(
    items: Sequence[T], prompt_of: Callable[[T], TrainingPrompt], positions: int
) -> Iterator[list[T]]:
    """The items by length, padded to at most `BUDGET` tokens and little more than they have, and
    read at no more than `positions` positions, for which there is room for logits.
    """
    batch: list[T] = []
    read = tokens = 0
    for item in sorted(items, key=lambda item: len(prompt_of(item).ids)):
        prompt = prompt_of(item)
        padded = (len(batch) + 1) * len(prompt.ids)
        wasteful = tokens >= ENOUGH and padded > PADDING * (tokens + len(prompt.ids))
        if batch and (wasteful or padded > BUDGET or read + len(prompt.positions) > positions):
            yield batch
            batch, read, tokens = [], 0, 0
        batch.append(item)
        read, tokens = read + len(prompt.positions), tokens + len(prompt.ids)
    if batch:
        yield batch


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
