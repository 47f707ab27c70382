"""The clean and the corrupted run of a fact, and the corrupted run with clean states put back: what tracing is made of.

A cell is a state at one layer and token. All cells of a token go up the blocks together, each from the layer that finds its state:

    layer:      0     1     2     …     L−1    unembed          rows: cells × draws, positions from the token on
    cells:      ·     c₀    c₀c₁  …     c₀…    → P(answer)

Positions before the token are those of the corrupted run (their keys and values are kept), and the last block is computed only where the
answer is read. So a cell at layer l and token t costs (L − 2 − l) blocks at (n − t) positions, and a little of the last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.asking import Asked, ask, probability
from loci.locating.corruption import Corruption, How
from loci.model import Edit, Model, Recording
from loci.model.answers import finite
from loci.progress import Progress, silent

Kind = Literal["state", "mlp", "attn", "state-without-mlp", "state-without-attn"]
KINDS: tuple[Kind, ...] = ("state", "mlp", "attn")
SEVERED: tuple[Kind, ...] = ("state-without-mlp", "state-without-attn")
BATCH_TOKENS = 1536
"""Enough for full speed, few enough that what a layer makes of them stays in a processor's cache."""
POINT = {"state": "resid_post", "mlp": "mlp_out", "attn": "attn_out"}


@dataclass(frozen=True, kw_only=True)
class Traced:
    """What every result of a clean and a corrupted run has."""

    model: str
    bos: bool
    prompt: str
    subject: str
    answer: str
    clean: float
    corrupted: float
    samples: int
    noise: float
    corruption: How
    seed: int


@torch.no_grad()
def prepare(model: Model, fact: Fact, corruption: Corruption, window: int = 1, budget: int = BATCH_TOKENS) -> "Runs":
    """The clean and the corrupted run of a fact, from which every cell is replayed."""
    if window < 1:
        raise FactError(f"tracing needs window ≥ 1, not {window}")
    asked, points = ask(model, fact), model.names(*POINT.values())
    with model.watch(*points) as clean_states:
        clean_run = model.record(asked.ids)
    hide = corruption.edit(model, fact, asked.subject)
    with model.patched({"embed": hide}), model.watch(*points) as corrupted_states:
        run = model.record(asked.ids.expand(corruption.draws, -1), past=True)
    return Runs(
        model=model,
        fact=fact,
        corruption=corruption,
        asked=asked,
        hide=hide,
        clean_run=clean_run,
        run=run,
        clean_states=clean_states,
        corrupted_states=corrupted_states,
        clean=float(probability(finite(clean_run.logits, model), asked.targets)),
        corrupted=float(probability(finite(run.logits, model), asked.targets)),
        window=window,
        budget=budget,
    )


@dataclass(frozen=True)
class Cell:
    """The corrupted run with another state at one token."""

    entry: int
    """The first block that finds it."""
    state: Float[Tensor, "draw d_model"]
    held: dict[str, Float[Tensor, "draw d_model"]]
    """Points further up whose states are not the run's own at that token."""


