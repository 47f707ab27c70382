"""Causal tracing: where does a run with a corrupted subject recover the answer, when one state is put back?

    indirect effect (layer, token) = P(answer | subject corrupted, that state clean) − P(answer | subject corrupted)

1. Clean run: P(answer), and the state, MLP and attention output at every layer and token.
2. Corrupted run: the subject's token embeddings are corrupted (see `corruption`). The same draws serve every cell of every grid, so
   that all cells are compared with one baseline.
3. For every kind, layer and token: the corrupted run is replayed from there with the clean state at that token.
   For "mlp" and "attn" a window of layers can be restored together. "state-without-mlp" and "state-without-attn" restore the state
   while the MLPs (the attention) of all later layers are held at their corrupted outputs at that token: what of the effect does not
   pass through them (severed, in the source).

P is the probability of all tokens of the answer, fed one by one. What is exactly known is not computed: before the subject nothing is
corrupted, so effects there are 0; a state, or a single MLP, is put back into the stream above its layer. Cost: samples × tokens from the
subject on × (L − 1) / 2 block passes a kind for L layers, against samples × tokens × L for full runs; memory is bounded by `budget` tokens a
batch. Source: Meng et al. 2022 (ROME), section 2.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, Span
from loci.locating.asking import Asked, ask, probability
from loci.locating.corruption import Corruption, How
from loci.model import Edit, Model, Recording
from loci.model.answers import finite
from loci.progress import Progress, silent

Kind = Literal["state", "mlp", "attn", "state-without-mlp", "state-without-attn"]
KINDS: tuple[Kind, ...] = ("state", "mlp", "attn")
SEVERED: tuple[Kind, ...] = ("state-without-mlp", "state-without-attn")
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


@dataclass(frozen=True, kw_only=True)
class Trace(Traced):
    """Indirect effects by kind: [layer, token] over the prompt's tokens."""

    tokens: tuple[str, ...]
    subject_span: Span
    window: int
    grids: dict[str, Float[Tensor, "layer token"]]

    def peak(self, kind: Kind) -> tuple[int, int, float]:
        """(layer, token, effect) of the largest cell."""
        grid = self.grids[kind]
        layer, token = divmod(int(grid.argmax()), grid.shape[1])
        return layer, token, float(grid[layer, token])

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "grids"}
        lists = {"tokens": list(self.tokens), "subject_span": list(self.subject_span)}
        return {
            "schema": "loci.trace/1",
            **plain,
            **lists,
            "grids": {kind: grid.tolist() for kind, grid in self.grids.items()},
        }


@torch.no_grad()
def trace(
    model: Model,
    fact: Fact,
    *,
    kinds: tuple[Kind, ...] = KINDS,
    samples: int = 10,
    noise: float = 3.0,
    corruption: How = "noise",
    window: int = 1,
    seed: int = 0,
    budget: int = 16384,
    progress: Progress = silent,
) -> Trace:
    """Trace one fact. `noise` is the strength of the corruption; `window` layers are restored together (mlp, attn).

    Raises `FactError` or `ModelError` for a prompt that cannot be traced.
    """
    runs = prepare(model, fact, Corruption(corruption, noise, samples, seed), window, budget)
    grids: dict[str, Tensor] = {}
    for kind in kinds:
        rows = []
        for layer in range(model.n_layers):
            rows.append(runs.row(kind, layer) - runs.corrupted)
            progress(1, len(kinds) * model.n_layers)
        grids[kind] = torch.stack(rows)
    return Trace(**runs.about, tokens=runs.asked.labels, subject_span=runs.asked.subject, window=window, grids=grids)


@torch.no_grad()
def prepare(model: Model, fact: Fact, corruption: Corruption, window: int = 1, budget: int = 16384) -> "Runs":
    """The clean and the corrupted run of a fact, from which every cell is replayed."""
    if window < 1:
        raise FactError(f"tracing needs window ≥ 1, not {window}")
    asked, points = ask(model, fact), model.names(*POINT.values())
    with model.watch(*points) as clean_states:
        clean_run = model.record(asked.ids)
    hide = corruption.edit(model, fact, asked.subject)
    with model.patched({"embed": hide}), model.watch(*points) as corrupted_states:
        run = model.record(asked.ids.expand(corruption.draws, -1))
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


@dataclass(frozen=True, kw_only=True)
class NeuronTrace(Traced):
    """Indirect effects of single MLP neurons of one block at one token, beside that of the whole MLP there."""

    layer: int
    token: int
    effects: Float[Tensor, " d_mlp"]
    together: float
    """The effect of all of them at once, which single effects need not sum to."""

    def top(self, count: int) -> list[tuple[int, float]]:
        """The neurons with the largest effects."""
        best = self.effects.topk(min(count, len(self.effects)))
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def to_dict(self, count: int | None = None) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "effects"}
        cells = self.top(len(self.effects) if count is None else count)
        return {
            "schema": "loci.neuron_trace/1",
            **plain,
            "neurons": [{"layer": self.layer, "neuron": i, "effect": effect} for i, effect in cells],
        }


