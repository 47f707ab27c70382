"""Embedding and unembedding as maps, so that heads can be asked what they do from token to token.

    embed    tokens → stream    column t: W_E[t] / rms, what a head reads (before the gain) if the
                                stream is token t alone
    unembed  stream → tokens    W_U with the final norm's gain, up to that norm's scale

Positions are left out: what a position embedding adds is not a token's. In the view "none" nothing
is divided and nothing is folded.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from loci.circuits.algebra import DenseMap, stream, tokens
from loci.circuits.heads import View, sound
from loci.model import Weights

BLOCK = 2**14
"""Tokens at a time where a product is summed over the vocabulary."""


@torch.no_grad()
def embed(model: Weights, view: View = "gain") -> DenseMap:
    """The embedding as a map from tokens to the residual stream.

    Args:
        model: an open model or `open_weights`; nothing is run.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Returns: `DenseMap` [d_model, d_vocab], each column as the first norm passes it on, in float32.
    Raises: `CircuitError` where the weights hold NaN or infinity.
    Cost: A copy of W_E in float32.
    """
    rows = _embedded(model, view, model.W_E[: model.d_vocab])
    return DenseMap(rows.T, stream(model.d_model), tokens(len(rows)))


def _embedded(
    model: Weights, view: View, rows: Float[Tensor, "token d_model"]
) -> Float[Tensor, "token d_model"]:
    """Rows of W_E as the first norm passes them on, but for its gain."""
    rows = sound(rows.float(), model, "the embedding") * model.embed_scale
    if view == "none" or not model.n_layers or not model.layout.attn_norm:
        return rows
    centred = rows - rows.mean(-1, keepdim=True) if model.norm("attn_norm", 0).centres else rows
    rms = centred.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-12)
    return (centred if view == "centred" else rows) / rms


@torch.no_grad()
def unembed(model: Weights, view: View = "gain") -> DenseMap:
    """The unembedding as a map from the residual stream to tokens.

    Args:
        model: an open model or `open_weights`; nothing is run.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Returns: `DenseMap` [d_vocab, d_model] with the final norm's gain, up to its scale, in float32.
    Raises: `CircuitError` where the weights hold NaN or infinity.
    Cost: A copy of W_U in float32.
    """
    rows = _unembedded(model, view, _unembedding(model, view))
    return DenseMap(rows, tokens(len(rows)), stream(model.d_model))


def _unembedding(model: Weights, view: View) -> Float[Tensor, "token d_model"]:
    """W_U, with all of the final norm in the view "centred", read once."""
    return model.folded("W_U").weight if view == "centred" else model.W_U


def _unembedded(
    model: Weights, view: View, rows: Float[Tensor, "token d_model"]
) -> Float[Tensor, "token d_model"]:
    """Rows of `_unembedding` with the final norm's gain in the view "gain"."""
    rows = sound(rows.float(), model, "the unembedding")
    return rows * model.norm("final_norm").gain.float() if view == "gain" else rows


@torch.no_grad()
def summed_over_tokens(model: Weights, view: View = "gain") -> tuple[DenseMap, DenseMap]:
    """E Eᵀ and E W_U, both [d_model, d_model]: all that eigenvalues of full circuits need.

    λ of Eᵀ W_QK E are those of W_QK (E Eᵀ), and λ of W_U W_OV E those of (E W_U) W_OV.

    Args:
        model: an open model or `open_weights`; nothing is run.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Cost: 4 · d_vocab · d_model² operations. Memory: `BLOCK` rows of both matrices.
    """
    W_E, W_U = model.W_E[: model.d_vocab], _unembedding(model, view)
    seen = torch.zeros(model.d_model, model.d_model, device=W_E.device)
    through = torch.zeros_like(seen)
    for some, unembedding in zip(W_E.split(BLOCK), W_U.split(BLOCK), strict=True):
        rows = _embedded(model, view, some)
        seen += rows.T @ rows
        through += rows.T @ _unembedded(model, view, unembedding)
    space = stream(model.d_model)
    return DenseMap(seen, space, space), DenseMap(through, space, space)
