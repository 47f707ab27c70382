"""An untrained attention-only transformer in GPT-2's form, so that every tool that knows GPT-2
opens it.

    x = W_E[t] + W_P[position]        x ← x + Σ_h A^h LN(x) W_OV^hᵀ        logits = W_U LN(x)

What GPT-2 has beyond that stands at nothing and is not trained: biases at 0, the norms' gains at 1,
and the MLP, which transformers wants one neuron wide, with all its weights at 0, so that it adds
exactly nothing. A norm then only centres and divides by a length: with that length frozen, all
paths are linear and exact. No dropout; W_U is not W_E. Without layers nothing asks for positions:
W_P is 0 too. d_model = heads · d_head, as the form has it: at one width smaller heads are more
heads, and parameters stay the same.
"""

from typing import Any

import torch

from loci.errors import CircuitError


def untrained_gpt2(
    vocabulary: int,
    context: int,
    layers: int,
    heads: int,
    d_head: int,
    *,
    mlp: int = 0,
    spread: float = 0.02,
    seed: int = 0,
) -> Any:
    """The module, with matrices drawn from a Gaussian of standard deviation `spread`; `mlp`
    neurons a layer, GPT-2's GELU.

    Raises `CircuitError` for sizes that make no model.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    _check(context, layers, heads, d_head, mlp)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=context,
        n_embd=heads * d_head,
        n_layer=layers,
        n_head=heads,
        n_inner=mlp or 1,
        tie_word_embeddings=False,
        initializer_range=spread,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        hf = GPT2LMHeadModel(config)
    hold_still(hf, layers, mlp)
    return hf


@torch.no_grad()
def hold_still(hf: Any, layers: int, mlp: int) -> None:
    """Put at nothing, and keep from training, what an attention-only model does not have."""
    for name, parameter in hf.named_parameters():
        absent = (".mlp." in name and not mlp) or (".wpe." in name and not layers)
        if absent:
            parameter.zero_()
        learns = ".mlp." in name if parameter.ndim == 1 else True
        parameter.requires_grad_(learns and not absent)


def _check(context: int, layers: int, heads: int, d_head: int, mlp: int) -> None:
    if layers not in (0, 1, 2):
        raise CircuitError(f"small models have 0, 1 or 2 layers, not {layers}")
    if heads < 1 or d_head < 1:
        raise CircuitError(
            f"{heads} heads of {d_head} dimensions make no model: at least one of each is needed"
        )
    if context < 16:
        raise CircuitError(
            f"a context of {context} tokens is too short for anything to come back in it: at least "
            "16 are needed"
        )
    if mlp < 0:
        raise CircuitError(f"an MLP has 0 neurons (none) or more, not {mlp}")
