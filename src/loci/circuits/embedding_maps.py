"""Embedding and unembedding as maps, so that heads can be asked what they do from token to token.

    embed    tokens → stream    column t: W_E[t] / rms, what a head reads (before the gain) if the
                                stream is token t alone
    unembed  stream → tokens    W_U with the final norm's gain, up to that norm's scale

Positions are left out: what a position embedding adds is not a token's. In the view "none" nothing
is divided and nothing is folded.
"""

import torch

from loci.circuits.algebra import DenseMap, stream, tokens
from loci.circuits.heads import View, sound
from loci.model import Weights


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
    rows = sound(model.W_E[: model.d_vocab].float(), model, "the embedding") * model.embed_scale
    if view != "none" and model.n_layers and model.layout.attn_norm:
        centred = rows - rows.mean(-1, keepdim=True) if model.norm("attn_norm", 0).centres else rows
        rows = (centred if view == "centred" else rows) / centred.square().mean(-1, keepdim=True).sqrt().clamp(min=1e-12)
    return DenseMap(rows.T, stream(model.d_model), tokens(len(rows)))


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
    rows = sound(model.W_U.float(), model, "the unembedding")
    if view == "gain":
        rows = rows * model.norm("final_norm").gain.float()
    elif view == "centred":
        rows = model.folded("W_U").weight.float()
    return DenseMap(rows, tokens(len(rows)), stream(model.d_model))
