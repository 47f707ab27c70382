"""Reads and patches, alive exactly as long as their `with` block."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from loci.model.accessors import Accessor

Edit = Callable[[Tensor], Tensor | None]
Side = Literal["in", "out"]


def instead(value: Tensor) -> Edit:
    """The edit that puts this value in the place of whatever is there, broadcast to its shape."""
    return lambda old: value.to(old).expand_as(old)


def put_at(value: Tensor, *where: Any) -> Edit:
    """The value at these places, and what is there elsewhere."""

    def put(old: Tensor) -> Tensor:
        new = old.clone()
        new[where] = value.to(old)
        return new

    return put


def add_at(value: Tensor, *where: Any) -> Edit:
    """An edit that adds the value at these places."""

    def add(old: Tensor) -> Tensor:
        new = old.clone()
        new[where] += value.to(old)
        return new

    return add


def hiding(*where: Any) -> Edit:
    """Attention scores as they are, but for places [row, head, query, key] that the softmax does
    not see.
    """

    def hide(scores: Tensor) -> Tensor:
        scores = scores.clone()
        scores[where] = torch.finfo(scores.dtype).min
        return scores

    return hide


def adding(
    source: str, target: str, functions: Mapping[int, Callable[[Tensor], Tensor]]
) -> dict[str, Edit]:
    """Points that add a function of what stands at `source` to what stands at `target`, later in
    the same layer.
    """
    inputs: dict[int, Tensor] = {}

    def keep(layer: int, x: Tensor) -> None:
        inputs[layer] = x

    def add(layer: int, out: Tensor) -> Tensor:
        return out + functions[layer](inputs.pop(layer)).to(out.dtype)

    keeps = {f"{source}.{layer}": partial(keep, layer) for layer in functions}
    return {**keeps, **{f"{target}.{layer}": partial(add, layer) for layer in functions}}


class StopForward(Exception):
    """Raised inside a forward pass once all that was asked for has been read."""


class HookSite(NamedTuple):
    """Where a named tensor is: at a module's input or output, behind an accessor."""

    module: nn.Module
    side: Side
    accessor: Accessor


def attach(place: HookSite, edit: Edit) -> RemovableHandle:
    """Call `edit` with the tensor at a place; a tensor that it returns takes the place of the old
    one.
    """
    module, side, accessor = place
    if side == "in":
        return module.register_forward_pre_hook(
            lambda _, args, kwargs: _edit_input(accessor, edit, args, kwargs), with_kwargs=True
        )
    return module.register_forward_hook(lambda _, args, output: accessor.through(edit, output))


def _edit_input(
    accessor: Accessor, edit: Edit, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    new = accessor.through(edit, args[0] if args else kwargs["hidden_states"])
    if new is None:
        return None
    return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})


@contextmanager
def attached(edits: Sequence[tuple[HookSite, Edit]]) -> Iterator[None]:
    """Attach all of them in order; detach them whatever happens."""
    with ExitStack() as stack:
        for place, edit in edits:
            stack.callback(attach(place, edit).remove)
        yield


SOFTMAX = (torch.softmax, torch.nn.functional.softmax, Tensor.softmax)


class Softmaxes(TorchFunctionMode):
    """Edits of what the softmax inside an attention module takes ("attn_scores") and gives
    ("attn_probs").

    No family has a module there. Attention must be computed step by step ("eager") for its softmax
    to be seen.
    """

    def __init__(self, attentions: Mapping[nn.Module, Mapping[str, Sequence[Edit]]]) -> None:
        super().__init__()
        self._edits = attentions
        self._inside: list[nn.Module] = []

    @contextmanager
    def attached(self) -> Iterator[None]:
        with ExitStack() as stack:
            for attention in self._edits:
                stack.callback(attention.register_forward_pre_hook(self._enter).remove)
                stack.callback(attention.register_forward_hook(self._leave).remove)
            stack.callback(self._inside.clear)
            stack.enter_context(self)
            yield

    def _enter(self, module: nn.Module, *_: Any) -> None:
        self._inside[:] = [module]

    def _leave(self, *_: Any) -> None:
        self._inside.clear()

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if not self._inside or func not in SOFTMAX:
            return func(*args, **kwargs)
        edits = self._edits[self._inside[0]]
        scores = _edited(args[0], edits.get("attn_scores", ()))
        return _edited(func(scores, *args[1:], **kwargs), edits.get("attn_probs", ()))


def _edited(tensor: Tensor, edits: Sequence[Edit]) -> Tensor:
    for edit in edits:
        new = edit(tensor)
        tensor = tensor if new is None else new
    return tensor
