"""Means of states over text: what stands in the place of a part that is taken away."""

import torch
from jaxtyping import Float
from torch import Tensor

from loci.model import Model, by_length
from loci.survey import sample_text

MEAN_TOKENS = 4000


@torch.no_grad()
def text_means(model: Model, *points: str) -> dict[str, Float[Tensor, " width"]]:
    """Mean of each point over the embedded text, BOS left out. Cost: one run over 4,000 tokens."""
    texts = [model.tokenize(text) for text in sample_text(model, MEAN_TOKENS)]
    sums: dict[str, Tensor] = {}
    seen = 0
    for batch in by_length(texts, len, 4096):
        reads = model.read(model.ids([texts[i].ids for i in batch]), *points)
        skip = texts[batch[0]].special
        for point in points:
            sums[point] = sums.get(point, 0) + reads[point][:, skip:].float().sum((0, 1))
        seen += len(batch) * (len(texts[batch[0]]) - skip)
    return {point: total / seen for point, total in sums.items()}
