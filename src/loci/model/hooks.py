"""Reads and patches, alive exactly as long as their `with` block.

Modules return a tensor or a tuple whose first item is the tensor; both are read and replaced alike.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Edit = Callable[[Tensor], Tensor | None]


class Enough(Exception):
    """Raised inside a forward pass once all that was asked for has been read."""


def attach(module: nn.Module, side: str, edit: Edit) -> RemovableHandle:
    """Call `edit` with the module's first input or its output; a tensor that it returns takes the place of the old one."""
    if side == "in":
        return module.register_forward_pre_hook(lambda _, args, kwargs: _edit_input(edit, args, kwargs), with_kwargs=True)
    return module.register_forward_hook(lambda _, args, output: _edit_output(edit, output))


def _edit_input(edit: Edit, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    if args:
        new = edit(args[0])
        return None if new is None else ((new, *args[1:]), kwargs)
    new = edit(kwargs["hidden_states"])
    return None if new is None else (args, {**kwargs, "hidden_states": new})


def _edit_output(edit: Edit, output: Any) -> Any:
    new = edit(output[0] if isinstance(output, tuple) else output)
    return new if new is None or not isinstance(output, tuple) else (new, *output[1:])


@contextmanager
def attached(edits: Mapping[tuple[nn.Module, str], list[Edit]]) -> Iterator[None]:
    """Attach all of them in order; detach them whatever happens."""
    with ExitStack() as stack:
        for (module, side), fns in edits.items():
            for fn in fns:
                stack.callback(attach(module, side, fn).remove)
        yield
