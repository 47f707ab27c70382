"""The objective of an edit: target vectors, the joint search and calibration all minimise it.

    L =              mean −log P(new answer)    over edit prompts
      + retain     · mean KL(before ‖ after)    over retain prompts
      + neighbours · mean KL(before ‖ after)    over the edited questions about other subjects
      + text       · mean KL(before ‖ after)    over background text
      + size       · s²                         s: the change relative to what it is added to

Everything but s is in nats per token. KL is of the next-token distributions of the model as it is
(before) and with the change in place (after).

| caller                       | terms                                   | s² |
|------------------------------|-----------------------------------------|----|
| `targets`, one value a fact  | edit, retain, size                      | ‖δ‖² / ‖x‖² |
| `joint_search`, all facts    | edit, retain, neighbours, text, size    | Σ_l ‖ΔC^½‖² / ‖W C^½‖² |
| `calibration`, for one trial | edit, retain, text                      | – |

Source: the first two terms and the norm are Meng et al. 2022 (ROME), equation 4 and appendix E.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import kl_div

Term = TypeVar("Term", float, Tensor)


@dataclass(frozen=True)
class EditObjective:
    """The weights of the terms."""

    edit: float = 1.0
    retain: float = 1.0
    neighbours: float = 0.0
    text: float = 0.0
    size: float = 0.0

    def __call__(self, **terms: Term) -> Term:
        """The weighted sum of the terms that are given, by the names of the weights.

        Args:
            terms: numbers, or tensors of one shape, such as one entry per fact.
        """
        first, *rest = (getattr(self, name) * term for name, term in terms.items())
        total: Term = first
        for term in rest:
            total = total + term
        return total


def token_losses(
    after: Float[Tensor, "position column"],
    tokens: Int[Tensor, " position"],
    before: Float[Tensor, "retained column"],
) -> Float[Tensor, " position"]:
    """−log P(token) at positions that are edited, KL(before ‖ after) at those that are retained.

    Args:
        after: log-probabilities with the change in place.
        tokens: the column of the token that should follow; −1 where the position is retained.
        before: log-probabilities of the unchanged model at the retained positions, in their order.
    """
    retained = tokens < 0
    losses = torch.zeros(len(tokens), device=after.device)
    likelihoods = after[~retained].gather(-1, tokens[~retained][:, None])[:, 0]
    losses = losses.index_put((~retained,), -likelihoods)
    if not bool(retained.any()):
        return losses
    kl = kl_div(after[retained], before, log_target=True, reduction="none").sum(-1)
    return losses.index_put((retained,), kl)
