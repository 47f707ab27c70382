"""How later parts build on what earlier heads and MLPs write: composition scores of all pairs.

    Q   ‖W_QKᵀ W_OV‖ / (‖W_QK‖ ‖W_OV‖)      the later head's queries are made of what the earlier
                                            head moved
    K   ‖W_QK W_OV‖ / (‖W_QK‖ ‖W_OV‖)       its keys are
    V   ‖W_OV² W_OV¹‖ / (‖W_OV²‖ ‖W_OV¹‖)   it moves on what the earlier head moved
    mlp ‖W_key W_OV‖ / (‖W_key‖ ‖W_OV‖)     with W_down in the place of W_OV where an MLP writes

Norms are Frobenius'. Under a random rotation between the two, E‖AB‖² = ‖A‖² ‖B‖² / d_model, so the
null is 1/√d_model whatever the ranks and spectra; a score is at most 1, and two aligned heads of
even spectrum have 1/√d_head. Effect sizes count: the null hardly varies.

With A = Q_A P and B = S Q_B, Q_A and Q_B orthonormal, ‖AB‖ = ‖PS‖. P [r, d] and S [d, r] are made
once a part, from the r × r Gram matrix of its outer factor, and all pairs are blocks of one product
of stacked P and stacked S. A product may not be cycled here: the published diagram first showed
‖W_K W_OV W_Qᵀ‖ for K (its erratum: eigenvalues may be cycled, norms may not).

Cost: 3 · (n_heads · n_layers · d_head)² · d_model products for the heads, half of them left out as
no later part precedes an earlier one.
Memory: the factors of all heads once, and one block of a pair of layers. Source: Elhage et al.
2021, with its correction.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.circuits.composition_results import KINDS, Composition, Kind
from loci.circuits.heads import Projections, View, projections, sound
from loci.errors import CircuitError
from loci.linalg import gram_roots
from loci.model import Weights
from loci.model.names import head_name
from loci.progress import Progress, silent


class _LayerFactors(NamedTuple):
    """A layer's heads, reduced to what norms of products need."""

    read: dict[Kind, Float[Tensor, "part r d_model"]]
    """P of queries, keys and values; of the MLP's keys."""
    head: Float[Tensor, "n_heads d_model d_head"]
    """S of W_OV."""
    mlp: Float[Tensor, "one d_model d_model"] | None
    """S of W_down."""


@torch.no_grad()
def compose(
    model: Weights,
    *,
    view: View = "gain",
    offset: int | None = None,
    mlps: bool = False,
    progress: Progress = silent,
) -> Composition:
    """Q-, K- and V-composition scores of all pairs of heads.

    Args:
        model: an open model or `open_weights`; nothing is run.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        offset: tokens between query and key at which rotary keys are compared; None: no rotation.
        mlps: score MLPs as writers and readers too.
        progress: called with (steps done, steps in all).

    Returns: `Composition`: scores by kind as [reader, writer], with the null 1/√d_model.
    Raises: `CircuitError` for a model with no pair to compose, and for `mlps` in a mixture of
        experts.
    Cost: 3 · (n_heads · n_layers · d_head)² · d_model multiplications.
    Source: Elhage et al. 2021, with its erratum.
    """
    if mlps and model.n_experts:
        raise CircuitError(
            f"the MLPs of {model.name!r} are mixtures of experts: no one matrix reads or writes "
            "for them"
        )
    if model.n_layers < (1 if mlps else 2):
        raise CircuitError(
            f"{model.name!r} has {model.n_layers} layers of heads: composition needs a later and "
            "an earlier one"
        )
    kinds = KINDS if mlps else KINDS[:3]
    layers = [_parts(model, layer, view, offset, mlps) for layer in range(model.n_layers)]
    names = [[head_name(layer, h) for h in range(model.n_heads)] for layer in range(model.n_layers)]
    writers = tuple(
        name
        for layer in range(model.n_layers)
        for name in [*names[layer], *([f"L{layer}MLP"] if mlps else [])]
    )
    heads = tuple(name for layer in names for name in layer)
    readers: dict[Kind, tuple[str, ...]] = {
        kind: heads if kind != "mlp" else tuple(f"L{layer}MLP" for layer in range(model.n_layers))
        for kind in kinds
    }
    rows: dict[Kind, list[Tensor]] = {kind: [] for kind in kinds}
    for layer, part in enumerate(layers):
        for kind in kinds:
            rows[kind].append(
                _row(part.read[kind], layers, layer, kind == "mlp" and not model.layout.parallel)
            )
        progress(1, model.n_layers)
    scores = {kind: torch.cat(row) for kind, row in rows.items()}
    return Composition(model.name, view, offset, model.d_model**-0.5, readers, writers, scores)


