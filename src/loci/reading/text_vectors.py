"""Words and prompts as vectors of the residual stream's width.

A word stands as in the middle of a sentence, so a one-token word has its leading space. At `embed`
a text is the mean of its tokens' embeddings as the model scales them; elsewhere it is its last
token, run behind what stands before a text (BOS).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from loci.errors import FactError, ModelError
from loci.model import Model, by_length
from loci.model.points import RESIDUAL, parse_point

CARRIER = "a "
DRAWS = 10
"""Random directions that a measured one is compared with."""


@torch.no_grad()
def vectors(model: Model, texts: Sequence[str], point: str) -> Float[Tensor, "text d_model"]:
    """Each text at a point of the residual stream's width, in float64: the mean of its tokens at
    `embed`, else its last token.

    Raises `FactError` for a text without tokens, `ModelError` for a point that is not there or of
    another width.
    """
    parsed, _ = parse_point(point, model.n_layers)
    if parsed.shape != RESIDUAL:
        raise ModelError(
            f"a direction is of the residual stream's width; {point!r} is [{parsed.shape}]"
        )
    rows = [word_ids(model, text) for text in texts]
    states = torch.empty(len(texts), model.d_model, dtype=torch.float64)
    for batch in by_length(rows, lambda row: len(row[0]) + len(row[1]), 4096):
        before = len(rows[batch[0]][0])
        read = model.read(model.ids([(*rows[i][0], *rows[i][1]) for i in batch]), point)[point][
            :, before:
        ].double()
        states[torch.tensor(batch)] = (
            read.mean(1) if parsed.name == "embed" else read[:, -1]
        ).cpu()
    return states


def word_ids(model: Model, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of the tokens before a text, and of the text's tokens as in the middle of a sentence."""
    word = text.strip()
    if not word:
        raise FactError("an empty text has no direction: every word needs a letter")
    tokens = model.tokenize(CARRIER + word)
    start, end = tokens.span((len(CARRIER), len(CARRIER) + len(word)))
    return tokens.ids[: tokens.special], tokens.ids[start:end]


def cosines_of(x: Float[Tensor, "i d"], y: Float[Tensor, "j d"]) -> Float[Tensor, "i j"]:
    return normalize(x, dim=-1) @ normalize(y, dim=-1).T


def random_like(x: Float[Tensor, "*any d"], generator: torch.Generator) -> Float[Tensor, "*any d"]:
    """Random directions of the same norms."""
    drawn = normalize(torch.randn(x.shape, generator=generator, dtype=torch.float64), dim=-1)
    sized: Tensor = drawn * x.double().norm(dim=-1, keepdim=True)
    return sized