@torch.no_grad()
def trace_neurons(
    model: Model,
    fact: Fact,
    layer: int,
    token: int | None = None,
    *,
    samples: int = 10,
    noise: float = 3.0,
    corruption: How = "noise",
    seed: int = 0,
    budget: int = 16384,
) -> NeuronTrace:
    """Restore the MLP neurons of one layer one by one at one token: by default the subject's last, or any position of the prompt.

    Cost: d_mlp × samples replays from that layer. Raises `FactError` for a token that the prompt does not have.
    """
    runs = prepare(model, fact, Corruption(corruption, noise, samples, seed), 1, budget)
    token = runs.asked.subject[1] - 1 if token is None else token
    if not 0 <= token < len(runs.asked.labels):
        raise FactError(f"the prompt has tokens 0 … {len(runs.asked.labels) - 1}, not {token}")
    effects = runs.neurons(layer, token) - runs.corrupted
    together = float(runs.row("mlp", layer)[token]) - runs.corrupted
    return NeuronTrace(**runs.about, layer=layer, token=token, effects=effects, together=together)


@dataclass(frozen=True)
class Runs:
    """The clean and the corrupted run of a fact; the corrupted one is replayed with clean states put back."""

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
            "samples": self.rows,
            "noise": self.corruption.strength,
            "corruption": self.corruption.how,
            "seed": self.corruption.seed,
        }

    @property
    def _step(self) -> int:
        """Cells in a batch."""
        return max(1, self.budget // self.run.calls[0].resid.shape[:2].numel())

    @property
    def rows(self) -> int:
        """Draws of the corruption."""
        return len(self.run.calls[0].resid)

    def row(self, kind: Kind, layer: int) -> Float[Tensor, " token"]:
        """P(answer) with the state of this kind and layer restored, token by token, in batches within the budget."""
        step, first, length = self._step, self.asked.subject[0], len(self.asked.labels)
        unchanged = torch.full((first,), self.corrupted)
        batches = (range(t, min(t + step, length)) for t in range(first, length, step))
        return torch.cat([unchanged, *(self._cells(kind, layer, tokens) for tokens in batches)])

    def _cells(self, kind: Kind, layer: int, tokens: range) -> Float[Tensor, " token"]:
        if kind == "attn" or (kind == "mlp" and self.window > 1):
            layers = around(layer, self.window, self.model.n_layers)
            edits = {f"{POINT[kind]}.{at}": self._put(f"{POINT[kind]}.{at}", self.clean_states, tokens) for at in layers}
            return self.replay(layers[0], self._stream(layers[0]).repeat(len(tokens), 1, 1), edits)
        severed = kind.removeprefix("state-without-") if kind in SEVERED else ""
        later = [f"{POINT[severed]}.{at}" for at in range(layer + 1, self.model.n_layers)] if severed else []
        edits = {name: self._put(name, self.corrupted_states, tokens) for name in later}
        return self.replay(layer + 1, self._restored("mlp" if kind == "mlp" else "state", layer, tokens), edits)

    def replay(self, layer: int, resid: Float[Tensor, "row position d_model"], edits: dict[str, Edit]) -> Float[Tensor, " cell"]:
        """P(answer), averaged over the draws, when block `layer` finds `resid`; rows are cells × draws."""
        with self.model.patched(edits):
            logits = self.run.replay(layer, resid, last=len(self.asked.targets))
        return probability(logits.unflatten(0, (-1, self.rows)), self.asked.targets)

    def _stream(self, layer: int) -> Float[Tensor, "draw position d_model"]:
        """What block `layer` finds in the corrupted run; for the number of layers, what the last block leaves."""
        return self.run.resid_pre(layer) if layer < self.model.n_layers else self.corrupted_states[f"resid_post.{layer - 1}"]

    def _restored(self, kind: Kind, layer: int, tokens: range) -> Float[Tensor, "row position d_model"]:
        """The stream above `layer`, in row (token, draw) with the clean state there, or with the clean MLP's output."""
        stream, name = self._stream(layer + 1).repeat(len(tokens), 1, 1), f"{POINT[kind]}.{layer}"
        if kind == "state":
            restored = self._put(name, self.clean_states, tokens)(stream)
            assert restored is not None
            return restored
        rows, columns = self._places(tokens)
        stream[rows, columns] += self.clean_states[name][0, columns] - self.corrupted_states[name][rows % self.rows, columns]
        return stream

    def neurons(self, layer: int, token: int) -> Float[Tensor, " d_mlp"]:
        """P(answer) with one MLP neuron of a layer clean at one token, for each neuron, in batches within the budget."""
        name = f"mlp_act.{layer}"
        with self.model.watch(name) as reads:
            self.clean_run.replay(layer, self.clean_run.resid_pre(layer))
        clean = reads[name][0, token]
        found = []
        for some in torch.arange(len(clean)).split(self._step):
            rows, columns = torch.arange(len(some) * self.rows), some.repeat_interleave(self.rows)

            def put(act: Tensor, rows: Tensor = rows, columns: Tensor = columns) -> Tensor:
                act = act.clone()
                act[rows, token, columns] = clean[columns]
                return act

            found.append(self.replay(layer, self._stream(layer).repeat(len(some), 1, 1), {name: put}))
        return torch.cat(found)

    def _places(self, tokens: range) -> tuple[Tensor, Tensor]:
        """(row, position) of every (token, draw)."""
        return torch.arange(len(tokens) * self.rows), torch.tensor(list(tokens)).repeat_interleave(self.rows)

    def _put(self, name: str, states: dict[str, Tensor], tokens: range) -> Edit:
        """Row (token, draw) gets the state of another run at its token."""
        rows, columns = self._places(tokens)
        source = states[name][rows % len(states[name]), columns]

        def put(state: Tensor) -> Tensor:
            state = state.clone()
            state[rows, columns] = source
            return state

        return put


def around(layer: int, window: int, n_layers: int) -> range:
    """The window around a layer: ROME's range(l − w//2, l + w − w//2), cut to the model."""
    start = layer - window // 2
    return range(max(0, start), min(n_layers, start + window))
