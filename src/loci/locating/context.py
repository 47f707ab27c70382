"""How local is what a layer makes of a token: the same token behind its last few tokens alone,
against its whole context.

    similarity (layer, k) = cos(x − x̄, x_k − x̄)  x behind the whole context, x_k behind BOS and k
                                                   − 1 tokens, x̄ the layer's mean

If early layers look names up, they need only the name: there similarity is high already for small
k, and falls in later layers, which use the whole context. Source: Nanda et al. 2023 (Fact Finding),
post 5: soft specialisation, no sharp border.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.locating.probing import states
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean

LENGTHS = (1, 2, 3, 5, 8)


@dataclass(frozen=True)
class LocalContext(Result):
    """Mean-centred cosine with the whole context, by number of tokens kept: as the first block
    finds the stream, then after each layer.
    """

    about: ClassVar[About] = About(
        "",
        "",
        "",
        "lookup.part_figure",
    )

    model: str
    bos: bool
    texts: int
    similarity: dict[int, tuple[Estimate, ...]]

    def to_dict(self) -> dict[str, Any]:
        rows = {
            str(k): [estimate.to_dict() for estimate in row] for k, row in self.similarity.items()
        }
        return {
            "schema": "loci.local_context/1",
            "model": self.model,
            "bos": self.bos,
            "texts": self.texts,
            "similarity": rows,
        }


@torch.no_grad()
def local_context(
    model: Model,
    texts: Sequence[str],
    *,
    lengths: Sequence[int] = LENGTHS,
    progress: Progress = silent,
) -> LocalContext:
    """Compare the last token of texts with itself behind fewer tokens; texts that are not longer
    than the longest cut are left out.

    Cost: a run over the texts, and a short one for each length. Raises `FactError` for lengths
    below 1 and fewer than two texts.
    """
    if not lengths or min(lengths) < 1:
        raise FactError(f"a context has at least one token, not {min(lengths, default=0)}")
    tokens = [model.tokenize(text) for text in texts if text.strip()]
    long = [text for text in tokens if len(text) - text.special > max(lengths)]
    if len(long) < 2:
        raise FactError(
            f"two texts of more than {max(lengths)} tokens are needed: there are {len(long)}"
        )
    whole = states(model, [text.ids for text in long])
    centre = whole.mean(0)
    rows: dict[int, tuple[Estimate, ...]] = {}
    for k in lengths:
        cut = states(model, [(*text.ids[: text.special], *text.ids[-k:]) for text in long])
        rows[k] = tuple(mean(row) for row in _cosine(whole - centre, cut - centre).T.tolist())
        progress(1, len(lengths))
    return LocalContext(model.name, model.with_bos, len(long), rows)


def _cosine(
    a: Float[Tensor, "text layer d_model"], b: Float[Tensor, "text layer d_model"]
) -> Float[Tensor, "text layer"]:
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)
