"""A layout that matches is not believed until the parts add up: one short run on opening, and refusal where they do not.

    resid_pre + attn_out + mlp_out = resid_post        W_down · mlp_act + bias = mlp_out        unembed(resid_post) = logits

Parallel blocks, norms behind the sub-layers, scaled residuals and scaled logits all fail one of these. Cost: a run over four tokens.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from loci.errors import ModelError

if TYPE_CHECKING:
    from loci.model.model import Model

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 1e-1}


@torch.no_grad()
def check(model: "Model") -> None:
    """Raise `ModelError` unless the model's parts, as the layout names them, make up the model."""
    layers = sorted({0, model.n_layers - 1})
    names = [
        f"{point}.{layer}"
        for layer in layers
        for point in ("resid_pre", "attn_out", "resid_mid", "mlp_act", "mlp_out", "resid_post")
    ]
    ids = torch.arange(4, device=model.device)[None] % model.d_vocab
    with model.watch(*names) as at:
        logits = model(ids)
    if not logits.isfinite().all():
        return  # broken weights are another matter, and are reported where they are used
    for layer in layers:
        pre, attn, mid, act, out, post = (at[name] for name in names[6 * layers.index(layer) :][:6])
        bias = getattr(model.module("down", layer), "bias", None)
        written = act @ model.W_down(layer).T + (bias if isinstance(bias, Tensor) else 0)
        _same(model, f"block {layer}: resid_pre + attn_out is not what the MLP's norm reads", pre + attn, mid)
        _same(model, f"block {layer}: resid_pre + attn_out + mlp_out is not resid_post", pre + attn + out, post)
        _same(model, f"block {layer}: W_down times the neurons is not the MLP's output", written, out)
    _same(model, "the final norm and the unembedding of the last block's output are not the logits", model.unembed(post), logits)


def _same(model: "Model", what: str, found: Tensor, expected: Tensor) -> None:
    scale = float(expected.abs().max()) or 1.0
    error = float((found - expected).abs().max()) / scale
    if error > TOLERANCE.get(expected.dtype, 1e-2):
        raise ModelError(
            f"{type(model.hf).__name__} looks like {model.layout.family!r}, but {what} (off by {error:.1%}): this family is not supported yet"
        )
