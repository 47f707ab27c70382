"""One MLP's output at a fact's subject, taken apart and put back unit by unit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from loci.dictionaries.dictionary import Dictionary
from loci.linalg import random_rotation
from loci.locating.asking import drawn_probability_at, probability
from loci.locating.runs import Runs

HALF, LEAST, POINTS, FEW = 0.5, 0.1, 4, 8
"""The share asked for; the smallest effect that is taken apart; points of the integral; what counts
as few units.
"""
Mask = Float[Tensor, "row unit"]


def _doubling(most: int) -> list[int]:
    """8, 12, 16, 24, 32, … and the last."""
    counts, n = [], FEW
    while n < most:
        counts += [n, n + n // 2]
        n *= 2
    return [*counts, most]


class FactUnits(NamedTuple):
    """One fact in one basis."""

    prompt: str
    answer: str
    basis: str
    effect: float
    """Of the whole clean output."""
    needed: int | None
    """Units that carry half of it; None where all together do not."""
    differ: int
    """Units that differ between the clean and a corrupted run."""
    together: float
    """Share of the effect that all units of the basis give back."""
    top: tuple[int, ...]
    """The first units by rank."""


@dataclass(frozen=True)
class SubjectOutput:
    """The output of one MLP at a fact's last subject token, clean and corrupted, unit by unit."""

    runs: Runs
    layer: int
    dictionary: Dictionary
    seed: int

    @property
    def token(self) -> int:
        return self.runs.asked.subject[1] - 1

    @cached_property
    def effect(self) -> float:
        """Of the whole clean output, as the trace has it."""
        return float(self.runs.column([("mlp", self.layer)], self.token)) - self.runs.level

    @cached_property
    def _reads(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Clean and corrupted activations at the token: [draw, width] by point."""
        model, runs = self.runs.model, self.runs
        points = {str(self.dictionary.point), f"mlp_act.{self.layer}", f"mlp_out.{self.layer}"}
        with torch.no_grad():
            clean = model.read(runs.asked.ids, *points)
            with model.patched({"embed": runs.hide}):
                other = model.read(runs.asked.ids.expand(runs.draws, -1), *points)
        first, second = (
            {name: value[:, self.token].float() for name, value in both.items()}
            for both in (clean, other)
        )
        return first, second

    def restored(self, basis: str) -> tuple[int, Callable[[Tensor], Tensor], Tensor]:
        """The units of a basis: how many, the MLP's output [row, draw, d_model] for masks of
        restored units, and which of them differ at all.
        """
        clean, other = self._reads
        out = f"mlp_out.{self.layer}"
        if basis == "neurons":
            act = f"mlp_act.{self.layer}"
            change = clean[act] - other[act]
            return change.shape[1], lambda mask: self._of_neurons(other[act], change, mask), change
        if basis == "features":
            point = str(self.dictionary.point)
            change = self.dictionary.encode(clean[point]) - self.dictionary.encode(other[point])
            write = self.dictionary.W_dec.to(change)
        else:
            width = clean[out].shape[1]
            write = random_rotation(width, seed=self.seed).float().to(clean[out])
            change = (clean[out] - other[out]) @ write.T
        return (
            change.shape[1],
            lambda mask: other[out] + (mask[:, None] * change) @ write,
            change,
        )

    def _of_neurons(self, act: Tensor, change: Tensor, mask: Mask) -> Tensor:
        model = self.runs.model
        made = (act + mask[:, None] * change) @ model.W_down(self.layer).float().T
        made = made + model.b_down(self.layer).float()
        return model.module("mlp_post", self.layer)(made) if model.layout.mlp_post else made

    def counted(self, basis: str) -> FactUnits:
        """The fewest units, by rank, that carry half of the effect."""
        units, output, change = self.restored(basis)
        differ = (change != 0).any(0)
        order = self._ranked(units, output, differ)
        most = int(differ.sum())

        def reached(counts: Sequence[int]) -> list[float]:
            mask = torch.zeros(len(counts), units)
            for row, count in enumerate(counts):
                mask[row, order[:count]] = 1.0
            return self._effects(output(mask)).tolist()

        wanted = HALF * self.effect
        ladder = sorted({min(most, n) for n in (*range(1, FEW + 1), *_doubling(most))})
        effect_of = dict(zip(ladder, reached(ladder), strict=True))
        first = next((i for i, n in enumerate(ladder) if effect_of[n] >= wanted), None)
        needed = None if first is None else ladder[first]
        if first and ladder[first] - ladder[first - 1] > 1:
            between = list(range(ladder[first - 1] + 1, ladder[first]))
            between = between[:: max(1, len(between) // 24)]
            finer = zip(between, reached(between), strict=True)
            needed = next((n for n, effect in finer if effect >= wanted), ladder[first])
        return FactUnits(
            self.runs.fact.text,
            self.runs.fact.answer,
            basis,
            self.effect,
            needed,
            most,
            effect_of[most] / self.effect,
            tuple(order[:FEW].tolist()),
        )

    @torch.no_grad()
    def _effects(self, outputs: Float[Tensor, "row draw d_model"]) -> Float[Tensor, " row"]:
        """P(answer) with these outputs in the place of the corrupted one, less P without."""
        streams = self._upwards(outputs)
        targets = self.runs.asked.targets
        probabilities = drawn_probability_at(self.runs.model, streams, targets).mean(-1)
        return probabilities - self.runs.level

    @torch.enable_grad()
    def _ranked(self, units: int, output: Callable[[Tensor], Tensor], differ: Tensor) -> Tensor:
        """Units in order of their integrated gradients on the way from corrupted to clean; those
        that do not differ last.
        """
        nodes, weights = leggauss(POINTS)
        at = torch.tensor(nodes / 2 + 0.5).float()
        mask = at[:, None].expand(-1, units).clone().requires_grad_()
        streams = self._upwards(output(mask))
        logits = self.runs.model.unembed(streams.flatten(0, 1)).unflatten(0, streams.shape[:2])
        risen = probability(logits, self.runs.asked.targets)
        (gradient,) = torch.autograd.grad(risen.sum(), mask)
        scores = (torch.tensor(weights / 2).float()[:, None] * gradient).sum(0)
        return torch.where(differ, scores, -torch.inf).argsort(descending=True, stable=True)

    def _upwards(
        self, outputs: Float[Tensor, "row draw d_model"]
    ) -> Float[Tensor, "row draw position d_model"]:
        """The last block's output at the positions where the answer is read."""
        runs, token = self.runs, self.token
        model, last = runs.model, len(runs.asked.targets)
        post = runs.corrupted_states[f"resid_post.{self.layer}"][:, token]
        changed = post + outputs - runs.corrupted_states[f"mlp_out.{self.layer}"][:, token]
        streams = []
        for some in changed.split(max(1, runs.budget // max(1, runs.draws * 8))):
            rows = tuple(range(runs.draws)) * len(some)
            top = self.layer == model.n_layers - 1
            below = runs.top if top else runs.run.resid_pre(self.layer + 1)
            stream = below[:, token:].repeat(len(some), 1, 1)
            stream = torch.cat([some.flatten(0, 1)[:, None].to(stream), stream[:, 1:]], 1)
            for layer in range(self.layer + 1, model.n_layers):
                stream = runs.run.step(layer, stream, token, rows)
            streams.append(stream[:, -last:].unflatten(0, some.shape[:2]))
        return torch.cat(streams)
