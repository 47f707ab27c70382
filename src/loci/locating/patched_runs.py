"""A recorded run with states exchanged at one token, carried on to P(answer): many of them at once.

A cell is the run with another state at one layer and token. All cells of a token go up the blocks
together, each from the layer that finds its state:

    layer:   0   1    2     …   L−1   unembed       rows: cells × draws, positions from the token on
    cells:   ·   c₀   c₀c₁  …   c₀…   → P(answer)

Positions before the token are as recorded (their keys and values are kept), and the last block is
computed only where the answer is read. So a cell at layer l and token t costs (L − 2 − l) blocks at
(n − t) positions, and a little of the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.locating.asking import Asked, drawn_probability, drawn_probability_at
from loci.model import Edit, Model, Recording
from loci.model.answers import finite
from loci.model.hooks import put_at

BATCH_TOKENS = 1536
"""Enough for full speed, few enough that what a layer makes of them stays in a processor's cache.
"""


@dataclass(frozen=True)
class Cell:
    """The run with another state at one token."""

    entry: int
    """The first block that finds it."""
    state: Float[Tensor, "draw d_model"]
    frozen_outputs: dict[str, Float[Tensor, "draw d_model"]]
    """Points further up whose states are not the run's own at that token."""


@dataclass(frozen=True, kw_only=True)
class PatchedRuns:
    """A run of a fact's prompt, recorded with its keys and values, and what it leaves."""

    model: Model
    asked: Asked
    run: Recording
    top: Float[Tensor, "draw position d_model"]
    """The last block's output."""
    levels: Float[Tensor, " draw"]
    """P(answer) of the run as it is."""
    budget: int = BATCH_TOKENS

    @property
    def level(self) -> float:
        """P(answer) of the run, averaged over the draws."""
        return float(self.levels.mean())

    @property
    def draws(self) -> int:
        """Rows of the run."""
        return len(self.top)

    def run_patched(self, cells: Sequence[Cell], token: int) -> Float[Tensor, " cell"]:
        """P(answer) of cells at one token, averaged over the draws."""
        return self.run_draws(cells, token).mean(-1)

    def run_draws(self, cells: Sequence[Cell], token: int) -> Float[Tensor, "cell draw"]:
        """The same of every draw, in batches within the budget."""
        probabilities = self.levels.repeat(len(cells), 1)
        live = [
            i
            for i, cell in enumerate(cells)
            if cell.entry < self.model.n_layers or self._read_at(token)
        ]
        live.sort(key=lambda i: cells[i].entry)
        batches = -(-len(live) // self._step(token))
        for some in (
            live[i * len(live) // batches : (i + 1) * len(live) // batches] for i in range(batches)
        ):
            probabilities[some] = self._run_patched([cells[i] for i in some], token)
        return probabilities

    def _run_patched(self, cells: Sequence[Cell], token: int) -> Float[Tensor, "cell draw"]:
        """One batch of cells, in the order of their entry."""
        stream, inside, last = self._entering(cells[:0], 0, token), 0, len(self.asked.targets)
        for layer in range(cells[0].entry, self.model.n_layers + 1):
            new = [cell for cell in cells[inside:] if cell.entry == layer]
            stream, inside = (
                torch.cat([stream, self._entering(new, layer, token)]),
                inside + len(new),
            )
            if layer == self.model.n_layers:
                stream = stream[:, -last:]
            elif layer == self.model.n_layers - 1 and not self._read_at(token):
                stream = self.run.finish(stream, token, last, self._rows(inside))
                break
            else:
                with self.model.patched(self._holding(cells[:inside], layer)):
                    stream = self.run.step(layer, stream, token, self._rows(inside))
        return drawn_probability_at(
            self.model, stream.unflatten(0, (-1, self.draws)), self.asked.targets
        )

    def _entering(
        self, cells: Sequence[Cell], layer: int, token: int
    ) -> Float[Tensor, "row position d_model"]:
        """The stream from the token on, as this layer finds it, with each cell's state at the
        token.
        """
        below = self.top if layer == self.model.n_layers else self.run.resid_pre(layer)
        stream = below[:, token:].repeat(len(cells), 1, 1)
        if cells:
            stream[:, 0] = torch.cat([cell.state for cell in cells])
        return stream

    def _holding(self, cells: Sequence[Cell], layer: int) -> dict[str, Edit]:
        """Edits of this layer's outputs at the token, for the rows that hold them."""
        edits: dict[str, Edit] = {}
        for name in (f"{point}.{layer}" for point in ("attn_out", "mlp_out")):
            holding = [i for i, cell in enumerate(cells) if name in cell.frozen_outputs]
            if holding:
                rows = torch.tensor(holding)[:, None] * self.draws + torch.arange(self.draws)
                edits[name] = put_at(
                    torch.cat([cells[i].frozen_outputs[name] for i in holding]), rows.flatten(), 0
                )
        return edits

    def _read_at(self, token: int) -> bool:
        """Whether logits are read at this token: it is the prompt's last."""
        return token == len(self.asked.labels) - 1

    def _rows(self, cells: int) -> tuple[int, ...]:
        """The draw that each row of some cells continues."""
        return tuple(range(self.draws)) * cells

    def _step(self, token: int) -> int:
        """Cells in a batch."""
        return max(1, self.budget // (self.draws * (self.asked.ids.shape[1] - token)))

    def neurons(
        self, layer: int, token: int, chosen: Int[Tensor, " neuron"], value: Float[Tensor, " d_mlp"]
    ) -> Float[Tensor, " neuron"]:
        """P(answer) with one MLP neuron of a layer at its value at one token, for each of those
        chosen.
        """
        batches = chosen.split(self._step(token))
        return torch.cat(
            [
                self.run_patched(self._with_neurons(layer, token, some, value), token)
                for some in batches
            ]
        )

    def _with_neurons(
        self,
        layer: int,
        token: int,
        neurons: Int[Tensor, " neuron"],
        value: Float[Tensor, " d_mlp"],
    ) -> list[Cell]:
        """A cell for each of these neurons: the stream above the layer with that one at its
        value.
        """
        rows, columns = (
            torch.arange(len(neurons) * self.draws),
            neurons.repeat_interleave(self.draws),
        )
        stream = self.run.resid_pre(layer)[:, token:].repeat(len(neurons), 1, 1)
        with self.model.patched(
            {f"mlp_act.{layer}": put_at(value.to(self.model.device)[columns], rows, 0, columns)}
        ):
            states = self.run.step(layer, stream, token, self._rows(len(neurons)))[:, 0]
        return [Cell(layer + 1, state, {}) for state in states.split(self.draws)]


def recorded(model: Model, asked: Asked, budget: int = BATCH_TOKENS) -> PatchedRuns:
    """The run of a prompt as it is. Raises `ModelError` for logits that are not finite."""
    last = f"resid_post.{model.n_layers - 1}"
    with model.watch(last) as reads:
        run = model.record(asked.ids, past=True, last=len(asked.targets))
    levels = drawn_probability(finite(run.logits, model), asked.targets)
    return PatchedRuns(
        model=model, asked=asked, run=run, top=reads[last], levels=levels, budget=budget
    )