def _row(
    read: Float[Tensor, "part r d"], layers: Sequence[_LayerFactors], layer: int, sees_heads: bool
) -> Float[Tensor, "part writer"]:
    """Scores of one layer's readers with all writers; NaN from those that do not stand before
    them."""
    blocks = []
    for earlier, parts in enumerate(layers):
        for written, before in (
            (parts.head, earlier < layer or (earlier == layer and sees_heads)),
            (parts.mlp, earlier < layer),
        ):
            if written is not None:
                blocks.append(
                    scored(read, written)
                    if before
                    else torch.full((len(read), len(written)), torch.nan)
                )
    return torch.cat(blocks, 1)


def scored(
    read: Float[Tensor, "reader r d"], written: Float[Tensor, "writer d s"]
) -> Float[Tensor, "reader writer"]:
    """‖PS‖ / (‖P‖ ‖S‖) of all pairs, by one product; 0 where one of them is nothing."""
    product = read.flatten(0, 1) @ written.movedim(0, 1).flatten(1)
    norms = (
        product.unflatten(1, (len(written), -1))
        .unflatten(0, (len(read), -1))
        .square_()
        .sum((1, 3))
        .sqrt_()
    )
    sizes = read.flatten(1).norm(dim=1)[:, None] * written.flatten(1).norm(dim=1)
    scores: Tensor = (norms / sizes.clamp(min=1e-30)).cpu()
    return scores


def _parts(model: Weights, layer: int, view: View, offset: int | None, mlps: bool) -> _LayerFactors:
    p = projections(model, layer, view, offset)
    if not mlps:
        return _LayerFactors(reading(p), writing(p), None)
    of_mlp: dict[Kind, Tensor] = {"mlp": roots(keys(model, layer, view).T[None])}
    return _LayerFactors(
        reading(p) | of_mlp, writing(p), roots(values(model, layer, view)[None]).mT
    )


def reading(p: Projections) -> dict[Kind, Float[Tensor, "n_heads d_head d_model"]]:
    """P of the heads' queries, keys and values: the norm of each in every product.

    W_QKᵀ = W_Kᵀ W_Q reads queries, W_QK reads keys.
    """
    return {"q": roots(p.K) @ p.Q, "k": roots(p.Q) @ p.K, "v": roots(p.O.mT) @ p.V}


def writing(p: Projections) -> Float[Tensor, "n_heads d_model d_head"]:
    """S of the heads' W_OV."""
    return p.O @ roots(p.V).mT


def roots(factor: Float[Tensor, "part r n"]) -> Float[Tensor, "part r r"]:
    """T with TᵀT = F Fᵀ, so that ‖T X‖ = ‖Fᵀ X‖: the Cholesky factor of the Gram matrix, in
    float64."""
    return gram_roots(factor, "a head's factor").to(factor.dtype)


def keys(model: Weights, layer: int, view: View) -> Float[Tensor, "d_mlp d_model"]:
    """MLP keys, which decide whether neurons fire, with the norm before the MLP in the view."""
    weight = sound(model.W_key(layer).float(), model, f"layer {layer}")
    if view == "none" or not model.layout.mlp_norm:
        return weight
    if view == "centred":
        return model.folded(f"{'W_gate' if model.gated else 'W_up'}.{layer}").weight.float()
    return weight * model.norm("mlp_norm", layer).gain.float()


def values(model: Weights, layer: int, view: View) -> Float[Tensor, "d_model d_mlp"]:
    """MLP values, which neurons write, with the gain of a norm behind the MLP in the view."""
    weight = sound(model.W_down(layer).float(), model, f"layer {layer}")
    if view == "none":
        return weight
    if model.layout.mlp_post:
        weight = model.norm("mlp_post", layer).gain.float()[:, None] * weight
    centred = view == "centred" and model.norm("final_norm").centres
    return weight - weight.mean(0, keepdim=True) if centred else weight
