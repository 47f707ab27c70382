"""Measurements taken as a small model learns.

    loss          −ln P(token | those before it), nats, mean over held-out windows
    in_context    loss late in the window − loss early in it: below 0 where the text so far helps
            (late: last quarter; early: 1/16 to 1/4)
    induction, previous_token    head by head on repeated random tokens, see `loci.circuits.scores`
    kurtosis      excess kurtosis of the coordinates of the last residual stream over tokens, and of
                  the same in a random rotation

Single positions are too noisy for windows as short as these, so both ends of `in_context` are means
over positions. Made text has words of all kinds at all positions, so without context the score is
0. Sources: Olsson et al. 2022 (in-context learning score: token 500 − token 50); Elhage et al. 2023
(Privileged Bases in the Transformer Residual Stream).
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.circuits.measured_scores import looked
from loci.circuits.repeated import RepeatedTokens
from loci.model import Model
from loci.stats import Estimate, mean
from loci.survey import Moments, Rows, rotation

BATCH = 64
RESAMPLES = 500
EARLY, LATE = (1 / 16, 1 / 4), (3 / 4, 1.0)
Heads = tuple[tuple[float, ...], ...]
"""[layer][head]."""


@dataclass(frozen=True)
class TrainingCheckpoint:
    """A model after so many steps."""

    step: int
    tokens: int
    loss: Estimate
    in_context: Estimate
    induction: Heads
    previous_token: Heads
    kurtosis: Estimate
    rotated: Estimate

    @property
    def best_induction(self) -> float:
        """Prefix matching of the head that has most of it; 0 without heads."""
        return max((score for layer in self.induction for score in layer), default=0.0)

    @property
    def best_previous(self) -> float:
        return max((score for layer in self.previous_token for score in layer), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.to_dict() if isinstance(value, Estimate) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "TrainingCheckpoint":
        def read(value: Any) -> Any:
            if isinstance(value, dict):
                row: dict[str, Any] = {
                    name: float("nan") if x is None else x for name, x in value.items()
                }
                return Estimate(**row)
            return tuple(tuple(layer) for layer in value) if isinstance(value, list) else value

        return cls(**{name: read(value) for name, value in record.items()})


@torch.no_grad()
def measured(
    model: Model,
    step: int,
    tokens: int,
    held_out: Int[Tensor, "window context"],
    repeated: RepeatedTokens,
) -> TrainingCheckpoint:
    """Everything above. Cost: a run over what is held out, and one over the repeated tokens."""
    batches, own, turned = [], Moments(), Moments(rotation(model.d_model, model.d_model))
    for ids in held_out.split(BATCH):
        loss, stream = losses(model, ids)
        batches.append(loss)
        for moments in (own, turned):
            moments.update(stream[:, 1:], Rows(ids[:, 0], ids[:, 0]))
    loss = torch.cat(batches)
    return TrainingCheckpoint(
        step=step,
        tokens=tokens,
        loss=mean(loss.mean(1).tolist(), samples=RESAMPLES),
        in_context=in_context(loss),
        **_heads(model, repeated),
        kurtosis=mean(own.kurtosis.tolist(), samples=RESAMPLES),
        rotated=mean(turned.kurtosis.tolist(), samples=RESAMPLES),
    )


def _heads(model: Model, repeated: RepeatedTokens) -> dict[str, Heads]:
    """Induction and previous-token scores, means over samples alone: intervals of all heads at
    all checkpoints would take as long as training."""
    batches: list[dict[str, Tensor]] = []
    visits = {
        f"attn_probs.{layer}": lambda probs: batches.append(looked(repeated, probs))
        for layer in range(model.n_layers)
    }
    if visits:
        model.visit(repeated.ids, visits)
    return {
        name: tuple(tuple(layer[name].mean(0).tolist()) for layer in batches)
        for name in ("induction", "previous_token")
    }


@torch.no_grad()
def losses(
    model: Model, ids: Int[Tensor, "window context"]
) -> tuple[Float[Tensor, "window predicted"], Float[Tensor, "window context d_model"]]:
    """Loss of every token behind the first, and the last residual stream (the embedding where
    there are no layers)."""
    last = f"resid_post.{model.n_layers - 1}" if model.n_layers else "embed"
    with model.watch(last) as reads:
        logits = model(ids)
    return -logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0], reads[last]


def in_context(loss: Float[Tensor, "window predicted"]) -> Estimate:
    """Loss late in the window less that early in it, windows being the units."""
    positions = loss.shape[1]
    late, early = (
        loss[:, round(a * positions) : round(b * positions)].mean(1) for a, b in (LATE, EARLY)
    )
    return mean((late - early).tolist(), samples=RESAMPLES)
