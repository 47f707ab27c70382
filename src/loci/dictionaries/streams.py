"""One stream of activations for all dictionaries that are trained: batches of shuffled tokens, the
same ones again for the same seed.

Texts are taken in a seeded order and cut into pools that fit the memory. The model runs a pool
once, its tokens are shuffled, and batches are drawn until it is used up; a text that fits one pool
is run once, whatever the number of epochs. Which tokens stand in batch n depends on the texts, the
seed and the pool's size alone, so a run that was stopped goes on with the same batches.
"""

import random
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.activations import PointRows, read_rows, width_of
from loci.errors import DictionaryError
from loci.model import Model
from loci.progress import Progress, silent
from loci.survey import windows

POOL = 2**29
"""Bytes of activations that are held at a time."""
HELD_OUT, HELD_TOKENS = 50, 16_384
"""One text of so many is kept for measuring, up to so many tokens."""
Batch = dict[str, Float[Tensor, "batch width"]]


class ActivationStream:
    """Batches of activations at some points of a model."""

    def __init__(
        self,
        model: Model,
        texts: Sequence[str],
        points: Sequence[str],
        *,
        batch: int = 2048,
        seed: int = 0,
        pool_bytes: int = POOL,
        progress: Progress = silent,
    ) -> None:
        """Cut the texts into pools. Raises `DictionaryError` where they hold fewer tokens than a
        batch and a tenth.
        """
        self.model, self.points, self.batch, self.seed = (
            model,
            tuple(dict.fromkeys(points)),
            batch,
            seed,
        )
        self._progress = progress
        ordered = [text for text in texts if text.strip()]
        if not ordered:
            raise DictionaryError("there is no text to train on: every text is empty")
        random.Random(seed).shuffle(ordered)
        held = max(1, len(ordered) // HELD_OUT)
        counts = self._counts(ordered)
        self.held_out = _up_to(ordered[:held], counts, HELD_TOKENS)
        width = sum(width_of(model, point) for point in self.points)
        self.pools = _pools(ordered[held:], counts[held:], max(batch, pool_bytes // (4 * width)))
        self.tokens = sum(counts[held:])
        self._batches = [sum(counts_of) // batch for _, counts_of in self.pools]
        if not sum(self._batches):
            raise DictionaryError(
                f"the text holds {self.tokens:,} tokens to train on, fewer than a batch of"
                f" {batch:,}: give more text"
            )
        self._kept: tuple[int, PointRows] | None = None

    def _counts(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text behind what stands before it."""
        counts = [0] * len(texts)
        for start in range(0, len(texts), 4096):
            for window in windows(self.model, list(enumerate(texts[start : start + 4096], start))):
                counts[window.text] += len(window.ids) - window.before
        return counts

    def sample(self) -> PointRows:
        """The first pool: what scales and means are taken from."""
        return self._pool(0)

    def recent(self) -> PointRows:
        """The pool that is in memory, whichever it is; the first where none is."""
        return self._pool(0 if self._kept is None else self._kept[0])

    def batches(self, first: int = 0) -> Iterator[Batch]:
        """Batches without end, from number `first` on. Those before it are skipped without running
        their pools.
        """
        number, epoch = 0, 0
        while True:
            for pool, count in enumerate(self._batches):
                if number + count <= first:
                    number += count
                    continue
                rows = self._pool(pool)
                order = torch.randperm(len(rows), generator=_generator(self.seed, epoch, pool))
                for i in range(count):
                    if number >= first:
                        chosen = order[i * self.batch : (i + 1) * self.batch]
                        yield {point: values[chosen] for point, values in rows.values.items()}
                    number += 1
            epoch += 1

    def _pool(self, number: int) -> PointRows:
        if self._kept is None or self._kept[0] != number:
            self._kept = None  # its memory is needed for the next
            texts, _ = self.pools[number]
            self._kept = (
                number,
                read_rows(self.model, texts, self.points, progress=self._progress),
            )
        return self._kept[1]


def _pools(texts: list[str], counts: list[int], most: int) -> list[tuple[list[str], list[int]]]:
    """Consecutive texts, about as many tokens in each pool, at most about `most`."""
    total = sum(counts)
    number = max(1, -(-total // most))
    pools: list[tuple[list[str], list[int]]] = [([], []) for _ in range(number)]
    seen = 0
    for text, count in zip(texts, counts, strict=True):
        pool = pools[min(number - 1, seen * number // max(1, total))]
        pool[0].append(text)
        pool[1].append(count)
        seen += count
    return [pool for pool in pools if pool[0]]


def _up_to(texts: Sequence[str], counts: Sequence[int], tokens: int) -> list[str]:
    chosen, seen = [], 0
    for text, count in zip(texts, counts, strict=False):
        if seen >= tokens:
            break
        chosen.append(text)
        seen += count
    return chosen


def _generator(seed: int, epoch: int, pool: int) -> torch.Generator:
    return torch.Generator().manual_seed(hash((seed, epoch, pool)) & (2**63 - 1))
