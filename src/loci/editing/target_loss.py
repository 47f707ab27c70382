"""The terms of the objective that depend on target vectors, batch by batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.objective import token_losses
from loci.editing.scenes import Scene, Spots


@dataclass
class LossPart:
    """One scene's part of the objective: which of its lines are run, where they are read, what was
    said there.
    """

    scene: Scene
    rows: list[int]
    spots: Spots
    before: Float[Tensor, "kept columns"]
    """Log-probabilities at the kept spots where δ = 0."""

    @classmethod
    def of(cls, scene: Scene, rows: Sequence[int]) -> "list[LossPart]":
        return [cls(scene, list(rows), scene.spots(rows), unchanged(scene, rows))] if rows else []

    @classmethod
    def alone(cls, scene: Scene, chosen: set[tuple[int, tuple[int, ...]]]) -> "list[LossPart]":
        """Of some lines, by fact and ids; each counts as if there were no others."""
        rows = [
            row
            for row, line in enumerate(scene.lines)
            if line.wanted and (line.fact, line.ids) in chosen
        ]
        found = cls.of(scene, rows)
        for part in found:
            weights = torch.tensor(
                [scene.lines[row].weight for row in rows], device=part.spots.weights.device
            )
            part.spots = part.spots._replace(weights=part.spots.weights / weights[part.spots.lines])
        return found

    def among(self, facts: Sequence[int]) -> "list[LossPart]":
        """The same for fewer facts."""
        places = [
            place for place, row in enumerate(self.rows) if self.scene.lines[row].fact in set(facts)
        ]
        if not places:
            return []
        device = self.spots.lines.device
        stays = torch.isin(self.spots.lines, torch.tensor(places, device=device))
        moved = torch.full((len(self.rows),), -1, device=device)
        moved[places] = torch.arange(len(places), device=device)
        spots = self.spots.chosen(stays)
        kept = self.before[stays[self.spots.tokens < 0].to(self.before.device)]
        return [
            LossPart(
                self.scene,
                [self.rows[place] for place in places],
                spots._replace(lines=moved[spots.lines]),
                kept,
            )
        ]

    def __call__(
        self, delta: Float[Tensor, "fact d_model"]
    ) -> tuple[Float[Tensor, " fact"], Float[Tensor, " fact"]]:
        """−log P(new answer) and KL(before ‖ after), weighted and summed by fact; 0 for facts that
        are not run.
        """
        after = self.scene.after(delta, self.rows, self.spots)
        losses = token_losses(after, self.spots.tokens, self.before)
        kept = self.spots.tokens < 0
        return by_fact(losses[~kept], self.spots.chosen(~kept), len(delta)), by_fact(
            losses[kept], self.spots.chosen(kept), len(delta)
        )


@torch.no_grad()
def unchanged(scene: Scene, rows: Sequence[int]) -> Float[Tensor, "kept columns"]:
    """What is said at the kept lines' spots where nothing is added."""
    kept = [row for row in rows if not scene.lines[row].wanted]
    if not kept:
        return torch.empty(0, scene.vocabulary.columns, device=scene.stream.device)
    nothing = torch.zeros(
        int(scene.facts.max()) + 1, scene.stream.shape[-1], device=scene.stream.device
    )
    return scene.after(nothing, kept, scene.spots(kept))


def by_fact(values: Float[Tensor, " spot"], at: Spots, facts: int) -> Float[Tensor, " fact"]:
    return torch.zeros(facts, device=values.device).index_add(0, at.facts, at.weights * values)


def stepped(
    x: Float[Tensor, "row width"],
    grad: Tensor,
    loss: Float[Tensor, " row"],
    longest: Float[Tensor, "row 1"],
) -> Tensor:
    """Polyak's step towards a loss of 0 in each row; none where there is no gradient."""
    slope: Tensor = grad.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return x - torch.minimum(loss[:, None] / slope, longest) * grad / slope
