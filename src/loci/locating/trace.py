"""Causal tracing: where does a run with a corrupted subject recover the answer, when one state is put back?

    indirect effect (layer, token) = P(answer | subject corrupted, that state clean) − P(answer | subject corrupted)

1. Clean run: P(answer), and the state, MLP and attention output at every layer and token.
2. Corrupted run: the subject's token embeddings get noise ε ~ N(0, (σ·s)²), s the standard deviation of the embedding's entries.
   The same draws serve every cell of every grid, so that all cells are compared with one baseline.
3. For every kind, layer and token: the corrupted run is replayed from that layer with the clean state at that token.
   For "mlp" and "attn" a window of layers can be restored together.

P is the probability of all tokens of the answer, fed one by one. Cost: samples × tokens × (L + 1) / 2 block passes a kind for L
layers, against samples × tokens × L for full runs; memory is bounded by `budget` tokens a batch.
Source: Meng et al. 2022 (ROME), section 2.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, Span
from loci.model import Edit, Model, Recording
from loci.model.answers import finite, with_answer
from loci.progress import Progress, silent

Kind = Literal["state", "mlp", "attn"]
KINDS: tuple[Kind, ...] = get_args(Kind)
POINT = {"state": "resid_post", "mlp": "mlp_out", "attn": "attn_out"}


@dataclass(frozen=True)
class Trace:
    """Indirect effects by kind: [layer, token] over the prompt's tokens."""

    model: str
    bos: bool
    prompt: str
    subject: str
    answer: str
    tokens: tuple[str, ...]
    subject_span: Span
    clean: float
    corrupted: float
    samples: int
    noise: float
    window: int
    seed: int
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
    window: int = 1,
    seed: int = 0,
    budget: int = 16384,
    progress: Progress = silent,
) -> Trace:
    """Trace one fact. `noise` is σ in standard deviations of the embedding; `window` layers are restored together (mlp, attn).

    Raises `FactError` or `ModelError` for a prompt that cannot be traced, and where the noise does not change anything.
    """
    if samples < 1 or noise <= 0 or window < 1:
        raise FactError(f"tracing needs samples ≥ 1, noise > 0 and window ≥ 1, not {samples}, {noise} and {window}")
    tokens, answer = with_answer(model, fact.text, fact.answer)
    subject = tokens.span(fact.subject_span)
    targets = torch.tensor(tokens.ids[answer[0] : answer[1]])
    ids = model.ids([tokens.ids[: answer[1] - 1]])
    length = answer[0]

    restored = [f"{POINT[kind]}.{layer}" for kind in kinds for layer in range(model.n_layers)]
    with model.watch(*restored) as clean_states:
        clean = float(probability(model.record(ids).logits[:, -len(targets) :], targets))
    with model.patched({"embed": noise_on(model, subject, samples, noise, seed)}):
        corrupted_run = model.record(ids.expand(samples, -1))
    corrupted = float(probability(finite(corrupted_run.logits, model)[:, -len(targets) :], targets))

    sweep = _Sweep(model, corrupted_run, clean_states, targets, length, window, budget)
    grids: dict[str, Tensor] = {}
    for kind in kinds:
        rows = []
        for layer in range(model.n_layers):
            rows.append(sweep.row(kind, layer) - corrupted)
            progress(1, len(kinds) * model.n_layers)
        grids[kind] = torch.stack(rows)
    labels = tokens.labels[:length]
    return Trace(
        model.name,
        model.with_bos,
        fact.text,
        fact.subject,
        fact.answer,
        labels,
        subject,
        clean,
        corrupted,
        samples,
        noise,
        window,
        seed,
        grids,
    )


def noise_on(model: Model, subject: Span, samples: int, noise: float, seed: int) -> Edit:
    """Add the same seeded draws to the subject's embeddings, whatever the run."""
    generator = torch.Generator().manual_seed(seed)
    scale = noise * model.embed_scale * float(model.W_E.float().std())
    draws = torch.randn(samples, subject[1] - subject[0], model.d_model, generator=generator) * scale

    def corrupt(embed: Tensor) -> Tensor:
        embed = embed.clone()
        embed[:, slice(*subject)] += draws.to(embed)
        return embed

    return corrupt


@dataclass(frozen=True)
class _Sweep:
    """The corrupted run, replayed with clean states put back."""

    model: Model
    run: Recording
    clean: dict[str, Tensor]
    targets: Tensor
    length: int
    window: int
    budget: int

    def row(self, kind: Kind, layer: int) -> Float[Tensor, " token"]:
        """P(answer) with the state of this kind and layer restored, token by token, in batches within the budget."""
        samples, width = self.run.calls[0].resid.shape[:2]
        step = max(1, self.budget // (samples * width))
        return torch.cat([self._cells(kind, layer, range(t, min(t + step, self.length))) for t in range(0, self.length, step)])

    def _cells(self, kind: Kind, layer: int, tokens: range) -> Float[Tensor, " token"]:
        layers = self._layers(layer) if kind != "state" else range(layer, layer + 1)
        edits = {f"{POINT[kind]}.{at}": self._restore(f"{POINT[kind]}.{at}", tokens) for at in layers}
        resid = self.run.resid_pre(layers[0]).repeat(len(tokens), 1, 1)
        with self.model.patched(edits):
            logits = self.run.replay(layers[0], resid, last=len(self.targets))
        return probability(logits.unflatten(0, (len(tokens), -1)), self.targets)

    def _layers(self, layer: int) -> range:
        """The window around a layer: ROME's range(l − w//2, l + w − w//2), cut to the model."""
        start = layer - self.window // 2
        return range(max(0, start), min(self.model.n_layers, start + self.window))

    def _restore(self, point: str, tokens: range) -> Edit:
        """Row i of the batch (tokens × samples) gets the clean state at its token."""
        samples = self.run.calls[0].resid.shape[0]
        rows = torch.arange(len(tokens) * samples)
        columns = torch.tensor(list(tokens)).repeat_interleave(samples)

        def restore(state: Tensor) -> Tensor:
            state = state.clone()
            state[rows, columns] = self.clean[point][0, columns]
            return state

        return restore


def probability(logits: Float[Tensor, "*group sample answer vocab"], targets: Tensor) -> Float[Tensor, " *group"]:
    """Probability of all answer tokens, averaged over the samples."""
    logprobs = logits.float().log_softmax(-1)
    picked = logprobs.gather(-1, targets.to(logits.device).expand(*logits.shape[:-2], -1)[..., None])[..., 0]
    return picked.sum(-1).exp().mean(-1).cpu()
