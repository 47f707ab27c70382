"""Full QK and OV circuits of a head, from token to token, read in blocks of source
tokens.

    QK[d, s] = E_dᵀ W_QK E_s / √d_head + key bias, less its mean over sources       who looks at s
    OV[o, s] = U_o W_OV E_s, less its mean over outs
            what s then makes likelier
    skip-trigram  s … d → o,  strength QK[d, s] · OV[o, s] where both are positive

E are tokens as a norm leaves them, U the unembedding with the final norm's gain (see
`embedding_maps`); so OV is in logits up to the final norm's scale, and both are exact for the first
layer but for positions. In higher layers they are what the head would do if the stream still held
the token's own embedding: a head that reads what lower layers wrote does more than stands here. QK
and OV are learnt as one product each, so a head that serves s … d → o and s … d' → o' serves s … d
→ o' as well: such bugs of the factored form are among the trigrams.

Copying, twice: Σλ/Σ|λ| of the full OV circuit (its authors' warning: positive eigenvalues prove no
copying), and directly, the share of sources that raise themselves most of all tokens. Cost: 4 ·
d_vocab² · d_head products for a head. Memory: two blocks [d_vocab, 256]; never vocabulary ×
vocabulary. Source: Elhage et al. 2021.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.circuits.embedding_maps import embed, unembed
from loci.circuits.heads import View, head
from loci.circuits.nodes import check_top
from loci.circuits.token_circuit_results import ScoredToken, SkipTrigram, TokenCircuit, TokenSource
from loci.errors import CircuitError
from loci.model import Weights
from loci.progress import Progress, silent
from loci.stats import share

BLOCK = 256


class _Sides(NamedTuple):
    """A head between tokens in its own r dimensions, centred as in the module."""

    queries: Float[Tensor, "token r"]
    keys: Float[Tensor, "token r"]
    bias: Float[Tensor, " token"]
    values: Float[Tensor, "token r"]
    outs: Float[Tensor, "token r"]

    def qk(self, sources: Int[Tensor, " block"]) -> Float[Tensor, "token block"]:
        return self.queries @ self.keys[sources].T + self.bias[sources]

    def ov(self, sources: Int[Tensor, " block"]) -> Float[Tensor, "token block"]:
        return self.outs @ self.values[sources].T


@torch.no_grad()
def token_circuit(
    model: Weights,
    name: str,
    *,
    sources: Sequence[str] = (),
    top: int = 10,
    view: View = "gain",
    offset: int | None = None,
    progress: Progress = silent,
) -> TokenCircuit:
    """Full QK and OV circuits of one head, from token to token, and its skip-trigrams.

    Args:
        model: an open model or `open_weights`; nothing is run.
        name: as in `L1H3`.
        sources: single tokens as text, or `#` and an id; empty: those of the strongest trigrams.
        top: entries listed.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        offset: tokens between query and key at which rotary keys are compared; None: no rotation.
        progress: called with (steps done, steps in all).

    Returns: `TokenCircuit`.
    Raises: `ModelError` for a head that is not there, `CircuitError` for a source that is not one
        token.
    Cost: 4 · d_vocab² · d_head multiplications; memory: two blocks [d_vocab, 256].
    Source: Elhage et al. 2021.
    """
    check_top(top)
    asked = [token_id(model, text) for text in sources]
    asked_head, E, U = head(model, name, view, offset), embed(model, view), unembed(model, view)
    sides = two_sides(
        model,
        asked_head.qk.left,
        asked_head.qk.right,
        asked_head.ov.left,
        asked_head.ov.right,
        E.matrix.T,
        U.matrix,
        asked_head.key_bias,
    )
    special = set(model.tokenizer.all_special_ids)
    usable = torch.tensor([token for token in range(len(sides.keys)) if token not in special])
    own: list[bool] = []
    best: list[tuple[float, int, int, int]] = []
    blocks = usable.split(BLOCK)
    for block in blocks:
        own += _ranks(sides.ov(block), block).eq(0).tolist()
        best = heapq.nlargest(top, [*best, *_trigrams(sides, block, top)])
        progress(1, len(blocks))
    chosen = asked or list(dict.fromkeys(source for _, source, _, _ in best))
    return TokenCircuit(
        model=model.name,
        head=name,
        view=view,
        offset=offset,
        tokens=len(usable),
        copying_positivity=(U @ asked_head.ov @ E).positivity,
        qk_positivity=asked_head.qk.on_key(E).on_query(E).positivity,
        copies=share(own),
        trigrams=tuple(_trigram(model, *trigram) for trigram in best),
        sources=tuple(_source(model, sides, token, top) for token in chosen),
    )


def two_sides(
    model: Weights,
    query: Tensor,
    key: Tensor,
    write: Tensor,
    read: Tensor,
    E: Tensor,
    U: Tensor,
    key_bias: Tensor,
) -> _Sides:
    scale = model.d_head**-0.5
    keys, outs, bias = E @ key.T, U @ write, E @ key_bias * scale
    return _Sides(
        E @ query * scale, keys - keys.mean(0), bias - bias.mean(), E @ read.T, outs - outs.mean(0)
    )


def _ranks(ov: Float[Tensor, "token block"], block: Int[Tensor, " block"]) -> Int[Tensor, " block"]:
    """How many tokens each source raises more than itself."""
    ranks: Tensor = (ov > ov[block, torch.arange(len(block))]).sum(0)
    return ranks


def _trigrams(
    sides: _Sides, block: Int[Tensor, " block"], top: int
) -> list[tuple[float, int, int, int]]:
    """(strength, source, destination, out): the strongest of a block."""
    few = min(top, len(sides.keys))
    seen, raised = sides.qk(block).topk(few, dim=0), sides.ov(block).topk(few, dim=0)
    products = seen.values.clamp(min=0)[:, None] * raised.values.clamp(min=0)[None]
    best = products.flatten().topk(min(top, products.numel()))
    rows = []
    for strength, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        d, rest = divmod(place, few * len(block))
        o, s = divmod(rest, len(block))
        rows.append((strength, int(block[s]), int(seen.indices[d, s]), int(raised.indices[o, s])))
    return rows


def _trigram(
    model: Weights, strength: float, source: int, destination: int, out: int
) -> SkipTrigram:
    return SkipTrigram(
        model.token_text(source), model.token_text(destination), model.token_text(out), strength
    )


def _source(model: Weights, sides: _Sides, token: int, top: int) -> TokenSource:
    block = torch.tensor([token])
    qk, ov = sides.qk(block)[:, 0], sides.ov(block)
    seen, raised = (best_pairs(model, scores, top) for scores in (qk, ov[:, 0]))
    return TokenSource(model.token_text(token), seen, raised, int(_ranks(ov, block)))


def best_pairs(
    model: Weights, scores: Float[Tensor, " token"], top: int
) -> tuple[ScoredToken, ...]:
    best = scores.topk(min(top, len(scores)))
    return tuple(
        ScoredToken(model.token_text(i), x)
        for i, x in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def token_id(model: Weights, text: str) -> int:
    """A token's number, from its text or as `#123`.

    Raises `CircuitError` for what is several tokens, or none of the vocabulary's.
    """
    if text.startswith("#") and text[1:].isdecimal():
        if int(text[1:]) >= model.d_vocab:
            raise CircuitError(
                f"there is no token {text}: the vocabulary of {model.name!r} is #0 … "
                f"#{model.d_vocab - 1}"
            )
        return int(text[1:])
    ids: list[int] = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise CircuitError(
            f"{text!r} is no token: say one as it stands in text, as in ' the', or by its number, "
            "as in #123"
        )
    if max(ids) >= model.d_vocab:
        raise CircuitError(
            f"{text!r} is the token #{max(ids)}: the vocabulary of {model.name!r} is #0 … "
            f"#{model.d_vocab - 1}"
        )
    if len(ids) != 1:
        parts = ", ".join(repr(model.token_text(token)) for token in ids)
        raise CircuitError(
            f"{text!r} is {len(ids)} tokens ({parts}), not one: most words begin with a space, as "
            f"in {' ' + text.strip()!r}"
        )
    return ids[0]
