"""Whether a layout fits a model: the invariants, asked in one short run of the first block."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.functional import linear

from loci.model.accessors import FIRST
from loci.model.families import openable

if TYPE_CHECKING:
    from loci.model.running import RunningModel
from loci.model.invariants import UNFIT, errors, mixing, neurons_apart
from loci.model.rounding import broken, tolerance


@torch.no_grad()
def hold(model: "RunningModel") -> str | None:
    """None if the model's parts, as the layout names them, make up the model; else the reason why
    not, in one line.
    """
    ids = torch.arange(4, device=model.device)[None] % model.d_vocab
    try:
        with _shortened(model):
            differences = dict(errors(model, ids, range(min(1, model.n_layers))))
            if model.n_layers and model.has("mlp_pre"):
                differences["mlp_act depends on mlp_pre neuron by neuron"] = neurons_apart(
                    model, ids, 0
                )
            if model.n_layers and max(differences.values()) <= tolerance(model):
                differences["Σ attn_probs · v = z"] = mixing(model, ids, 0)
    except UNFIT as error:
        return _refusal(
            model, f"its parts do not fit each other ({' '.join(str(error).split())[:100]})"
        )
    if float("inf") in differences.values():
        return f"{type(model.hf).__name__} gives numbers that are not finite: {broken(model)}"
    wrong = [
        f"does not hold {name} (off by {error:.1%})"
        for name, error in differences.items()
        if error > tolerance(model)
    ]
    return _refusal(model, wrong[0]) if wrong else None


def _refusal(model: "RunningModel", what: str) -> str:
    return (
        f"{type(model.hf).__name__} looks like {model.layout.family!r}, but {what}: this family is"
        " not supported yet. Pass layout=loci.Layout(...) if you know where its parts are; what"
        f" opens without: {openable()}"
    )


@contextmanager
def _shortened(model: "RunningModel") -> Iterator[None]:
    """Inside the block, all blocks but the first hand on the residual stream as they find it, in
    the form in which the first does, and the unembedding knows its first tokens alone: what is
    skipped is neither computed nor read.
    """
    form: list[Any] = [None]
    unembed = model.module("unembed")

    def hand_on(*args: Any, **kwargs: Any) -> Any:
        return FIRST.put(form[0], args[0] if args else kwargs["hidden_states"])

    with ExitStack() as stack:
        for first in model.blocks[:1]:
            stack.callback(
                first.register_forward_hook(
                    lambda _, args, output: form.__setitem__(0, output)
                ).remove
            )
        for block in model.blocks[1:]:
            stack.enter_context(forward_as(block, hand_on))
        if not next(unembed.parameters()).is_meta:
            stack.enter_context(
                forward_as(unembed, lambda x: linear(x, model.W_U[:64], model.b_U[:64]))
            )
        yield


@contextmanager
def forward_as(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Another forward inside the block; after it the module's own, or the one that accelerate had
    put in its place.
    """
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        module.__dict__.pop("forward")
        if before is not None:
            module.__dict__["forward"] = before
