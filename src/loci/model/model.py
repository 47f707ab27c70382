"""A transformer whose parts have names: the Hugging Face module, wrapped in place, never copied or
changed.

    model = loci.open("demo")
    with model.watch("mlp_act.3") as reads, model.patched({"mlp_out.1": lambda out: out * 0}):
        logits = model(ids)                       # [batch, position, d_vocab]
    run = model.record(ids)                       # once, then from layer L on as often as needed:
    logits = run.replay(L, resid)                 # nothing below L is computed again

Batches hold texts of equal length (`by_length`), or of any length with a mask (`padded`).
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial
from typing import Any, Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from loci.errors import ModelError, UseError
from loci.model.accessors import COPY, FIRST, Accessor, flat, half, heads, routing
from loci.model.hooks import Edit, HookSite, Softmaxes, StopForward, attached
from loci.model.invariants import broken, difference, hold, tolerance
from loci.model.layouts import Layout, candidates
from loci.model.points import ATTENTION, BY_NAME, ONCE, POINTS, Point, lacks, parse_point
from loci.model.replay import Call, KVCache, Recording, cache_name
from loci.model.tokens import Tokens, check_tokenizer, tokenize, tokenize_all
from loci.model.weights import Weights

T = TypeVar("T")
BYTES = 2**27
"""Of logits that are made at once."""
JOINS: dict[str | None, str | None] = {None: None, "space": " ", "nothing": ""}
Logits = Float[Tensor, "batch position d_vocab"]
Ids = Int[Tensor, "batch position"]
Mask = Int[Tensor, "batch position"]


class Model(Weights):
    """A causal language model of Hugging Face with named points, weights as views, and runs that
    replay.
    """

    def __init__(
        self,
        hf: nn.Module,
        tokenizer: Any,
        name: str,
        layout: Layout | None = None,
        *,
        bos: bool | None = None,
        join: Literal["space", "nothing"] | None = None,
    ) -> None:
        """Wrap a module. Without a `layout`, the first row of the table that fits and adds up;
        without `bos`, BOS by `tokenize`'s rule; without `join`, answers join their prompts as
        `loci.model.joins` finds.
        """
        if join not in JOINS:
            raise ModelError(f"an answer joins its prompt by 'space' or 'nothing', not {join!r}")
        self.bos, self.join = bos, JOINS[join]
        self.leads: dict[int, str | None] = {}
        self._rows: dict[int, int] = {}
        refused: list[str] = []
        for row in [layout] if layout else candidates(hf):
            super().__init__(hf.eval(), name, row, tokenizer)
            reason = hold(self)
            if reason is None:
                break
            refused.append(reason)
        else:
            raise ModelError(refused[0])
        check_tokenizer(tokenizer, self.rows, bos)

    def __repr__(self) -> str:
        experts = f" in each of {self.n_experts} experts" if self.n_experts else ""
        return (
            f"Model({self.name!r}, {self.family}, {self.n_layers} layers × {self.d_model},"
            f" {self.d_mlp} neurons a layer{experts})"
        )

    # text
    # ----------------------------------------------------------------------------------------------

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

    # runs
    # ----------------------------------------------------------------------------------------------

    def __call__(
        self, ids: Ids | str | Sequence[str], mask: Mask | None = None, *, last: int | None = None
    ) -> Logits:
        """Logits of a batch, or of its `last` positions alone, with gradients if they are enabled.
        Where a `mask` says padding, logits mean nothing.

        A text, or several of any length (padded on the right), may stand for the batch. Raises
        `UseError` for anything else.
        """
        if not isinstance(ids, Tensor):
            ids, mask = self._batch_of(ids, mask)
        self.hf.eval()
        where: dict[str, Tensor] = {}
        if mask is not None:
            where["attention_mask"] = mask
            if self._takes("position_ids"):
                where["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        keep = {"logits_to_keep": last} if last and self._takes("logits_to_keep") else {}
        logits: Tensor = self.hf(input_ids=ids, use_cache=False, **where, **keep).logits
        return logits if last is None else logits[:, -last:]

    def _batch_of(self, given: Any, mask: Mask | None) -> tuple[Ids, Mask | None]:
        """Token ids, and a mask where they need one, from what is no tensor."""
        texts = [given] if isinstance(given, str) else given
        if (
            not isinstance(texts, Sequence)
            or not texts
            or not all(isinstance(text, str) for text in texts)
        ):
            raise UseError(
                "a model runs on texts, or on token ids [batch, position] as model.ids gives them,"
                f" not {given!r:.60}"
            )
        rows = [self.tokenize(text).ids for text in texts]
        if len({len(row) for row in rows}) == 1:
            return self.ids(rows), mask
        return self.padded(rows)

    def generate(self, prompt: str, tokens: int = 20) -> str:
        """The greedy continuation of a prompt by at most so many tokens, without the prompt."""
        from loci.model.answers import complete

        if not isinstance(prompt, str):
            raise UseError(f"generate goes on with one text, not {prompt!r:.60}")
        return complete(self, [prompt], tokens)[0]

    def _takes(self, argument: str) -> bool:
        return argument in inspect.signature(self.hf.forward).parameters

    @torch.no_grad()
    def read(self, ids: Ids, *points: str, mask: Mask | None = None) -> dict[str, Tensor]:
        """The tensors at some points; the run stops above the last of them."""
        reads: dict[str, Tensor] = {}
        self.visit(ids, {name: partial(reads.__setitem__, name) for name in points}, mask)
        return reads

    @torch.no_grad()
    def visit(
        self, ids: Ids, visits: Mapping[str, Callable[[Tensor], None]], mask: Mask | None = None
    ) -> None:
        """Call a function with the tensor at each point as the run passes it; nothing is kept, and
        the run stops above the last.
        """
        missing = set(visits)

        def call(name: str, tensor: Tensor) -> None:
            visits[name](tensor)
            missing.discard(name)
            if not missing:
                raise StopForward

        with self.patched({name: partial(call, name) for name in visits}), suppress(StopForward):
            self(ids, mask)

    @contextmanager
    def watch(self, *points: str) -> Iterator[dict[str, Tensor]]:
        """Inside the block, every run leaves the tensors of these points in the dictionary
        (attached to the graph, not copied).
        """
        reads: dict[str, Tensor] = {}
        with self.patched({name: partial(reads.__setitem__, name) for name in points}):
            yield reads

    @contextmanager
    def patched(self, edits: Mapping[str, Edit]) -> Iterator[None]:
        """Inside the block, each point's tensor passes through its function; a tensor that it
        returns replaces the old one.

        `attn_scores` and `attn_probs` make attention run step by step inside the block; its numbers
        may differ in the last bits.
        """
        softmaxes: dict[nn.Module, dict[str, list[Edit]]] = {}
        places: list[tuple[HookSite, Edit]] = []
        for name, edit in edits.items():
            point, layer = self._point(name)
            if point.name in ATTENTION:
                softmaxes.setdefault(self.module("attn", layer), {}).setdefault(
                    point.name, []
                ).append(edit)
            else:
                places += self._rows_of(point, layer)
                places.append((self.place(name), edit))
        with ExitStack() as stack:
            if softmaxes:
                stack.enter_context(self.eager())
                stack.enter_context(Softmaxes(softmaxes).attached())
            stack.enter_context(attached(places))
            yield

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside the block no weight takes gradients, so that a backward pass to the stream costs
        no more than the forward pass.
        """
        taking = [parameter for parameter in self.hf.parameters() if parameter.requires_grad]
        for parameter in taking:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in taking:
                parameter.requires_grad_(True)

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

    # points
    # ----------------------------------------------------------------------------------------------

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
            usual = self(ids)
            with self.eager():
                error = difference(self(ids), usual)
        if error <= 10 * tolerance(self):
            return None
        if not usual.isfinite().all():
            return f"its logits are not finite: {broken(self)}"
        return (
            "attention step by step, where it could be seen, gives other logits here than the"
            f" model's own (off by {error:.1%})"
        )

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
        """What notes a run's batch size, for the parts that see all rows as one list."""
        if layer is None or self._part_of(point) not in self.layout.flat:
            return []
        return [
            (
                HookSite(self.blocks[layer], "in", FIRST),
                lambda resid: self._rows.__setitem__(layer, len(resid)),
            )
        ]

    # from the end, from the middle
    # -----------------------------------------------------------------------------------

    def unembed(self, resid: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any d_vocab"]:
        """Final norm and unembedding of residual vectors: what the model would say if it stopped
        here (the logit lens).
        """
        scores: Tensor = self.module("unembed")(self.module("final_norm")(resid))
        return self.capped(scores)

    def record(
        self,
        ids: Ids,
        mask: Mask | None = None,
        *,
        past: bool = False,
        logits: bool = True,
        last: int | None = None,
    ) -> Recording:
        """Run once without gradients, keeping what each block was called with; with `past`, keys
        and values too.

        With `last`, the recording's logits are those of the last positions alone. Without `logits`
        the run stops behind the last block, and there are none.
        """
        calls: list[Call] = []
        pasts: list[KVCache] = []

        def keep(
            block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            call = Call.of(block, args, kwargs)
            calls.append(call)
            if not past:
                return args, kwargs
            pasts.append(KVCache())
            return (call.resid,), {**call.rest, cache_name(type(block).forward): pasts[-1]}

        with ExitStack() as stack:
            for block in self.blocks:
                stack.callback(block.register_forward_pre_hook(keep, with_kwargs=True).remove)
            with torch.no_grad():
                found = self(ids, mask, last=last) if logits else self._without_logits(ids, mask)
        return Recording(
            self, tuple(calls), found, mask is not None and not bool(mask.all()), tuple(pasts)
        )

    def _without_logits(self, ids: Ids, mask: Mask | None) -> Logits:
        self.visit(ids, {f"resid_post.{self.n_layers - 1}": lambda _: None}, mask)
        return torch.empty(*ids.shape, 0, device=self.device)


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
