"""Covectors carried down a held run: what every source adds to a batch of targets, and which
targets to take next.

    g at the stream behind a layer  →  units: a · (after.read(g) · W_down)
                                    embeddings: g · x_0 at each position, at the bottom
                                    →  g + Σ_heads back(g) before the layer's attention

Influence flows from the score: a target gives its own influence to its sources by their shares of Σ
|edges|.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.circuits.frozen_run import FrozenRun
from loci.dictionaries.graph_layers import GraphLayer
from loci.progress import Progress, silent


class Unit(NamedTuple):
    """A neuron or feature at a position."""

    layer: int
    position: int
    number: int


class Incoming(NamedTuple):
    """The direct contributions to a batch of targets, one row each."""

    units: Float[Tensor, "target layer position unit"]
    embeddings: Float[Tensor, "target position"]
    errors: Float[Tensor, "target layer position"]
    bias: Float[Tensor, " target"]

    def sums(self) -> Float[Tensor, " target"]:
        return (
            self.units.sum((1, 2, 3)) + self.embeddings.sum(1) + self.errors.sum((1, 2)) + self.bias
        )


class GraphTracer:
    """The graph of one run, as far as it was followed."""

    def __init__(
        self, run: FrozenRun, layers: Sequence[GraphLayer], row: Float[Tensor, " d_vocab"]
    ) -> None:
        self.run, self.layers, self.parallel = run, layers, run.model.layout.parallel
        self.width = max(layer.activations.shape[1] for layer in layers)
        self.positions = layers[0].activations.shape[0]
        self.rows: list[Incoming] = []
        self.order: list[Unit] = []
        self.worst = 0.0
        final = run.asked(row)
        into = self._down(final, [], start=len(layers))
        self.score_row = Incoming(
            into.units, into.embeddings, into.errors, into.bias + run.constant(row)
        )
        self.total = float(self.score_row.sums())

    def follow(self, count: int, batch: int, progress: Progress = silent) -> None:
        """Compute the inputs of the `count` units of the largest influence, a batch at a time."""
        while len(self.order) < count:
            waiting = self.influence().flatten()
            taken = torch.tensor([self._flat(unit) for unit in self.order], dtype=torch.long)
            waiting[taken] = 0.0
            best = waiting.topk(min(batch, count - len(self.order), len(waiting)))
            new = [
                self._unit(i)
                for i, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
                if value > 0
            ]
            if not new:
                break
            self._add(new)
            progress(len(new), count)

    def _add(self, new: list[Unit]) -> None:
        rows = self._down(None, new, start=max(unit.layer for unit in new))
        sums = rows.sums()
        largest = max(float(layer.activations.abs().max()) for layer in self.layers)
        for i, unit in enumerate(new):
            gap = abs(float(sums[i]) - self.activation(unit))
            self.worst = max(self.worst, gap / max(largest, 1e-30))
            self.rows.append(Incoming(*(part[i : i + 1] for part in rows)))
        self.order += new

    def activation(self, unit: Unit) -> float:
        return float(self.layers[unit.layer].activations[unit.position, unit.number])

    def _down(self, g: Tensor | None, targets: list[Unit], start: int) -> Incoming:
        """One pass from the top layer that is asked for down to the embeddings."""
        n = len(targets) or 1
        like, P = self.run.start, self.positions
        g = like.new_zeros(n, 1, P, like.shape[-1]) if g is None else g[None]
        units = like.new_zeros(n, len(self.layers), P, self.width)
        errors, bias = like.new_zeros(n, len(self.layers), P), like.new_zeros(n)
        for layer in range(min(start, len(self.layers) - 1), -1, -1):
            here, heads = self.layers[layer], self.run.layers[layer]
            flat = g[:, 0]
            made = here.effects(flat)
            units[:, layer, :, : made.shape[-1]] = made
            errors[:, layer] = (flat * here.error).sum(-1)
            bias += (flat * here.rest).sum((-1, -2))
            injected, constants = self._injected(layer, targets, like)
            bias += constants
            skipped = 0.0 if here.skip is None else here.through_skip(flat)[:, None]
            bias += (g * heads.constant).sum((-1, -2, -3)) if self.parallel else 0.0
            if self.parallel:
                g = g + heads.back(g).sum(0) + injected + skipped
                continue
            g = g + injected + skipped
            bias += (g * heads.constant).sum((-1, -2, -3))
            g = g + heads.back(g).sum(0)
        return Incoming(units, (g[:, 0] * self.run.start[0]).sum(-1), errors, bias)

    def _injected(self, layer: int, targets: list[Unit], like: Tensor) -> tuple[Tensor, Tensor]:
        """The covectors of this layer's targets, at their positions."""
        gradient = like.new_zeros(max(1, len(targets)), 1, self.positions, like.shape[-1])
        constants = like.new_zeros(max(1, len(targets)))
        rows = [i for i, unit in enumerate(targets) if unit.layer == layer]
        if rows:
            at = torch.tensor([targets[i].position for i in rows])
            r, c = self.layers[layer].reads(at, torch.tensor([targets[i].number for i in rows]))
            gradient[rows, 0, at] = r
            constants[rows] = c
        return gradient, constants

    def influence(self) -> Float[Tensor, "layer position unit"]:
        """Of every unit on the score: 1 goes into the score, and each node hands its own on by
        shares of absolute edges.
        """
        influence = _shares(self.score_row)[0].clone()
        for i in self._from_the_top():
            unit = self.order[i]
            own = float(influence[unit])
            if own > 0:
                influence += own * _shares(self.rows[i])[0]
        return influence

    def effects(
        self,
    ) -> tuple[
        Float[Tensor, "layer position unit"],
        Float[Tensor, " position"],
        Float[Tensor, "layer position"],
    ]:
        """The contribution of each unit, embedding and error to the score along all paths through
        followed units.
        """
        score = self.score_row
        units, embeddings, errors = (
            score.units[0].clone(),
            score.embeddings[0].clone(),
            score.errors[0].clone(),
        )
        for i in self._from_the_top():
            unit = self.order[i]
            size = self.activation(unit)
            if size:
                factor = float(units[unit]) / size
                units += factor * self.rows[i].units[0]
                embeddings += factor * self.rows[i].embeddings[0]
                errors += factor * self.rows[i].errors[0]
        return units, embeddings, errors

    def _from_the_top(self) -> list[int]:
        """Followed units, higher layers first: when one is reached, all that it feeds is done."""
        return sorted(range(len(self.order)), key=lambda i: -self.order[i].layer)

    def _flat(self, unit: Unit) -> int:
        return (unit.layer * self.positions + unit.position) * self.width + unit.number

    def _unit(self, flat: int) -> Unit:
        rest, number = divmod(flat, self.width)
        layer, position = divmod(rest, self.positions)
        return Unit(layer, position, number)


def _shares(row: Incoming) -> tuple[Tensor, Tensor, Tensor]:
    """|edges| of units, embeddings and errors as shares of their sum (biases are no way on)."""
    units, embeddings, errors = row.units[0].abs(), row.embeddings[0].abs(), row.errors[0].abs()
    total = float(units.sum() + embeddings.sum() + errors.sum()) or 1.0
    return units / total, embeddings / total, errors / total
