"""One pair of tokens through a head's circuits, and tokens by what is said of them."""

from typing import NamedTuple

import torch

from loci.circuits.embedding_maps import embed, unembed
from loci.circuits.heads import View, head
from loci.circuits.nodes import check_top
from loci.circuits.token_circuit_results import ScoredToken
from loci.circuits.token_circuits import best_pairs, token_id, two_sides
from loci.model import Weights


class TokenPair(NamedTuple):
    """A head between two tokens: how much the one is looked at by the other, and what it then makes
    likelier."""

    source: str
    destination: str
    qk: float
    """QK[destination, source]."""
    rank: int
    """How many sources the destination would rather look at."""
    raises: tuple[ScoredToken, ...]
    own: float
    """OV[source, source]: how far the source raises itself."""


@torch.no_grad()
def token_pair(
    model: Weights, name: str, source: str, destination: str, *, top: int = 10, view: View = "gain"
) -> TokenPair:
    """One head between two tokens, by its full QK and OV circuits.

    Args:
        model: an open model or `open_weights`; nothing is run.
        name: as in `L1H3`.
        source: the token that is looked at, as text, or `#` and an id.
        destination: the token that looks.
        top: tokens that the source raises.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Returns: `TokenPair`.
    Raises: `ModelError` for a head that is not there, `CircuitError` for what is not one token.
    Cost: 4 · d_vocab · d_head · d_model multiplications.
    Source: Elhage et al. 2021.
    """
    check_top(top)
    seen, looking = token_id(model, source), token_id(model, destination)
    asked, E, U = head(model, name, view), embed(model, view), unembed(model, view)
    sides = two_sides(
        model, asked.qk.left, asked.qk.right, asked.ov.left, asked.ov.right, E.matrix.T, U.matrix,
        asked.key_bias,
    )  # fmt: skip
    row = sides.keys @ sides.queries[looking] + sides.bias
    ov = sides.ov(torch.tensor([seen]))[:, 0]
    return TokenPair(
        model.token_text(seen),
        model.token_text(looking),
        float(row[seen]),
        int((row > row[seen]).sum()),
        best_pairs(model, ov, top),
        float(ov[seen]),
    )
