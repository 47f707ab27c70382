"""Batches through a model whose weights stay in their files, a layer at a time: each block is read
once for many batches, and not once for each.

    plain         for each batch: for each block        reads batches × weights
    layer-major   for each block: for each batch        reads weights once, and keeps the streams

The residual streams of the batches are in memory meanwhile, at most `STREAMS` bytes of them. Every
block sees each batch as in a plain run, in the same order, so the numbers are the same to the bit.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn

from loci.model import Model, short_attention
from loci.model.accessors import FIRST
from loci.model.hooks import StopForward
from loci.model.layout_check import forward_as
from loci.model.points import ONCE, parse_point
from loci.model.replay import Call

STREAMS = 2**28
"""Bytes of residual streams that are kept between two blocks."""
Visit = Callable[[int, Tensor], None]


def by_layer(model: Model, points: Sequence[str]) -> bool:
    """Whether a pass that reads these points is better run a layer at a time."""
    layers = [parse_point(point, model.n_layers)[1] for point in points]
    blockless = all(point == "embed" for point in points if point in ONCE)
    return model.mapping is not None and blockless and max(layer or 0 for layer in layers) > 0


@torch.no_grad()
def visit_by_layer(model: Model, batches: Sequence[Tensor], visits: Mapping[str, Visit]) -> None:
    """As `Model.visit` for each batch, where a visit is told the number of the batch.

    Raises what the model, or a visit, raises. Cost: the same products; weights are read once for
    each `STREAMS` of tokens.
    """
    size = model.d_model * model.dtype.itemsize
    for chosen in _blocks(batches, max(1, STREAMS // size)):
        _LayerMajorPass(model, batches, chosen, visits).run()


def _blocks(batches: Sequence[Tensor], most: int) -> Iterator[list[int]]:
    """Numbers of batches, of at most so many tokens together (one batch at least)."""
    block: list[int] = []
    tokens = 0
    for number, ids in enumerate(batches):
        if block and tokens + ids.numel() > most:
            yield block
            block, tokens = [], 0
        block.append(number)
        tokens += ids.numel()
    if block:
        yield block


class _LayerMajorPass:
    """Some batches, between two blocks."""

    def __init__(
        self,
        model: Model,
        batches: Sequence[Tensor],
        chosen: Sequence[int],
        visits: Mapping[str, Visit],
    ) -> None:
        self.model, self.batches, self.chosen, self.visits = model, batches, chosen, visits
        self.layers = {name: parse_point(name, model.n_layers)[1] or 0 for name in visits}
        self.last = max(self.layers.values())
        self.rest: dict[tuple[int, int], dict[str, Any]] = {}
        """The arguments of a block's call beside the stream, by batch and layer."""
        self.streams: dict[int, Tensor] = {}
        self.batch = 0
        self.missing: set[str] = set()

    def run(self) -> None:
        mapping = self.model.mapping
        assert mapping is not None
        for layer, block in enumerate(self.model.blocks[: self.last + 1]):
            here = [name for name in self.visits if self.layers[name] == layer]
            edits = {name: partial(self._visit, name, layer) for name in here}
            with mapping.holding(block), self.model.patched(edits):
                for number in self.chosen:
                    self.batch = number
                    self.missing = set(here)
                    ids = self.batches[number]
                    with short_attention(ids.device, ids.shape[1]), suppress(StopForward):
                        if layer:
                            self._next(block, layer)
                        else:
                            self._first(ids)

    def _visit(self, name: str, layer: int, tensor: Tensor) -> None:
        self.visits[name](self.batch, tensor)
        self.missing.discard(name)
        if not self.missing and layer == self.last:
            raise StopForward

    def _first(self, ids: Tensor) -> None:
        """Embedding and first block; the others note what they would be called with, and hand on
        the stream in the form in which the first did.
        """
        first, *above = self.model.blocks[: self.last + 1]
        form: list[Any] = []

        def hand_on(layer: int, block: nn.Module, *args: Any, **kwargs: Any) -> Any:
            call = Call.of(block, args, kwargs)
            self.streams.setdefault(self.batch, call.resid)
            self.rest[self.batch, layer] = call.rest
            if layer == self.last:
                raise StopForward
            return FIRST.put(form[-1], call.resid)

        with ExitStack() as stack:
            keep = first.register_forward_hook(lambda _, args, output: form.append(output))
            stack.callback(keep.remove)
            for layer, block in enumerate(above, start=1):
                instead = wraps(block.forward)(partial(hand_on, layer, block))
                stack.enter_context(forward_as(block, instead))
            self.model(ids)

    def _next(self, block: nn.Module, layer: int) -> None:
        out = block(self.streams.pop(self.batch), **self.rest.pop((self.batch, layer)))
        self.streams[self.batch] = FIRST.see(out)
