"""Logits of what is read, and of nothing else: a row of them is as wide as the vocabulary, and a
batch has thousands of positions.

    streams = last_streams(model, ids)               # [row, position, d_model], unnormed
    for some, logits in unembedded(model, streams):  # a few rows at a time, within `BYTES`

At a vocabulary of 262,144 the logits of 8,192 tokens are 8.6 GB; those of the positions where an
answer is due are a few rows.
"""

from collections.abc import Iterator
from contextlib import suppress

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.errors import ModelError
from loci.model.accessors import FIRST
from loci.model.hooks import HookSite, StopForward, attached
from loci.model.rounding import broken
from loci.model.running import RunningModel
from loci.model.tokenised import Ids, Logits, Mask


def last_streams(
    model: RunningModel, ids: Ids, mask: Mask | None = None
) -> Float[Tensor, "row position d_model"]:
    """The residual stream as the final norm finds it. Cost: one run, without the unembedding."""
    streams: list[Tensor] = []

    def stop(stream: Tensor) -> None:
        streams.append(stream)
        raise StopForward

    with (
        attached([(HookSite(model.module("final_norm"), "in", FIRST), stop)]),
        suppress(StopForward),
    ):
        model(ids, mask)
    return streams[0]


def unembedded(
    model: RunningModel, streams: Float[Tensor, "row d_model"]
) -> Iterator[tuple[slice, Float[Tensor, "some d_vocab"]]]:
    """Logits in float32, a few rows at a time. Raises `ModelError` where they are not finite."""
    for start in range(0, len(streams), model.rows_at_once):
        some = slice(start, start + model.rows_at_once)
        yield some, finite(model.unembed(streams[some]).float(), model)


def likeliest(model: RunningModel, ids: Ids) -> Int[Tensor, "row position"]:
    """The likeliest next token at every position."""
    streams = last_streams(model, ids)
    best = [logits.argmax(-1) for _, logits in unembedded(model, streams.flatten(0, 1))]
    return torch.cat(best).view(streams.shape[:2])


def finite(logits: Logits, model: RunningModel) -> Logits:
    """The logits, or a `ModelError` where they hold NaN or infinity: nothing that is computed from
    those means anything.
    """
    if (
        not logits.sum().isfinite() and not logits.isfinite().all()
    ):  # the sum is one pass without a copy, and NaN and infinity stay in it
        raise ModelError(f"{model.name!r} gives logits that are not finite: {broken(model)}")
    return logits
