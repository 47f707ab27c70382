"""Neurons suppressed and amplified, beside random and active controls."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact
from loci.locating.asking import Asked, ask, probability
from loci.model import Edit, Model
from loci.stats import Estimate, mean

Cells = Mapping[int, Sequence[int]]

FACTORS = {"suppress": 0.0, "amplify": 2.0}


@dataclass(frozen=True)
class Change:
    """P(answer), averaged over the phrasings, with some neurons scaled; and the same change with
    other neurons in their place.
    """

    before: float
    after: float
    random: Estimate
    """Change with equally many random neurons of the same layers."""
    active: Estimate
    """Change with equally many other neurons of the same layers that are about as active."""

    @property
    def change(self) -> float:
        return self.after - self.before

    def to_dict(self) -> dict[str, Any]:
        return {"before": self.before, "after": self.after, "change": self.change}


def _changes(trial: "_Trial", chosen: Cells, controls: int, seed: int) -> dict[str, Change]:
    """Effects of suppressing and amplifying the chosen neurons, beside random and active ones."""
    draws = Random(seed)
    randoms = [trial.random(chosen, draws) for _ in range(controls)]
    actives = [trial.active(chosen, draws) for _ in range(controls)]
    rows = [(some, factor) for factor in FACTORS.values() for some in (chosen, *randoms, *actives)]
    before, *after = trial.probabilities([({}, 1.0), *rows])
    each = 1 + 2 * controls
    changes = {}
    for index, name in enumerate(FACTORS):
        changed, *others = after[each * index : each * (index + 1)]
        moved = [p - before for p in others]
        changes[name] = Change(
            before, changed, mean(moved[:controls], seed), mean(moved[controls:], seed)
        )
    return changes


def _by_layer(cells: Sequence[tuple[int, int]]) -> Cells:
    layers: dict[int, list[int]] = {}
    for layer, neuron in cells:
        layers.setdefault(layer, []).append(neuron)
    return layers


class _Trial:
    """The phrasings of a fact, run with neurons scaled at the last subject token."""

    def __init__(self, model: Model, asked: Sequence[Fact]) -> None:
        self.model = model
        self.asked = [ask(model, fact) for fact in asked]
        points, sizes = model.names("mlp_act"), []
        for prompt in self.asked:
            reads = model.read(prompt.ids, *points)
            sizes.append(
                torch.stack(
                    [reads[point][0, prompt.subject[1] - 1].abs().float().cpu() for point in points]
                )
            )
        self.sizes = torch.stack(sizes).mean(0)

    @torch.no_grad()
    def probabilities(self, trials: Sequence[tuple[Cells, float]]) -> list[float]:
        """P(answer) with some neurons scaled by a factor, averaged over the phrasings, for each
        trial: a row each, in batches.
        """
        total = torch.zeros(len(trials))
        for prompt in self.asked:
            step = max(
                1,
                min(
                    self.model.tokens_at_once // prompt.ids.shape[1],
                    self.model.rows_at_once // len(prompt.targets),
                ),
            )
            log_probs = [
                self._rows(prompt, trials[start : start + step])
                for start in range(0, len(trials), step)
            ]
            total += torch.cat(log_probs)
        return (total / len(self.asked)).tolist()

    def _rows(self, prompt: Asked, trials: Sequence[tuple[Cells, float]]) -> Tensor:
        """P(answer) of one phrasing in a batch of trials."""
        token, layers = (
            prompt.subject[1] - 1,
            sorted({layer for cells, _ in trials for layer in cells}),
        )
        edits = {
            f"mlp_act.{layer}": _scale(token, self._factors(layer, trials)) for layer in layers
        }
        with self.model.patched(edits):
            logits = self.model(prompt.ids.expand(len(trials), -1), last=len(prompt.targets))
        return probability(logits[:, None], prompt.targets)

    def _factors(
        self, layer: int, trials: Sequence[tuple[Cells, float]]
    ) -> Float[Tensor, "row d_mlp"]:
        """By what each neuron of a layer is multiplied in each trial."""
        factors = torch.ones(len(trials), self.sizes.shape[1])
        for row, (cells, factor) in enumerate(trials):
            factors[row, cells.get(layer, [])] = factor
        return factors.to(self.model.device)

    def random(self, cells: Cells, draws: Random) -> Cells:
        """Equally many neurons of the same layers, none of those."""
        return {
            layer: draws.sample(self._others(layer, some), len(some))
            for layer, some in cells.items()
        }

    def active(self, cells: Cells, draws: Random) -> Cells:
        """For each neuron one of the ten others of its layer whose activations are nearest to its
        own in size.
        """
        picked: dict[int, list[int]] = {}
        for layer, some in cells.items():
            free = self._others(layer, some)
            for neuron in some:
                gaps = (self.sizes[layer, free] - self.sizes[layer, neuron]).abs()
                nearest = gaps.topk(min(10, len(free)), largest=False).indices.tolist()
                picked.setdefault(layer, []).append(free.pop(draws.choice(nearest)))
        return picked

    def _others(self, layer: int, some: Sequence[int]) -> list[int]:
        return sorted(set(range(self.sizes.shape[1])) - set(some))


def _scale(token: int, factors: Float[Tensor, "row d_mlp"]) -> Edit:
    def scale(act: Tensor) -> Tensor:
        act = act.clone()
        act[:, token] *= factors.to(act)
        return act

    return scale
