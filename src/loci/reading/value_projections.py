"""Weights alone, for all neurons of a layer: cosines of keys and values, and the tokens that
each value promotes.

    cosine = cos(key, value)     near −1 erases what it finds ("memory management"), near 1
                                 amplifies it
    scores = W_U (γ ⊙ (v − v̄))   through the final norm's centring and gain, without its scale:
                                  they rank tokens, they are no logits

In a gated MLP the key is the gate's row, and the up projection's row scales the neuron: `up_cosine`
is between that row and the value, and `gate_up_cosine` between both rows. Sources: Geva et al.
2021, 2022; Elhage et al. 2021 (memory management).
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from loci.model import Weights
from loci.model.updates import key_value_cosines

BLOCK = 2**24
"""Scores held at a time, neurons × tokens: 64 MiB."""


Scored = tuple[tuple[str, float], ...]
"""Tokens with their projections."""


class Promoted(NamedTuple):
    """The tokens at both ends of the values' projections, and how much of a softmax over them
    the first takes."""

    promotes: Int[Tensor, "neuron top"]
    promoted: Float[Tensor, "neuron top"]
    suppresses: Int[Tensor, "neuron top"]
    suppressed: Float[Tensor, "neuron top"]
    peak: Float[Tensor, " neuron"]


def written(
    weights: Weights, layer: int, expert: int | None = None
) -> Float[Tensor, "neuron d_model"]:
    """The values of a layer, a row each; through the gain of a norm behind the MLP, where a
    family has one."""
    values = weights.W_down(layer, expert).float().T
    return (
        values * weights.norm("mlp_post", layer).gain.float() if weights.layout.mlp_post else values
    )


@torch.no_grad()
def promoted(weights: Weights, value: Float[Tensor, " d_model"], top: int) -> tuple[Scored, Scored]:
    """The tokens that a value promotes and suppresses most.

    Args:
        weights: an open model or `open_weights`; nothing is run.
        value: [d_model].
        top: tokens of each end.

    Returns: (promoted, suppressed), as (token, score).
    """
    scores = project(weights, value)
    return _named(weights, scores.topk(top)), _named(weights, scores.topk(top, largest=False))


def _named(weights: Weights, best: torch.return_types.topk) -> Scored:
    return tuple(
        (weights.token_text(i), s)
        for i, s in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


@torch.no_grad()
def project(
    weights: Weights, vectors: Float[Tensor, "*any d_model"]
) -> Float[Tensor, "*any d_vocab"]:
    """W_U (γ ⊙ (v − v̄)): residual directions in the vocabulary, without the norm's scale and bias.

    Args:
        weights: an open model or `open_weights`; nothing is run.
        vectors: […, d_model].

    Returns: […, d_vocab], float32. Scores rank tokens; they are no logits.
    """
    gain, _, centres = weights.norm("final_norm")
    vectors = vectors.to(weights.dtype)
    centred = vectors - vectors.mean(-1, keepdim=True) if centres else vectors
    return ((gain * centred) @ weights.W_U.T).float()


@torch.no_grad()
def lie(weights: Weights, layer: int) -> dict[str, Float[Tensor, " neuron"]]:
    """Cosines and norms of a layer's keys and values, and the thresholds (biases times −1)."""
    key, value = weights.W_key(layer).float(), weights.W_down(layer).float().T
    measures = {
        "cosine": key_value_cosines(weights, layer),
        "key_norm": key.norm(dim=1),
        "value_norm": value.norm(dim=1),
        "threshold": -weights.b_key(layer).float(),
    }
    if weights.gated:
        up = weights.W_up(layer).float()
        measures |= {
            "up_cosine": cosine_similarity(up, value),
            "gate_up_cosine": cosine_similarity(key, up),
        }
    return {name: tensor.cpu() for name, tensor in measures.items()}


@torch.no_grad()
def promoted_by(weights: Weights, layer: int, top: int = 10) -> Promoted:
    """The tokens at both ends of all values' projections of a layer.

    Args:
        weights: an open model or `open_weights`; nothing is run.
        layer: 0 … n_layers − 1.
        top: tokens of each end.

    Returns: `Promoted`, [neuron, top].
    Cost: d_mlp · d_model · d_vocab multiplications, in blocks: never neurons × vocabulary at once.
    """
    parts = [_ends(scores, top) for scores in _projections(weights, written(weights, layer))]
    return Promoted(*(torch.cat(columns).cpu() for columns in zip(*parts, strict=True)))


def _projections(
    weights: Weights, values: Float[Tensor, "neuron d_model"]
) -> Iterator[Float[Tensor, "some d_vocab"]]:
    for some in values.split(max(1, BLOCK // weights.d_vocab)):
        yield project(weights, some)


def _ends(scores: Float[Tensor, "some d_vocab"], top: int) -> Promoted:
    most, least = scores.topk(top), scores.topk(top, largest=False)
    peak = (most.values[:, 0] - scores.logsumexp(-1)).exp()
    return Promoted(most.indices, most.values, least.indices, least.values, peak)


Near = list[tuple[int, float]]


@torch.no_grad()
def nearest(
    weights: Weights,
    layer: int,
    neuron: int,
    count: int = 5,
    side: str = "value",
    expert: int | None = None,
) -> Near:
    """The neurons of a layer whose values (or keys) point most nearly the same way.

    Args:
        weights: an open model or `open_weights`; nothing is run.
        layer: 0 … n_layers − 1.
        neuron: 0 … d_mlp − 1.
        count: neurons listed.
        side: "value" or "key".
        expert: of a mixture.

    Returns: (neuron, cosine), the largest first.
    """
    rows = (
        written(weights, layer, expert) if side == "value" else weights.W_key(layer, expert).float()
    )
    return _near(normalize(rows, dim=1), torch.tensor([neuron]), count)[0]


@torch.no_grad()
def all_nearest(weights: Weights, layer: int, count: int = 5) -> list[Near]:
    """The same for the values of all neurons of a layer, in blocks."""
    rows = normalize(written(weights, layer), dim=1)
    blocks = torch.arange(len(rows)).split(max(1, BLOCK // len(rows)))
    return [near for block in blocks for near in _near(rows, block, count)]


def _near(
    rows: Float[Tensor, "neuron d_model"], asked: Int[Tensor, " some"], count: int
) -> list[Near]:
    cosines = rows[asked] @ rows.T
    cosines[torch.arange(len(asked)), asked] = -torch.inf
    best = cosines.topk(min(count, len(rows) - 1))
    return [
        list(zip(*pair, strict=True))
        for pair in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
