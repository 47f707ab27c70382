"""A name for the weights themselves: SHA-256 over every parameter's name, shape and values.

Values are hashed as float32, so that a checkpoint in half precision and the same one widened on
loading agree. Tied parameters count once. Cost: one pass over the weights, about a second a
gigabyte.

An edit asks for it many times, and an audit of many edits hundreds of times. Inside a function
marked `hashed_once` a model is hashed again only where torch has counted a write to one of its
weights (`Tensor._version`), and not after a patch that was put on and taken off bit for bit.
Outside such functions every question is a pass over the weights, as `.data` and numpy write
without being counted.
"""

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

Given = ParamSpec("Given")
Got = TypeVar("Got")
Stamp = list[tuple[int, int]]
"""(storage, number of writes) of every parameter."""


def fingerprint(names: Iterable[str], read: Callable[[str], Tensor]) -> str:
    """`sha256:…` of named parameters, read one at a time, in whatever order they are named."""
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = read(name)
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor_bytes(tensor))
    return f"sha256:{digest.hexdigest()}"


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values as float32 (wider ones as they are), row by row."""
    wide = tensor.detach().cpu()
    wide = wide if wide.dtype == torch.float64 else wide.float()
    return wide.contiguous().numpy().tobytes()


class KnownFingerprint:
    """The fingerprint of one model's weights, as long as nothing is written to them."""

    def __init__(self, hf: nn.Module) -> None:
        self.hf = hf
        self.depth = 0
        """How many functions marked `hashed_once` are running."""
        self.value: str | None = None
        self.stamp: Stamp = []

    def of(self, hashed: Callable[[], str]) -> str:
        """The value that is known, or what `hashed` finds."""
        if not self.depth:
            return hashed()
        stamp = self._now()
        if self.value is None or stamp != self.stamp:
            self.value, self.stamp = hashed(), stamp
        return self.value

    @contextmanager
    def running(self) -> Iterator[None]:
        """A block in which writes are those that torch counts."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1
            if not self.depth:
                self.value = None

    @contextmanager
    def restored(self, weights: Iterable[Tensor]) -> Iterator[None]:
        """A block after which these weights have the bits that they had before it."""
        value, stamp, now = self.value, self.stamp, self._now() if self.depth else []
        known = value is not None and stamp == now
        storages = {weight.untyped_storage().data_ptr() for weight in weights}
        yield
        if known:
            after = self._now()
            pairs = zip(now, after, strict=True)
            if all(old == new or old[0] == new[0] in storages for old, new in pairs):
                self.value, self.stamp = value, after

    def _now(self) -> Stamp:
        return [(p.untyped_storage().data_ptr(), p._version) for p in self.hf.parameters()]


def hashed_once(function: Callable[Given, Got]) -> Callable[Given, Got]:
    """Mark a function of a model (its first argument) that asks for the fingerprint many times, and
    in which weights are written by counted operations alone.
    """

    @functools.wraps(function)
    def marked(*args: Given.args, **kwargs: Given.kwargs) -> Got:
        model: Any = args[0] if args else kwargs.get("model")
        known = getattr(model, "known_fingerprint", None)
        if not isinstance(known, KnownFingerprint):
            return function(*args, **kwargs)
        with known.running():
            return function(*args, **kwargs)

    return marked
