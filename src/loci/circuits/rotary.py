"""How positions turn keys: scores = qᵀ R_Δ k · scale, with Δ = destination − source.

Asked of the model, as families rotate in different ways (halves or pairs, all of a head or a part,
with norms of queries and keys): with unit vectors in the place of queries and keys, the scores
before the softmax are the entries of scale · R_Δ. The scale is their mean diagonal at Δ = 0. What
adds to scores whatever q and k are (ALiBi) is taken off; where queries and keys have a norm of
their own, its gain is in R and its length is not, as it differs from vector to vector. Families
without rotation have R = 1 at every Δ.
Cost: a layer's attention on d_head · (d_head + Δ) tokens.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import CircuitError
from loci.model import Model

MASKED = 1e9


@torch.no_grad()
def rotation(model: Model, layer: int, offset: int) -> Float[Tensor, "n_heads d_head d_head"]:
    """R_Δ of every head of a layer, at an offset of 0 or more.

    Raises `CircuitError` beyond the context or the layer's window.
    """
    if offset < 0:
        raise CircuitError(f"a head looks back: an offset is 0 or more, not {offset}")
    if model.n_ctx is not None and offset >= model.n_ctx:
        raise CircuitError(
            f"an offset of {offset} is beyond the context of {model.n_ctx} positions"
        )
    scale = _products(model, layer, 0).diagonal(dim1=-2, dim2=-1).mean()
    return _products(model, layer, offset) / scale


def _products(model: Model, layer: int, offset: int) -> Float[Tensor, "n_heads d_head d_head"]:
    """scale · R_Δ, in blocks of as many keys as the context has room for."""
    width = min(model.d_head, (model.n_ctx or model.d_head + offset) - offset)
    with model.eager():  # so that the masks are recorded, and windows with them
        run = model.record(
            torch.zeros(1, width + offset, dtype=torch.long, device=model.device), logits=False
        )
    units = torch.eye(model.d_head, device=model.device, dtype=model.dtype)
    queries = torch.cat([units, torch.zeros_like(units[:1])])
    blocks = []
    for keys in units.split(width):

        def ask(q: Tensor) -> Tensor:
            return queries[:, None, None].expand_as(q)

        def answer(k: Tensor, keys: Tensor = keys) -> Tensor:
            k = torch.zeros_like(k)
            k[:, : len(keys)] = keys[None, :, None]
            return k

        reads: list[Tensor] = []
        with model.patched(
            {f"q.{layer}": ask, f"k.{layer}": answer, f"attn_scores.{layer}": reads.append}
        ):
            run.step(layer, run.resid_pre(layer).expand(len(queries), -1, -1))
        scores = reads[0].diagonal(-offset, -2, -1)[..., : len(keys)].float()
        if not float(scores.abs().max()) < MASKED:
            raise CircuitError(f"layer {layer} does not look back {offset} positions")
        blocks.append(scores[:-1] - scores[-1:])
    return torch.cat(blocks, -1).transpose(0, 1)
