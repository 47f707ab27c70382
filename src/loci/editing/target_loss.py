"""The terms of the objective that depend on target vectors, batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.aligned_batch import AlignedBatch, ReadPositions
from loci.editing.objective import token_losses


@dataclass
class LossPart:
    """One batch's part of the objective: which of its prompts are run, where they are read, and
    what was said there.
    """

    batch: AlignedBatch
    rows: list[int]
    positions: ReadPositions
    before: Float[Tensor, "kept columns"]
    """Log-probabilities at the retained positions where δ = 0."""

    @classmethod
    def of(cls, batch: AlignedBatch, rows: Sequence[int]) -> "list[LossPart]":
        return (
            [cls(batch, list(rows), batch.positions(rows), unchanged(batch, rows))] if rows else []
        )

    @classmethod
    def alone(
        cls, batch: AlignedBatch, chosen: set[tuple[int, tuple[int, ...]]]
    ) -> "list[LossPart]":
        """Of some prompts, by fact and ids; each counts as if there were no others."""
        rows = [
            row
            for row, prompt in enumerate(batch.prompts)
            if prompt.answer and (prompt.fact, prompt.ids) in chosen
        ]
        found = cls.of(batch, rows)
        for part in found:
            weights = torch.tensor(
                [batch.prompts[row].weight for row in rows], device=part.positions.weights.device
            )
            part.positions = part.positions._replace(
                weights=part.positions.weights / weights[part.positions.prompts]
            )
        return found

    def among(self, facts: Sequence[int]) -> "list[LossPart]":
        """The same for fewer facts."""
        places = [
            place
            for place, row in enumerate(self.rows)
            if self.batch.prompts[row].fact in set(facts)
        ]
        if not places:
            return []
        device = self.positions.prompts.device
        stays = torch.isin(self.positions.prompts, torch.tensor(places, device=device))
        moved = torch.full((len(self.rows),), -1, device=device)
        moved[places] = torch.arange(len(places), device=device)
        positions = self.positions.chosen(stays)
        kept = self.before[stays[self.positions.tokens < 0].to(self.before.device)]
        return [
            LossPart(
                self.batch,
                [self.rows[place] for place in places],
                positions._replace(prompts=moved[positions.prompts]),
                kept,
            )
        ]

    def __call__(
        self, delta: Float[Tensor, "fact d_model"]
    ) -> tuple[Float[Tensor, " fact"], Float[Tensor, " fact"]]:
        """−log P(new answer) and KL(before ‖ after), weighted and summed by fact; 0 for facts that
        are not run.
        """
        after = self.batch.after(delta, self.rows, self.positions)
        losses = token_losses(after, self.positions.tokens, self.before)
        kept = self.positions.tokens < 0
        return by_fact(losses[~kept], self.positions.chosen(~kept), len(delta)), by_fact(
            losses[kept], self.positions.chosen(kept), len(delta)
        )


@torch.no_grad()
def unchanged(batch: AlignedBatch, rows: Sequence[int]) -> Float[Tensor, "kept columns"]:
    """Log-probabilities at the retain prompts' positions where nothing is added."""
    kept = [row for row in rows if not batch.prompts[row].answer]
    if not kept:
        return torch.empty(0, batch.vocabulary.columns, device=batch.stream.device)
    nothing = torch.zeros(
        int(batch.facts.max()) + 1, batch.stream.shape[-1], device=batch.stream.device
    )
    return batch.after(nothing, kept, batch.positions(kept))


def by_fact(
    values: Float[Tensor, " position"], at: ReadPositions, facts: int
) -> Float[Tensor, " fact"]:
    return torch.zeros(facts, device=values.device).index_add(0, at.facts, at.weights * values)
