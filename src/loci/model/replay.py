"""A run that can be continued from any layer and position: the blocks are called again with what
they were called with, but the stream.

    record(ids, past=True)     clean or corrupted run; keys and values are kept
    replay(layer, resid)       the blocks from `layer` on, all positions
    step(layer, resid, start)  one block, the positions from `start` on: those before are as
                               recorded, which is exact in a causal model
    finish(resid, start, last) the last block, at the last positions alone

Masks, rotary embeddings and windows come along with the arguments, whatever the family. Nothing is
remembered between replays.
"""

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from loci.errors import ModelError
from loci.model.hooks import StopForward

if TYPE_CHECKING:
    from loci.model.running import RunningModel

CACHES = ("past_key_values", "layer_past")
"""Names by which families call the argument that holds keys and values of earlier positions."""
QUERIES = {"attention_mask": -2, "position_ids": -1, "position_embeddings": -2}
"""Arguments with an entry for each position that asks, and the dimension in which they have it."""
SHORT = 16
"""Positions up to which attention is cheaper in one piece."""


@dataclass
class KVCache:
    """Keys and values of the positions before those that are run, in the place of a cache;
    afterwards, of all of them.
    """

    keys: Float[Tensor, "row head position d_head"] | None = None
    values: Float[Tensor, "row head position d_head"] | None = None
    only: bool = False
    """Stop the run once keys and values are known."""

    def update(self, keys: Tensor, values: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
        """Join the new keys and values to the earlier ones; attention calls it."""
        self.keys = keys if self.keys is None else torch.cat([self.keys, keys], -2)
        self.values = values if self.values is None else torch.cat([self.values, values], -2)
        if self.only:
            raise StopForward
        return self.keys, self.values

    def before(self, position: int, rows: Sequence[int] | None) -> "KVCache":
        """Those of the positions before one, in chosen rows."""
        if not position:
            return KVCache()
        assert self.keys is not None and self.values is not None
        chosen = slice(None) if rows is None else torch.tensor(rows, device=self.keys.device)
        return KVCache(self.keys[:, :, :position][chosen], self.values[:, :, :position][chosen])


@dataclass(frozen=True)
class Call:
    """The arguments of a block's call: the residual stream, and the rest by name."""

    resid: Float[Tensor, "batch position d_model"]
    rest: dict[str, Any]

    @classmethod
    def of(cls, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Call":
        signature = inspect.signature(block.forward)
        named = dict(signature.bind(*args, **kwargs).arguments)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                named |= named.pop(name, {})
        return cls(named.pop(next(iter(signature.parameters))), named)

    def asked(self, start: int, rows: "ReplayedRows | None") -> dict[str, Any]:
        """The rest, for the positions from `start` on and the masks and positions of the chosen
        rows.
        """
        rest = self.rest if rows is None else rows.of(self.rest)
        if not start:
            return dict(rest)
        cut = {
            name: _from(rest.get(name), start, dim) for name, dim in QUERIES.items() if name in rest
        }
        length = self.resid.shape[1]
        if cut.get("attention_mask") is None and length - start > 1:
            cut["attention_mask"] = torch.ones(
                length - start, length, dtype=torch.bool, device=self.resid.device
            ).tril(start)[None, None]
        return {**rest, **cut}


def _from(value: Any, start: int, dim: int) -> Any:
    """The entries from a position on."""
    if isinstance(value, tuple):
        return tuple(_from(item, start, dim) for item in value)
    return (
        value.narrow(dim, start, value.shape[dim] - start) if isinstance(value, Tensor) else value
    )


@dataclass(frozen=True)
class ReplayedRows:
    """Which of a recording's rows each replayed row continues."""

    recorded: int
    chosen: tuple[int, ...]
    n_heads: int

    def of(self, value: Any) -> Any:
        """Tensors with an entry for each row, or for each head of each row (ALiBi), cut to the
        chosen rows, wherever they stand.
        """
        if (
            isinstance(value, Tensor)
            and value.ndim > 1
            and len(value) == self.recorded * self.n_heads
        ):
            return self._cut(value.unflatten(0, (self.recorded, self.n_heads))).flatten(0, 1)
        if isinstance(value, Tensor):
            return self._cut(value) if value.ndim > 1 and len(value) == self.recorded else value
        if isinstance(value, dict):
            return {key: self.of(item) for key, item in value.items()}
        return tuple(self.of(item) for item in value) if isinstance(value, tuple) else value

    def _cut(self, value: Tensor) -> Tensor:
        first = self.chosen[0]
        if self.chosen == (first,) * len(self.chosen):
            return value[first : first + 1].expand(len(self.chosen), *value.shape[1:])
        return value[list(self.chosen)]


@dataclass(frozen=True)
class Recording:
    """A run that can be continued from any layer with another residual stream, in another batch
    size, with gradients.
    """

    model: "RunningModel"
    calls: tuple[Call, ...]
    logits: Float[Tensor, "batch position d_vocab"]
    padded: bool = False
    pasts: tuple[KVCache, ...] = field(default=(), repr=False)
    """Keys and values by layer, where they were to be kept."""

    def resid_pre(self, layer: int) -> Float[Tensor, "batch position d_model"]:
        return self.calls[layer].resid

    def replay(
        self,
        layer: int,
        resid: Float[Tensor, "batch position d_model"],
        last: int | None = None,
        rows: Sequence[int] | None = None,
    ) -> Float[Tensor, "batch position d_vocab"]:
        """Logits when block `layer` finds `resid`; only the `last` positions are unembedded where
        that is said.

        Batch size may differ from the recording's: unpadded rows are all alike, and of a padded
        recording `rows` says which of its rows each row of `resid` continues. Hooks of `watch` and
        `patched` act as in a full run.
        Cost: the blocks from `layer` on, and the unembedding of `last` positions. Raises
        `ModelError`.
        """
        if not 0 <= layer <= len(self.calls):
            raise ModelError(
                f"there is no layer {layer} to replay from: expected 0 … {len(self.calls)}, the"
                " last for unembedding alone"
            )
        self.model.hf.eval()
        for current in range(layer, len(self.calls)):
            resid = self.step(current, resid, rows=rows)
        return self.model.unembed(resid if last is None else resid[:, -last:])

    def step(
        self,
        layer: int,
        resid: Float[Tensor, "batch position d_model"],
        start: int = 0,
        rows: Sequence[int] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The output of block `layer` for the input `resid` at the positions from `start` on, with
        those before as recorded.

        Hooks see the positions from `start` on. `rows` says which recorded row each row continues,
        where they differ.
        Raises `ModelError` for a start in a recording that is padded or has kept no keys and
        values.
        """
        return self._call(
            layer, resid, start, rows, self._past(layer, start, rows) if start else None
        )

    def finish(
        self,
        resid: Float[Tensor, "batch position d_model"],
        start: int,
        last: int,
        rows: Sequence[int] | None = None,
    ) -> Float[Tensor, "batch last d_model"]:
        """The last block's output at the `last` positions for the input `resid` from `start` on;
        elsewhere it only makes keys and values.
        """
        layer, skipped = len(self.calls) - 1, resid.shape[1] - last
        past = self._past(layer, start, rows)
        if skipped:
            past.only = True
            with suppress(StopForward):
                self._call(layer, resid, start, rows, past)
            past = past.before(start + skipped, None)
        return self._call(layer, resid[:, skipped:], start + skipped, rows, past)

    def _call(
        self,
        layer: int,
        resid: Tensor,
        start: int,
        rows: Sequence[int] | None,
        past: KVCache | None,
    ) -> Tensor:
        block, call = self.model.blocks[layer], self.calls[layer]
        rest = call.asked(start, self._rows(len(resid), rows))
        if past is None:
            out = block(resid, **rest)
        else:
            with short_attention(resid.device, call.resid.shape[1]):
                out = block(resid, **{**rest, cache_name(type(block).forward): past})
        output: Tensor = out[0] if isinstance(out, tuple) else out
        return output

    def _past(self, layer: int, start: int, rows: Sequence[int] | None) -> KVCache:
        if not self.pasts:
            raise ModelError(
                "only a run recorded with past=True can be continued from a later position"
            )
        return self.pasts[layer].before(start, rows)

    def _rows(self, count: int, rows: Sequence[int] | None) -> ReplayedRows | None:
        """Which recorded row each replayed row continues; None where they are the same rows."""
        recorded = len(self.calls[0].resid)
        if rows is None and count == recorded:
            return None
        if rows is None and self.padded:
            raise ModelError(
                f"{count} rows cannot continue {recorded} padded ones: say which, as in rows=[0,"
                " 0, 1]"
            )
        chosen = (0,) * count if rows is None else tuple(rows)
        if len(chosen) != count or not all(0 <= row < recorded for row in chosen):
            raise ModelError(
                f"rows must name one of 0 … {recorded - 1} for each of the {count} rows"
            )
        return ReplayedRows(recorded, chosen if self.padded else (0,) * count, self.model.n_heads)


def short_attention(device: torch.device, positions: int) -> AbstractContextManager[None]:
    """Attention as plain products where sequences are short: there, on a CPU, the blockwise kernel
    takes two to four times as long.
    """
    plain = device.type == "cpu" and positions <= SHORT
    manager: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()
    return manager


@lru_cache
def cache_name(forward: Callable[..., Any]) -> str:
    """The name of the cache among the arguments of a block's forward. Raises `ModelError` where it
    takes none.
    """
    known = inspect.signature(forward).parameters
    cache = next((name for name in CACHES if name in known), None)
    if cache is None:
        raise ModelError(
            f"{forward.__qualname__} takes no cache: it cannot be continued from a later position"
        )
    return cache