@dataclass(frozen=True)
class Runs:
    """The clean and the corrupted run of a fact; the corrupted one is carried on with clean states put back."""

    model: Model
    fact: Fact
    corruption: Corruption
    asked: Asked
    hide: Edit
    clean_run: Recording
    run: Recording
    clean_states: dict[str, Tensor]
    corrupted_states: dict[str, Tensor]
    clean: float
    corrupted: float
    window: int
    budget: int

    @property
    def about(self) -> dict[str, Any]:
        """The fields of `Traced`."""
        return {
            "model": self.model.name,
            "bos": self.model.with_bos,
            "prompt": self.fact.text,
            "subject": self.fact.subject,
            "answer": self.fact.answer,
            "clean": self.clean,
            "corrupted": self.corrupted,
            "samples": self.draws,
            "noise": self.corruption.strength,
            "corruption": self.corruption.how,
            "seed": self.corruption.seed,
        }

    @property
    def draws(self) -> int:
        """Rows of the corrupted run."""
        return len(self.run.calls[0].resid)

    def grids(self, kinds: Sequence[Kind], progress: Progress = silent) -> dict[str, Float[Tensor, "layer token"]]:
        """Indirect effects by kind; before the subject nothing is corrupted, so they are 0 there."""
        first, length, n_layers = self.asked.subject[0], len(self.asked.labels), self.model.n_layers
        cells = [(kind, layer) for kind in kinds for layer in range(n_layers)]
        effects = torch.zeros(len(cells), length)
        for token in range(first, length):
            effects[:, token] = self.column(cells, token) - self.corrupted
            progress(1, length - first)
        return {kind: effects[i * n_layers : (i + 1) * n_layers] for i, kind in enumerate(kinds)}

    def column(self, cells: Sequence[tuple[Kind, int]], token: int) -> Float[Tensor, " cell"]:
        """P(answer) with each of these states put back at this token, in batches within the budget."""
        found = [self._cell(kind, layer, token) for kind, layer in cells]
        return self.carry(found, token)

    def neurons(self, layer: int, token: int) -> Float[Tensor, " d_mlp"]:
        """P(answer) with one MLP neuron of a layer clean at one token, for each neuron."""
        name = f"mlp_act.{layer}"
        with self.model.watch(name) as reads:
            self.clean_run.step(layer, self.clean_run.resid_pre(layer))
        clean = reads[name][0, token]
        found = [self._with_neurons(layer, token, some, clean) for some in torch.arange(len(clean)).split(self._step(token))]
        return torch.cat([self.carry(cells, token) for cells in found])

    def _with_neurons(self, layer: int, token: int, neurons: Tensor, clean: Tensor) -> list[Cell]:
        """A cell for each neuron: the stream above the layer with that neuron clean."""
        rows, columns = torch.arange(len(neurons) * self.draws), neurons.repeat_interleave(self.draws)

        def put(act: Tensor) -> Tensor:
            act = act.clone()
            act[rows, 0, columns] = clean[columns]
            return act

        stream = self.run.resid_pre(layer)[:, token:].repeat(len(neurons), 1, 1)
        with self.model.patched({f"mlp_act.{layer}": put}):
            states = self.run.step(layer, stream, token, self._rows(len(neurons)))[:, 0]
        return [Cell(layer + 1, state, {}) for state in states.split(self.draws)]

    def _cell(self, kind: Kind, layer: int, token: int) -> Cell:
        """What to put back: a state or an output where it enters the stream, and what is held above it."""
        if kind in SEVERED:
            point = POINT[kind.removeprefix("state-without-")]
            above, held = range(layer + 1, self.model.n_layers), self.corrupted_states
            return Cell(layer + 1, self._restored("state", layer, token), _at(token, held, point, above, self.draws))
        window = around(layer, self.window if kind != "state" else 1, self.model.n_layers)
        held = _at(token, self.clean_states, POINT[kind], window[1:], self.draws)
        return Cell(window[0] + 1, self._restored(kind, window[0], token), held)

    def _restored(self, kind: Kind, layer: int, token: int) -> Float[Tensor, "draw d_model"]:
        """The stream above a layer at a token, with its clean state, MLP or attention."""
        if kind == "attn":
            return self._attended[layer][:, token - self.asked.subject[0]]
        post, mlp = (f"{point}.{layer}" for point in ("resid_post", "mlp_out"))
        if kind == "state":
            return self.clean_states[post][:, token].expand(self.draws, -1)
        return self.corrupted_states[post][:, token] + self.clean_states[mlp][:, token] - self.corrupted_states[mlp][:, token]

    @cached_property
    def _attended(self) -> list[Float[Tensor, "draw position d_model"]]:
        """The streams above each layer from the subject on, with all its attention clean: at each token, as with that token's alone."""
        found, first = [], self.asked.subject[0]
        for layer in range(self.model.n_layers):
            name = f"attn_out.{layer}"
            clean = self.clean_states[name][:, first:].expand(self.draws, -1, -1)
            with self.model.patched({name: partial(_instead, clean)}):
                found.append(self.run.step(layer, self.run.resid_pre(layer)[:, first:], first))
        return found

    def carry(self, cells: Sequence[Cell], token: int) -> Float[Tensor, " cell"]:
        """P(answer) of cells at one token, in batches within the budget."""
        found = torch.full((len(cells),), self.corrupted)
        live = [i for i, cell in enumerate(cells) if cell.entry < self.model.n_layers or self._read_at(token)]
        live.sort(key=lambda i: cells[i].entry)
        batches = -(-len(live) // self._step(token))
        for some in (live[i * len(live) // batches : (i + 1) * len(live) // batches] for i in range(batches)):
            found[some] = self._carry([cells[i] for i in some], token)
        return found

    def _carry(self, cells: Sequence[Cell], token: int) -> Float[Tensor, " cell"]:
        """One batch of cells, in the order of their entry."""
        stream, inside, last = self._entering(cells[:0], 0, token), 0, len(self.asked.targets)
        for layer in range(cells[0].entry, self.model.n_layers + 1):
            new = [cell for cell in cells[inside:] if cell.entry == layer]
            stream, inside = torch.cat([stream, self._entering(new, layer, token)]), inside + len(new)
            if layer == self.model.n_layers:
                logits = self.model.unembed(stream[:, -last:])
            elif layer == self.model.n_layers - 1 and not self._read_at(token):
                logits = self.run.finish(stream, token, last, self._rows(inside))
                break
            else:
                with self.model.patched(self._holding(cells[:inside], layer)):
                    stream = self.run.step(layer, stream, token, self._rows(inside))
        return probability(logits.unflatten(0, (-1, self.draws)), self.asked.targets)

    def _entering(self, cells: Sequence[Cell], layer: int, token: int) -> Float[Tensor, "row position d_model"]:
        """The corrupted stream from the token on, as this layer finds it, with each cell's state at the token."""
        top = layer == self.model.n_layers
        below = self.corrupted_states[f"resid_post.{layer - 1}"] if top else self.run.resid_pre(layer)
        stream = below[:, token:].repeat(len(cells), 1, 1)
        if cells:
            stream[:, 0] = torch.cat([cell.state for cell in cells])
        return stream

    def _holding(self, cells: Sequence[Cell], layer: int) -> dict[str, Edit]:
        """Edits of this layer's outputs at the token, for the rows that hold them."""
        found: dict[str, Edit] = {}
        for name in (f"{point}.{layer}" for point in ("attn_out", "mlp_out")):
            holding = [i for i, cell in enumerate(cells) if name in cell.held]
            if holding:
                rows = torch.tensor(holding)[:, None] * self.draws + torch.arange(self.draws)
                found[name] = _put(rows.flatten(), torch.cat([cells[i].held[name] for i in holding]))
        return found

    def _read_at(self, token: int) -> bool:
        """Whether logits are read at this token: it is the prompt's last."""
        return token == len(self.asked.labels) - 1

    def _rows(self, cells: int) -> tuple[int, ...]:
        """The draw that each row of some cells continues."""
        return tuple(range(self.draws)) * cells

    def _step(self, token: int) -> int:
        """Cells in a batch."""
        return max(1, self.budget // (self.draws * (self.asked.ids.shape[1] - token)))


def around(layer: int, window: int, n_layers: int) -> range:
    """The window around a layer: ROME's range(l − w//2, l + w − w//2), cut to the model."""
    start = layer - window // 2
    return range(max(0, start), min(n_layers, start + window))


def _at(token: int, states: dict[str, Tensor], point: str, layers: range, draws: int) -> dict[str, Tensor]:
    return {f"{point}.{layer}": states[f"{point}.{layer}"][:, token].expand(draws, -1) for layer in layers}


def _instead(state: Tensor, _: Tensor) -> Tensor:
    return state


def _put(rows: Tensor, states: Float[Tensor, "row d_model"]) -> Edit:
    """These rows get these states at their first position."""

    def put(out: Tensor) -> Tensor:
        out = out.clone()
        out[rows, 0] = states
        return out

    return put
