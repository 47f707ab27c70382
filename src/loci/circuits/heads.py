"""Heads as objects: where to look and what to move, each one matrix of rank d_head.

    W_QK = W_Qᵀ R_Δ W_K      score of destination x on source y: xᵀ W_QK y
            (R: positions, see `rotary`)
    W_OV = W_O W_V           what the destination gains from a source y: W_OV y

x and y are vectors of the residual stream as the norm before attention leaves them but for its
gain: x / rms(x). That gain stands in the weights ("gain", the default), with its centring too
("centred", which also centres what is written), or nothing of it ("none"). The gain of a norm
behind attention stands in W_O. Shared keys and values are those of the head's group. W_QK has no
1/√d_head, as published.

Biases: the score's part without y is the same for all sources, so the softmax does not see it;
`key_bias` · y is what remains of b_Q, `query_bias` · x what remains of b_K and is not seen.
Patterns sum to 1, so b_V adds `constant` = W_O b_V whatever the head attends to.
Source: Elhage et al. 2021, "Attention heads as information movement".
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from loci.circuits.algebra import BilinearForm, LinearMap, stream
from loci.circuits.rotary import rotation
from loci.errors import CircuitError
from loci.model import Model, Weights
from loci.model.names import check_layer, head_name, parse_head

View = Literal["gain", "centred", "none"]
"""How much of the norms stands in the weights."""
VIEWS: tuple[View, ...] = get_args(View)


@dataclass(frozen=True, eq=False)
class Head:
    """One head of attention."""

    layer: int
    head: int
    qk: BilinearForm
    ov: LinearMap
    key_bias: Float[Tensor, " d_model"]
    query_bias: Float[Tensor, " d_model"]
    constant: Float[Tensor, " d_model"]

    @property
    def name(self) -> str:
        return head_name(self.layer, self.head)


class Projections(NamedTuple):
    """W_Q, W_K, W_V and W_O of all heads of a layer, in float32."""

    Q: Float[Tensor, "n_heads d_head d_model"]
    K: Float[Tensor, "n_heads d_head d_model"]
    V: Float[Tensor, "n_heads d_head d_model"]
    O: Float[Tensor, "n_heads d_model d_head"]  # noqa: E741
    b_Q: Float[Tensor, "n_heads d_head"]
    b_K: Float[Tensor, "n_heads d_head"]
    b_V: Float[Tensor, "n_heads d_head"]


def check_view(name: str) -> View:
    """Check the name of a view.

    Args:
        name: "gain", "centred" or "none".

    Returns: The name, typed.
    Raises: `CircuitError` for any other.
    """
    for view in VIEWS:
        if view == name:
            return view
    raise CircuitError(f"there is no view {name!r}: expected {', '.join(VIEWS)}")


@torch.no_grad()
def projections(
    model: Weights, layer: int, view: View = "gain", offset: int | None = None
) -> Projections:
    """W_Q, W_K, W_V and W_O of a layer with the norms of a view folded in.

    Args:
        model: an open model or `open_weights`; nothing is run.
        layer: 0 … n_layers − 1.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        offset: tokens between query and key at which keys are rotated (needs a `Model`); None: no
            rotation.

    Returns: `Projections`, in float32; grouped keys and values are repeated for each query head.
    Raises: `CircuitError` for broken weights, or an offset without a model that runs.
    """
    check_view(view)
    check_layer(model, layer)
    Q, K, V = (_read(model, stem, layer, view) for stem in "QKV")
    O = outputs(model, layer, view)  # noqa: E741
    if offset is None:
        return Projections(Q[0], K[0], V[0], O, Q[1], K[1], V[1])
    if not isinstance(model, Model):
        raise CircuitError(
            "what an offset does to keys is asked of a model that runs: open it with loci.open"
        )
    R = rotation(model, layer, offset).to(Q[0])
    return Projections(Q[0], R @ K[0], V[0], O, Q[1], (R @ K[1][..., None])[..., 0], V[1])


def _read(model: Weights, stem: str, layer: int, view: View) -> tuple[Tensor, Tensor]:
    """W and b of queries, keys or values, with what stands before them in the view."""
    weight, bias = (
        sound(getattr(model, f"{kind}_{stem}")(layer).float(), model, f"layer {layer}")
        for kind in "Wb"
    )
    if view == "none" or not model.layout.attn_norm:
        return weight, bias
    if view == "centred":
        folded = model.folded(f"W_{stem}.{layer}")
        return folded.weight.float(), folded.bias.float()
    gain, shift, _ = model.norm("attn_norm", layer)
    return weight * gain.float(), bias + weight @ shift.float()


def sound(weight: Tensor, model: Weights, where: str) -> Tensor:
    """A weight as it is.

    Raises `CircuitError` where it holds NaN or infinity, which nothing can be composed of.
    """
    if not weight.isfinite().all():
        raise CircuitError(
            f"weights of {where} of {model.name!r} hold NaN or infinity: the checkpoint is broken"
        )
    return weight


def outputs(
    model: Weights, layer: int, view: View = "gain"
) -> Float[Tensor, "n_heads d_model d_head"]:
    """W_O of a layer's heads in a view, in float32."""
    weight = sound(model.W_O(layer).float(), model, f"layer {layer}")
    if view == "none":
        return weight
    if model.layout.attn_post:
        weight = model.norm("attn_post", layer).gain.float()[:, None] * weight
    centred = view == "centred" and model.norm("final_norm").centres
    return weight - weight.mean(-2, keepdim=True) if centred else weight


def layer_heads(
    model: Weights, layer: int, view: View = "gain", offset: int | None = None
) -> tuple[Head, ...]:
    """All heads of a layer as low-rank QK forms and OV maps.

    Args:
        model: an open model or `open_weights`; nothing is run.
        layer: 0 … n_layers − 1.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        offset: tokens between query and key at which rotary keys are compared; None: no rotation.

    Returns: One `Head` for each query head.
    Raises: `CircuitError`, `ModelError` for a layer that is not there.
    Cost: The layer's four projections, copied in float32.
    Source: Elhage et al. 2021.
    """
    p, space = projections(model, layer, view, offset), stream(model.d_model)
    key_bias = einsum(p.K, p.b_Q, "h r d, h r -> h d")
    query_bias = einsum(p.Q, p.b_K, "h r d, h r -> h d")
    constant = einsum(p.O, p.b_V, "h d r, h r -> h d")
    return tuple(
        Head(
            layer=layer,
            head=h,
            qk=BilinearForm(p.Q[h].T, p.K[h], space, space),
            ov=LinearMap(p.O[h], p.V[h], space, space),
            key_bias=key_bias[h],
            query_bias=query_bias[h],
            constant=constant[h],
        )
        for h in range(model.n_heads)
    )


def all_heads(model: Weights, view: View = "gain", offset: int | None = None) -> Iterator[Head]:
    """The heads of all layers, one layer in memory at a time.

    Args:
        model: an open model or `open_weights`; nothing is run.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        offset: tokens between query and key at which rotary keys are compared; None: no rotation.

    Returns: An iterator over `Head`; empty for a model without layers.
    """
    for layer in range(model.n_layers):
        yield from layer_heads(model, layer, view, offset)


def head(model: Weights, name: str, view: View = "gain", offset: int | None = None) -> Head:
    """One head by its name.

    Args:
        model: an open model or `open_weights`; nothing is run.
        name: as in `L1H3`.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        offset: tokens between query and key at which rotary keys are compared; None: no rotation.

    Returns: The `Head`.
    Raises: `ModelError` for a name that is not there.
    """
    layer, which = parse_head(name, model)
    return layer_heads(model, layer, view, offset)[which]
