"""Scores of heads that are measured in a run, on a text that repeats; what each means stands in
`scores`."""

from functools import partial
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from loci.circuits.heads import outputs
from loci.circuits.repeated import RepeatedTokens
from loci.model import Model
from loci.progress import Progress, silent
from loci.stats import Estimate, mean

MEASURED = ("previous_token", "duplicate", "induction", "first", "current", "entropy", "copying")
BATCH_TOKENS = 2048
RESAMPLES = 500


@torch.no_grad()
def scores_on(
    model: Model, text: RepeatedTokens, progress: Progress = silent
) -> list[tuple[int, int, dict[str, Estimate]]]:
    """Measured scores of all heads on text that repeats.

    Args:
        model: an open model; it is left as it was.
        text: from `repeated_tokens` or `repeat`.
        progress: called with (steps done, steps in all).

    Returns: (layer, head, {score: estimate}) for each head; what the scores mean stands in
        `scores`.
    """
    if not model.n_layers:
        return []
    parts: list[list[dict[str, Tensor]]] = [[] for _ in range(model.n_layers)]
    batches = text.ids.split(max(1, BATCH_TOKENS // text.width))
    for ids in batches:
        visits = {}
        for layer, part in enumerate(parts):
            part.append({})
            visits[f"v.{layer}"] = partial(
                _keep, part[-1], "copying", partial(copied, model, layer, ids, text)
            )
            visits[f"attn_probs.{layer}"] = partial(_keep, part[-1], None, partial(looked, text))
        model.visit(ids, visits)
        progress(1, len(batches))
    rows = []
    for layer, part in enumerate(parts):
        joined = {name: torch.cat([batch[name] for batch in part]) for name in MEASURED}
        for head in range(model.n_heads):
            rows.append(
                (
                    layer,
                    head,
                    {
                        name: mean(joined[name][:, head].tolist(), samples=RESAMPLES)
                        for name in MEASURED
                    },
                )
            )
    return rows


def _keep(into: dict[str, Tensor], name: str | None, score: Any, tensor: Tensor) -> None:
    value = score(tensor)
    into.update(value if name is None else {name: value})


def looked(
    text: RepeatedTokens, probs: Float[Tensor, "sample head query key"]
) -> dict[str, Float[Tensor, "sample head"]]:
    """Where a pattern looks: the scores of the module, each a mean over positions."""
    A, again, start = probs.float(), text.again, text.start

    def back(offset: int, positions: range) -> Tensor:
        return A.diagonal(-offset, -2, -1)[..., positions.start - offset :]

    def earlier(after: int) -> Tensor:
        """Attention to what stands `after` the earlier places of the token, summed over those
        places."""
        total = torch.zeros_like(A[..., again.start :, 0])
        for k in range(1, text.repeats):
            far = k * text.length
            positions = range(start + far, text.width)
            total[..., positions.start - again.start :] += back(far - after, positions)
        return total

    scores = {
        "previous_token": back(1, range(max(start, 1), text.width)),
        "duplicate": earlier(0),
        "induction": earlier(1),
        "first": A[..., again.start :, 0],
        "current": back(0, again),
        "entropy": torch.special.entr(A[..., again.start :, :]).sum(-1),
    }
    return {name: score.mean(-1).cpu() for name, score in scores.items()}


def copied(
    model: Model,
    layer: int,
    ids: Tensor,
    text: RepeatedTokens,
    v: Float[Tensor, "sample position kv_head d_head"],
) -> Float[Tensor, "sample head"]:
    """How much of what the first block's sources raise, among the block's tokens, is themselves:
    2 r − 1, mean over sources."""
    block = slice(text.start, text.start + text.length)
    values = v[:, block].float().repeat_interleave(model.n_heads // model.n_kv_heads, 2)
    final = model.norm("final_norm")
    read = model.W_U[ids[:, block]].float() * final.gain.float()
    read = read - read.mean(-1, keepdim=True) if final.centres else read
    logits = einsum(
        read, outputs(model, layer), values, "s out m, h m d, s source h d -> s h source out"
    )
    raised = (logits - logits.mean(-1, keepdim=True)).relu()
    own = raised.diagonal(dim1=-2, dim2=-1) / raised.sum(-1).clamp(min=1e-30)
    return (2 * own - 1).mean(-1).cpu()
