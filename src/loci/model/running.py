"""A model that runs: whole, with tensors read and replaced, or recorded to be replayed."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from loci.errors import UseError
from loci.model.hooks import Edit, HookSite, Softmaxes, StopForward, attached
from loci.model.pointed import PointedModel
from loci.model.points import ATTENTION
from loci.model.replay import Call, KVCache, Recording, cache_name
from loci.model.tokenised import Ids, Logits, Mask


class RunningModel(PointedModel):
    """A model that runs, and whose tensors can be read and replaced."""

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
                output = self(ids, mask, last=last) if logits else self._without_logits(ids, mask)
        return Recording(
            self, tuple(calls), output, mask is not None and not bool(mask.all()), tuple(pasts)
        )

    def _without_logits(self, ids: Ids, mask: Mask | None) -> Logits:
        self.visit(ids, {f"resid_post.{self.n_layers - 1}": lambda _: None}, mask)
        return torch.empty(*ids.shape, 0, device=self.device)
