"""One pass over text, many accumulators.

    survey(model, texts, {"mlp_act.3": [Moments(), TopTriggers()]}, checkpoint="pass.safetensors")

Texts are streamed: a page of them is tokenised at a time, cut into windows that fit the context,
and run in batches of equal length, up to the last point that is asked for; what stands before a
text (BOS) is left out, since every text has the same there. Nothing of a batch is kept but what the
accumulators make of it, so memory does not grow with the text. Cost: one partial forward and the
updates.

With a checkpoint the state is written every so many pages, and a pass that was stopped goes on from
there to the same result. Shards of a text, with `first` the number of their first text, merge to
the same result as one pass (`merge`).
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model, by_length, short_attention
from loci.model.tokens import Tokens
from loci.progress import Progress, silent
from loci.survey.accumulators import Moments, Rows
from loci.survey.layer_major import by_layer, visit_by_layer
from loci.survey.pass_checkpoint import PassCheckpoint, Surveyed, TextDigest
from loci.survey.states import Gathering
from loci.text import sample_text

T = TypeVar("T")
PAGE = 8192
"""Texts that are tokenised and sorted by length at a time, or fewer, where they are long:"""
CHARACTERS = 2**20
WINDOW = 512


class Window(NamedTuple):
    """A piece of a text that fits the context, behind what stands before a text."""

    text: int
    start: int
    """The text's token at its first position behind that."""
    ids: tuple[int, ...]
    tokens: Tokens
    """Of the whole text."""
    before: int
    """How many tokens stand before the text."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The text's tokens as they stand there."""
        return self.tokens.labels[self.start : self.start + len(self.ids) - self.before]


def survey(
    model: Model,
    texts: Iterable[str],
    gathering: Gathering,
    *,
    budget: int = 4096,
    first: int = 0,
    limit: int | None = None,
    checkpoint: str | Path | None = None,
    every: int = 2,
    digest: TextDigest | None = None,
    progress: Progress = silent,
) -> Surveyed:
    """Feed the accumulators of each point with the activations of all texts, or of the first
    `limit` tokens' worth of pages.

    Texts are numbered from `first`, empty ones too. Batches hold at most `budget` tokens. `digest`
    takes up the texts that were read.
    Raises `ModelError` where there is no text, and for a checkpoint of another model, another text,
    another limit or other accumulators.
    """
    saved = PassCheckpoint(checkpoint, model, gathering, first, limit)
    digest = digest or TextDigest()
    source = iter(texts)
    seen = saved.restore(source, digest)
    if seen.tokens and limit is not None and seen.tokens >= limit:
        return seen
    stream = enumerate(source, first + seen.texts)
    total = len(texts) if isinstance(texts, Sequence) else 0
    coming = _ahead((page, windows(model, page)) for page in pages(stream))
    for number, (page, cut) in enumerate(coming, start=1):
        tokens = run_windows(model, cut, gathering, budget)
        for _, text in page:
            digest.update(text)
        seen = Surveyed(seen.texts + len(page), seen.tokens + tokens)
        progress(len(page), max(total, seen.texts))
        if number % every == 0:
            saved.write(seen, digest)
        if limit is not None and seen.tokens >= limit:
            break
    if not seen.tokens:
        raise ModelError("there is no text to survey")
    saved.write(seen, digest)
    return seen


def text_means(
    model: Model, *points: str, tokens: int = 4000
) -> dict[str, Float[Tensor, " width"]]:
    """Mean of each point over the embedded text: what stands in the place of a part that is taken
    away.
    """
    if not points:
        return {}
    moments = {point: [Moments()] for point in points}
    survey(model, sample_text(model, tokens), moments)
    return {point: gathered.mean.float() for point, [gathered] in moments.items()}


def merge(one: Gathering, other: Gathering) -> None:
    """Add what another pass, over other texts, has gathered."""
    for point, accumulators in one.items():
        for mine, theirs in zip(accumulators, other[point], strict=True):
            mine.merge(theirs)


def pages(stream: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """Numbered texts, so many at a time as are tokenised and sorted together."""
    page: list[tuple[int, str]] = []
    length = 0
    for number, text in stream:
        page.append((number, text))
        length += len(text)
        if len(page) == PAGE or length >= CHARACTERS:
            yield page
            page, length = [], 0
    if page:
        yield page


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same, each made in the background while the one before it is in use."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def windows(model: Model, page: Sequence[tuple[int, str]]) -> list[Window]:
    """The tokens of numbered texts in pieces that fit the context; empty texts have none."""
    read = [(number, text) for number, text in page if text.strip()]
    context = model.n_ctx or WINDOW
    windows = []
    for (number, _), tokens in zip(
        read, model.tokenize_all([text for _, text in read]), strict=True
    ):
        before = tokens.ids[: tokens.special]
        step = min(WINDOW, context - len(before))
        for start in range(len(before), len(tokens), step):
            piece = slice(start, start + step)
            windows.append(Window(number, start, before + tokens.ids[piece], tokens, len(before)))
    return windows


def run_windows(model: Model, page: Sequence[Window], gathering: Gathering, budget: int) -> int:
    """One page: the number of its tokens."""
    skip = model.special
    chosen = [
        [page[i] for i in batch]
        for batch in by_length(page, lambda window: len(window.ids), budget)
    ]
    ids = [model.ids([window.ids for window in batch]) for batch in chosen]

    def feed(point: str, number: int, values: Tensor) -> None:
        batch = chosen[number]
        rows = Rows(
            torch.tensor([window.text for window in batch]),
            torch.tensor([window.start for window in batch]),
        )
        values = values[:, skip:].contiguous()
        for accumulator in gathering[point]:
            accumulator.update(values, rows)

    visits = {point: partial(feed, point) for point in gathering}
    if by_layer(model, list(gathering)):
        visit_by_layer(model, ids, visits)
    else:
        for number, batch in enumerate(ids):
            with short_attention(batch.device, batch.shape[1]):
                model.visit(batch, {p: partial(visit, number) for p, visit in visits.items()})
    return sum(len(window.ids) - skip for window in page)
