"""Editing by knowledge neurons, the baseline that moves no solver: what the strongest neurons
write is turned from the old answer to the new.

    neurons   those whose attribution at the last subject token exceeds `threshold` of the largest
              (integrated gradients from zero)
    values    W_down[:, i] ← W_down[:, i] + strength · ‖W_down[:, i]‖ · (u(new) − u(old)) / ‖u(new)
              − u(old)‖

u is the unembedding row of an answer's first token. Published edits add twice the difference of the
raw embeddings; relative to the value's norm the same strength means the same in every model.
Nothing protects other facts that fire the same neurons.
Source: Dai et al. 2022, section 5.1; thresholds as in `knowledge_neurons`, with the user's prompt
alone.
"""

from collections.abc import Sequence

import torch

from loci.errors import EditError
from loci.facts import Fact
from loci.locating import neuron_attribution
from loci.model import Model
from loci.model.answers import with_answer
from loci.patches import Factors, Patch
from loci.patches.factors import joined

THRESHOLD, STEPS, STRENGTH = 0.2, 20, 2.0


def edit_neurons(
    model: Model, facts: Sequence[Fact], *, threshold: float = THRESHOLD, strength: float = STRENGTH
) -> Patch:
    """A patch of the values of each fact's knowledge neurons.

    Cost: `STEPS` gradients from each layer for each fact. Raises `EditError`.
    """
    changes: dict[str, list[Factors]] = {}
    for fact in facts:
        if fact.new_answer is None:
            raise EditError(f"no new answer for {fact.text!r}: say fact.to(…)")
        turn = _unembedded(model, fact, fact.new_answer) - _unembedded(model, fact, fact.answer)
        scores = neuron_attribution(model, fact, baseline="zero", steps=STEPS).scores
        for layer in range(model.n_layers):
            cells = (scores[layer] > threshold * scores.max()).nonzero()[:, 0].to(model.device)
            if len(cells):
                sizes = model.W_down(layer)[:, cells].float().norm(dim=0)
                left = strength * torch.outer(turn / turn.norm().clamp(min=1e-9), sizes)
                right = torch.zeros(len(cells), model.d_mlp).scatter_(1, cells[:, None].cpu(), 1.0)
                changes.setdefault(f"W_down.{layer}", []).append(Factors(left.cpu(), right))
    factors = {name: joined(parts) for name, parts in changes.items()}
    return Patch(
        "knowledge neurons",
        model.fingerprint,
        model.name,
        factors,
        tuple(facts),
        {"threshold": threshold, "strength": strength},
    )


def _unembedded(model: Model, fact: Fact, answer: str) -> torch.Tensor:
    """The unembedding of an answer's first token, as it follows the prompt."""
    tokens, (first, _) = with_answer(model, fact.text, answer)
    return model.W_U[tokens.ids[first]].float()
