"""Accessors: how a named tensor is read from what a module takes or returns, and how another is put
in its place.

put(whole, see(whole)) = whole
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Accessor:
    """A pair of functions (a lens, in functional programming): `see` reads the part, `put` gives
    the whole with another part.
    """

    see: Callable[[Any], Tensor]
    put: Callable[[Any, Tensor], Any]

    def then(self, inner: "Accessor") -> "Accessor":
        """The inner accessor, applied to what this one sees."""
        return Accessor(
            lambda whole: inner.see(self.see(whole)),
            lambda whole, new: self.put(whole, inner.put(self.see(whole), new)),
        )

    def through(self, edit: Callable[[Tensor], Tensor | None], whole: Any) -> Any:
        """The whole with what is seen edited, or None where the edit changes nothing."""
        seen = self.see(whole)
        new = edit(seen)
        return None if new is None or new is seen else self.put(whole, new)


FIRST = Accessor(
    lambda out: out[0] if isinstance(out, tuple) else out,
    lambda out, new: (new, *out[1:]) if isinstance(out, tuple) else new,
)
"""Modules return a tensor, or a tuple whose first item it is."""

COPY = Accessor(lambda x: x.clone(), lambda _, new: new)


def heads(count: int) -> Accessor:
    """[…, heads · d_head] as [… heads d_head]."""
    return Accessor(lambda x: x.unflatten(-1, (count, -1)), lambda _, new: new.flatten(-2))


def flat(rows: Callable[[], int]) -> Accessor:
    """[row · position, width] as [row, position, width]."""
    return Accessor(lambda x: x.unflatten(0, (rows(), -1)), lambda _, new: new.flatten(0, 1))


def half(which: int) -> Accessor:
    """One half of the last axis: of a fused gate and up projection."""

    def put(whole: Tensor, new: Tensor) -> Tensor:
        halves = list(whole.chunk(2, -1))
        halves[which] = new
        return torch.cat(halves, -1)

    return Accessor(lambda x: x.chunk(2, -1)[which], put)


@dataclass(frozen=True)
class Fused:
    """Queries, keys and values in one axis of (n_heads + 2 · n_kv_heads) · d_head entries."""

    n_heads: int
    n_kv_heads: int
    grouped: bool

    def take(self, name: str, x: Tensor, dim: int) -> Tensor:
        """[…, fused, …] → […, heads, d_head, …] of "q", "k" or "v"; a view wherever one is
        possible.
        """
        dim %= x.ndim
        if not self.grouped:
            sizes = [self.n_heads, self.n_kv_heads, self.n_kv_heads]
            return _third(x.unflatten(dim, (sum(sizes), -1)), sizes, dim, name)
        group = self.n_heads // self.n_kv_heads
        return _third(
            x.unflatten(dim, (self.n_kv_heads, group + 2, -1)), [group, 1, 1], dim + 1, name
        ).flatten(dim, dim + 1)

    def accessor(self, name: str) -> Accessor:
        """As `take` on the last axis."""

        def put(whole: Tensor, new: Tensor) -> Tensor:
            index = torch.arange(whole.shape[-1], device=whole.device)
            return whole.index_copy(-1, self.take(name, index, 0).flatten(), new.flatten(-2))

        return Accessor(lambda x: self.take(name, x, -1), put)


def _third(x: Tensor, sizes: list[int], dim: int, name: str) -> Tensor:
    parts: tuple[Tensor, ...] = torch.split(x, sizes, dim)
    return parts["qkv".index(name)]


def routing() -> Accessor:
    """A router's (logits, weights, experts) as one weight for each expert, 0 for those that are not
    asked.

    What is put keeps its largest weights, as many as experts are asked.
    """

    def see(out: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        logits, weights, chosen = out
        return torch.zeros_like(logits, dtype=weights.dtype).scatter(-1, chosen, weights)

    def put(out: tuple[Tensor, Tensor, Tensor], new: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weights, chosen = new.topk(out[2].shape[-1], dim=-1)
        return out[0], weights, chosen

    return Accessor(see, put)
