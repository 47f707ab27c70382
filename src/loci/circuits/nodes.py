"""Parts of a model as senders and receivers: what writes into the stream, and what reads it, in
their order.

Senders: `embed`, heads `L0H3`, MLPs `L0MLP`. Receivers: queries, keys and values of heads `L1H3.q`,
MLPs, `logits`. Shared keys and values belong to their group and are named after its first head.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from loci.errors import CircuitError
from loci.model import Model
from loci.model.frozen_norm import FrozenNorm
from loci.model.names import HEAD, head_name, parse_head

SIDES = ("q", "k", "v")


def check_top(top: int) -> None:
    """Raise `CircuitError` unless something is to be shown."""
    if top < 1:
        raise CircuitError(f"at least one is shown, not {top}")


class Node(NamedTuple):
    """A sender or a receiver.

    Its place in the order of the stream: an MLP of a layer behind its heads, unless they stand side
    by side.
    """

    name: str
    layer: int
    head: int | None = None
    side: str | None = None

    @property
    def stage(self) -> int:
        """Heads and MLPs of one layer: 2 · layer and 2 · layer + 1."""
        return 2 * self.layer + (self.head is None)


def senders_and_receivers(model: Model) -> tuple[list[Node], list[Node]]:
    """All senders and all receivers of a model, from the bottom up; of shared keys and values
    the first head of each group."""
    senders, receivers = [Node("embed", -1)], []
    share = model.n_heads // model.n_kv_heads
    for layer in range(model.n_layers):
        senders += [Node(head_name(layer, h), layer, h) for h in range(model.n_heads)] + [
            Node(f"L{layer}MLP", layer)
        ]
        for side in SIDES:
            heads = range(0, model.n_heads, 1 if side == "q" else share)
            receivers += [Node(f"{head_name(layer, h)}.{side}", layer, h, side) for h in heads]
        receivers.append(Node(f"L{layer}MLP", layer))
    return senders, [*receivers, Node("logits", model.n_layers, 0)]


def parse_node(name: str, model: Model) -> Node:
    """`embed`, `L0H3`, `L0MLP`, `L1H3.q` or `logits`. Raises `CircuitError` or `ModelError`."""
    senders, receivers = senders_and_receivers(model)
    known = next((part for part in [*senders, *receivers] if part.name == name), None)
    if known is not None:
        return known
    stem, _, side = name.partition(".")
    if HEAD.fullmatch(stem) and side in ("", *SIDES):
        layer, head = parse_head(stem, model)
        share = model.n_heads // model.n_kv_heads
        return Node(name, layer, head if side in ("", "q") else head // share * share, side or None)
    raise CircuitError(
        f"{name!r} is no part: expected embed, L0H3, L0MLP, L1H3.q (or .k, .v), logits"
    )


def parse_receiver(name: str, model: Model) -> Node:
    """A part that reads. Raises `CircuitError` for a head without the input by which it does."""
    node = parse_node(name, model)
    if HEAD.fullmatch(name):
        raise CircuitError(f"{name} reads by queries, keys and values: say {name}.q, .k or .v")
    return node


def before(model: Model, sender: Node, receiver: Node) -> bool:
    """Whether what a part writes is there when another reads."""
    if model.layout.parallel:
        return sender.layer < receiver.layer
    return sender.stage < receiver.stage


@torch.no_grad()
def written(
    model: Model, reads: dict[str, Tensor], senders: Sequence[Node]
) -> dict[str, Float[Tensor, "position d_model"]]:
    """Each sender's contribution to the stream in a run; a norm behind attention is held, so that
    heads' parts sum."""
    outputs = {"embed": reads["resid_pre.0"]}
    for layer in range(model.n_layers):
        z = reads[f"z.{layer}"]
        after = FrozenNorm(
            model, "attn_post", layer, reads.get(f"attn_raw.{layer}", reads[f"resid_pre.{layer}"])
        )
        heads = after(einsum(model.W_O(layer), z, "h d r, p h r -> h p d").float())
        outputs |= {head_name(layer, h): heads[h] for h in range(model.n_heads)}
        outputs[f"L{layer}MLP"] = reads[f"mlp_out.{layer}"]
    return {part.name: outputs[part.name].float() for part in senders}


def normed(model: Model, name: str, layer: int | None, x: Tensor) -> Tensor:
    """x after a norm; x itself where the family has none there."""
    normalised: Tensor = model.module(name, layer)(x) if getattr(model.layout, name) else x
    return normalised


def own_projection(model: Model, side: str, layer: int) -> tuple[Tensor, Tensor]:
    """W and b of queries, keys or values, shared ones once."""
    if side == "q":
        return model.W_Q(layer), model.b_Q(layer)
    return getattr(model, f"W_{side.upper()}")(layer, expand=False), getattr(
        model, f"b_{side.upper()}"
    )(layer, expand=False)
