"""Which points a model has, and where in its modules each of them lies."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import torch
from torch import Tensor

from loci.errors import ModelError
from loci.model.accessors import COPY, FIRST, Accessor, flat, half, heads, routing
from loci.model.hooks import Edit, HookSite
from loci.model.points import ATTENTION, BY_NAME, ONCE, POINTS, Point, lacks, parse_point
from loci.model.rounding import broken, difference, tolerance
from loci.model.tokenised import Ids, TokenisedModel


class PointedModel(TokenisedModel):
    """A model whose points have a place: a module, its side, the accessor of the tensor there."""

    _rows: dict[int, int]
    """By layer: rows of the batch that runs, for parts that see all of them as one list."""

    @contextmanager
    def eager(self) -> Iterator[None]:
        """Attention step by step inside the block, with its softmax to be seen;
        after it as before.
        """
        before = self.config._attn_implementation
        self.config._attn_implementation = "eager"
        try:
            yield
        finally:
            self.config._attn_implementation = before

    def points(self) -> list[str]:
        """The points that this model has: names that come once, and stems that take a layer."""
        return [point.name for point in POINTS if self._absent(point) is None]

    def names(self, *stems: str) -> list[str]:
        """Points by their stems, at every layer; `embed` and `final` as they are."""
        return [
            name
            for stem in stems
            for name in ([stem] if stem in ONCE else [f"{stem}.{i}" for i in range(self.n_layers)])
        ]

    def place(self, name: str) -> HookSite:
        """The module at which a point lives, the side, and the accessor."""
        point, layer = self._point(name)
        part = self._part_of(point)
        return HookSite(self.module(part, layer), point.side, self._accessor(point, part, layer))

    def _point(self, name: str) -> tuple[Point, int | None]:
        point, layer = parse_point(name, self.n_layers)
        absent = self._absent(point)
        if absent:
            raise ModelError(
                f"{self.name!r} ({self.layout.family}) has no point {point.name!r}: {absent} (it"
                f" has {', '.join(self.points())})"
            )
        return point, layer

    def has(self, name: str) -> bool:
        """Whether this family has the part at which a point lies."""
        return self._lacks(BY_NAME[name]) is None

    def why_not(self, name: str) -> str | None:
        """Why this model has no such point; None where it has."""
        return self._absent(BY_NAME[name])

    def _absent(self, point: Point) -> str | None:
        """Why this model has no such point, or None where it has."""
        return self._eager_differs if point.name in ATTENTION else self._lacks(point)

    @cached_property
    def _eager_differs(self) -> str | None:
        """A reason not to trust attention step by step: transformers computes something else there
        for some families (Falcon's ALiBi).
        """
        ids = torch.arange(8, device=self.device)[None] % self.d_vocab
        with torch.no_grad():
            usual = self._logits(ids)
            with self.eager():
                error = difference(self._logits(ids), usual)
        if error <= 10 * tolerance(self):
            return None
        if not usual.isfinite().all():
            return f"its logits are not finite: {broken(self)}"
        return (
            "attention step by step, where it could be seen, gives other logits here than the"
            f" model's own (off by {error:.1%})"
        )

    def _logits(self, ids: Ids) -> Tensor:
        logits: Tensor = self.hf(input_ids=ids, use_cache=False).logits
        return logits

    def _lacks(self, point: Point) -> str | None:
        why = lacks(self.layout, point)
        return (
            why.replace("mixtures of experts", f"mixtures of {self.n_experts} experts")
            if why and self.n_experts
            else why
        )

    def _part_of(self, point: Point) -> str:
        return next(part for part in point.parts if part == "block" or getattr(self.layout, part))

    def _accessor(self, point: Point, part: str, layer: int | None) -> Accessor:
        layout = self.layout
        accessor = routing() if part == "router" else FIRST
        if part in layout.flat:
            accessor = accessor.then(flat(lambda: self._rows[layer or 0]))
        if point.name in ("q", "k", "v"):
            fused = self.fused()
            return accessor.then(
                fused.accessor(point.name)
                if fused
                else heads(self.n_heads if point.name == "q" else self.n_kv_heads)
            )
        if point.name == "z":
            return accessor.then(heads(self.n_heads))
        if part in ("gate", "up") and point.side == "out" and layout.gate == layout.up:
            return accessor.then(half(0 if part == "gate" else 1))
        if part == "down" and point.side == "out" and layout.adds_in_place:
            return accessor.then(COPY)
        return accessor

    def _rows_of(self, point: Point, layer: int | None) -> list[tuple[HookSite, Edit]]:
        """Hooks that note a run's batch size, for the parts that see all rows as one list."""
        if layer is None or self._part_of(point) not in self.layout.flat:
            return []
        return [
            (
                HookSite(self.blocks[layer], "in", FIRST),
                lambda resid: self._rows.__setitem__(layer, len(resid)),
            )
        ]
