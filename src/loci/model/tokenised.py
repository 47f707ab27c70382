"""Texts as a model's tokens: one at a time, in batches of equal length, or padded under a mask."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.model.tokens import Tokens, tokenize, tokenize_all
from loci.model.weights import Weights

T = TypeVar("T")
ENOUGH, PADDING = 128, 1.2
BYTES = 2**27
"""Of logits that are made at once."""
Logits = Float[Tensor, "batch position d_vocab"]
Ids = Int[Tensor, "batch position"]
Mask = Int[Tensor, "batch position"]


class TokenisedModel(Weights):
    """A model with its tokenizer."""

    bos: bool | None
    join: str | None
    leads: dict[int, str | None]

    def tokenize(self, text: str) -> Tokens:
        """Tokens with their characters, behind one BOS. Raises `ModelError` if empty or longer than
        the context.
        """
        return tokenize(self.tokenizer, text, self.n_ctx, self.bos, self.rows)

    def tokenize_all(self, texts: Sequence[str], limit: int | None = None) -> list[Tokens]:
        """The same of many texts at once, of at most `limit` tokens each, or of any number."""
        return tokenize_all(self.tokenizer, texts, limit, self.bos, self.rows)

    @cached_property
    def rows(self) -> int:
        """How many of the tokenizer's tokens the model knows."""
        return min(self._shape("embed")[0], self.d_vocab)

    @property
    def pad(self) -> int:
        """A token to pad with; under a mask it makes no difference which."""
        token = self.tokenizer.pad_token_id
        return token if token is not None and token < self.rows else 0

    @property
    def with_bos(self) -> bool:
        """Whether a BOS stands before every text: recorded with every result."""
        first = self.tokenizer.bos_token_id
        return first is not None and self.tokenize("a").ids[0] == first

    @property
    def special(self) -> int:
        """How many tokens stand before every text."""
        return self.tokenize("a").special

    def ids(self, tokens: Sequence[Sequence[int]]) -> Ids:
        """A batch of equally long token lists on the model's device."""
        return torch.tensor(tokens, dtype=torch.long, device=self.device)

    def padded(
        self, tokens: Sequence[Sequence[int]], side: Literal["left", "right"] = "right"
    ) -> tuple[Ids, Mask]:
        """A batch of token lists of any length, and its mask: 1 where a token is, 0 where padding
        is.
        """
        width = max(map(len, tokens))
        pad = self.pad

        def fill(row: Sequence[int], value: int) -> list[int]:
            rest = [value] * (width - len(row))
            return [*rest, *row] if side == "left" else [*row, *rest]

        mask = [fill([1] * len(row), 0) for row in tokens]
        return self.ids([fill(row, pad) for row in tokens]), self.ids(mask)

    @property
    def rows_at_once(self) -> int:
        """How many rows of logits are made at once: within `BYTES` in float32."""
        return max(1, BYTES // (4 * self.d_vocab))

    @property
    def tokens_at_once(self) -> int:
        """How many tokens are run at once: at most 8,192, and what one block makes of them within 8
        · `BYTES` in float32.
        """
        block = 2 * self.d_model + (3 * self.d_mlp if self.n_layers else 0)
        return max(128, min(8192, 2 * BYTES // block))


def by_length(
    items: Sequence[T], length: Callable[[T], int], budget: int, most: int | None = None
) -> Iterator[list[int]]:
    """Batches of indices of equally long items, at most `budget` tokens each (one item at least),
    and at most `most` items.
    """
    groups: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        groups.setdefault(length(item), []).append(index)
    for size, indices in sorted(groups.items()):
        step = min(max(1, budget // max(1, size)), most or len(indices))
        yield from (indices[i : i + step] for i in range(0, len(indices), step))


def by_near_length(
    items: Sequence[T],
    length: Callable[[T], int],
    budget: int,
    most: int | None = None,
    spread: int | None = None,
    reads: Callable[[T], int] = lambda item: 1,
) -> Iterator[list[int]]:
    """Batches of indices of items of about one length, the shortest first: padded on the right they
    have at most `budget` tokens (one item at least), and little more than their own: a batch of
    `ENOUGH` ends where padding would make it `PADDING` times as long. At most `most` rows are read,
    `reads` of an item; lengths differ by no more than `spread`.

    What is read in front of the padding does not attend to it.
    """
    batch: list[int] = []
    rows = tokens = 0
    for index in sorted(range(len(items)), key=lambda index: length(items[index])):
        own, read = length(items[index]), reads(items[index])
        padded = (len(batch) + 1) * own
        wasteful = tokens >= ENOUGH and padded > PADDING * (tokens + own)
        full = padded > budget or (most is not None and rows + read > most)
        far = spread is not None and bool(batch) and own - length(items[batch[0]]) > spread
        if batch and (wasteful or full or far):
            yield batch
            batch, rows, tokens = [], 0, 0
        batch.append(index)
        rows, tokens = rows + read, tokens + own
    if batch:
        yield batch
