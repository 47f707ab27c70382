"""How much each order of paths is worth: the loss when paths through more than n heads are
removed, with patterns and norms held.

    loss(n) = −mean ln softmax(unembed(Σ_{k ≤ n} x⁽ᵏ⁾))[next token]

Order 0 is the bigram part (with MLPs' outputs as they were, where there are any), order 1 all
single heads, higher ones virtual heads. A removal leaves the patterns as the whole model made them:
what is measured is what paths carry, not what attention needs to find its way.
Source: Elhage et al. 2021 ("Term importance analysis").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.circuits.frozen_run import freeze
from loci.circuits.path_expansion import by_order
from loci.errors import CircuitError
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.tables import Table, columns
from loci.text import sample_text

TOKENS = 4000


@dataclass(frozen=True)
class OrderLosses(Result):
    """Mean loss in nats a token, over texts, when only paths of at most 0, 1, 2 … heads are
    left."""

    about: ClassVar[About] = About(
        "orders of paths",
        "How much of the loss do paths through 0, 1, 2 heads explain?",
        "Loss when only paths up to an order are kept.",
        "circuits_paths.losses_figure",
    )

    model: str
    bos: bool
    texts: int
    tokens: int
    losses: tuple[Estimate, ...]
    gains: tuple[Estimate, ...]
    """The loss up to the order before, less the loss with this order, over texts: positive where
    the order helps. Order 0 has none.
    """
    exact: bool
    """Whether no MLP wrote anything, so that these are all paths."""

    def title(self) -> str:
        return (
            f"Loss of {self.model} by orders of paths, {self.texts} texts, {self.tokens:,} tokens"
        )

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (str(n), loss, self.gains[n - 1] if n else None) for n, loss in enumerate(self.losses)
        )
        heads = ("heads, at most", "loss|.3g|nats", "taken off by the last order")
        return (Table("By order", columns(*heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        estimates = {
            name: [estimate.to_dict() for estimate in getattr(self, name)]
            for name in ("losses", "gains")
        }
        return {"schema": "loci.order_losses/1", **vars(self), **estimates}


@torch.no_grad()
def order_losses(
    model: Model, texts: Sequence[str] | None = None, *, progress: Progress = silent
) -> OrderLosses:
    """Loss when paths through more than n heads are removed, for every n.

    Args:
        model: an open model; it is left as it was.
        texts: one unit each; None: 4,000 tokens of the embedded text.
        progress: called with (steps done, steps in all).

    Returns: `OrderLosses`: mean loss in nats by order, with 95 % intervals.
    Raises: `CircuitError` where no text has two tokens.
    Cost: For each text, n_layers² attentions with frozen patterns and n_layers unembeddings.
    Source: Elhage et al. 2021 ("Term importance analysis").
    """
    by_text: list[list[float]] = []
    tokens, exact = 0, True
    chosen = sample_text(model, TOKENS) if texts is None else texts
    for text in chosen:
        ids = model.tokenize(text).ids[: model.n_ctx]
        if len(ids) >= 2:
            losses, alone = _losses(model, ids)
            by_text.append(losses)
            tokens, exact = tokens + len(ids) - 1, exact and alone
        progress(1, len(chosen))
    if not by_text:
        raise CircuitError("no text has two tokens: there is nothing to predict")
    orders = list(zip(*by_text, strict=True))
    gains = [[a - b for a, b in zip(low, high, strict=True)] for low, high in pairwise(orders)]
    return OrderLosses(
        model.name,
        model.with_bos,
        len(by_text),
        tokens,
        tuple(map(mean, orders)),
        tuple(map(mean, gains)),
        exact,
    )


def _losses(model: Model, ids: Sequence[int]) -> tuple[list[float], bool]:
    """Mean loss of one text by the highest order left, and whether there are attentions alone."""
    frozen = freeze(model, model.ids([ids]))
    terms = by_order(frozen, model.n_layers)
    left: Float[Tensor, "order row position d_model"] = (
        torch.stack(list(terms.values())).sum(0).cumsum(0)
    )
    following = model.ids([ids])[:, 1:, None]
    losses = []
    for stream in left:
        normed, loss = frozen.normed(stream), 0.0
        for some in torch.arange(following.shape[1]).split(model.rows_at_once):
            logprobs = frozen.project(normed[:, some]).log_softmax(-1)
            loss -= float(logprobs.gather(-1, following[:, some]).double().sum())
        losses.append(loss / following.numel())
    return losses, not frozen.has_mlps
