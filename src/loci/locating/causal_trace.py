"""Causal tracing: where does a run with a corrupted subject recover the answer, when one state is
put back?

    indirect effect (layer, token) = P(answer | subject corrupted, that state clean)
                                     − P(answer | subject corrupted)

1. Clean run: P(answer), and the state, MLP and attention output at every layer and token.
2. Corrupted run: the subject's token embeddings are corrupted (see `corruption`). The same draws
   serve every cell of every grid, so that all cells are compared with one baseline.
3. For every kind, layer and token: the corrupted run is replayed from there with the clean state at
   that token. For "mlp" and "attn" a window of layers can be restored together. "state-without-mlp"
   and "state-without-attn" restore the state while the MLPs (the attention) of all later layers are
   held at their corrupted outputs at that token: what of the effect does not pass through them
   (severed, in the source).

P is the probability of all tokens of the answer, fed one by one. What is exactly known is not
computed (see `patched_runs`): before the subject nothing is corrupted, so effects there are 0;
positions before the token are those of the corrupted run; a state, an MLP or an attention is put
back into the stream above its layer. Cost for n tokens, L layers and S samples: S · L²/2 · n²/2
block passes of a position a kind, against S · L² · n² for full runs; memory is bounded by `budget`
tokens a batch. Source: Meng et al. 2022 (ROME), section 2.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, Span
from loci.locating.corruption import Corruption, How
from loci.locating.patched_runs import BATCH_TOKENS
from loci.locating.runs import KINDS, Kind, Traced, prepare
from loci.locating.trace_words import effect_tables, trace_words
from loci.model import Model
from loci.model.given import fact_given
from loci.progress import Progress, silent
from loci.result import About
from loci.tables import Table, columns


@dataclass(frozen=True, kw_only=True)
class Trace(Traced):
    """Indirect effects by kind: [layer, token] over the prompt's tokens."""

    about: ClassVar[About] = About(
        "a causal trace",
        "The subject is hidden, then one clean state at a time is put back: where does "
        "the answer return?",
        "Rows are tokens (* the subject), columns are layers; the darker the blue, the "
        "more of P(answer) that one clean state brings back.",
        "trace.trace_figure",
    )

    tokens: tuple[str, ...]
    subject_span: Span
    window: int
    grids: dict[str, Float[Tensor, "layer token"]]
    errors: dict[str, Float[Tensor, "layer token"]] = field(default_factory=dict)
    """Standard errors of the effects: s / √n over the draws of the corruption, each beside its own
    corrupted run; NaN for one draw. None in what earlier versions wrote.
    """

    def peak(self, kind: Kind) -> tuple[int, int, float]:
        """(layer, token, effect) of the largest cell."""
        grid = self.grids[kind]
        layer, token = divmod(int(grid.argmax()), grid.shape[1])
        return layer, token, float(grid[layer, token])

    def title(self) -> str:
        return f"{self.prompt} → {self.answer}"

    def summary(self) -> tuple[str, ...]:
        return tuple(trace_words(self).splitlines())

    def tables(self) -> tuple[Table, ...]:
        return effect_tables(self.grids, self.tokens, self.subject_span)

    def to_dict(self) -> dict[str, Any]:
        tensors = ("grids", "errors")
        plain = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name not in tensors
        }
        lists = {"tokens": list(self.tokens), "subject_span": list(self.subject_span)}
        return {
            "schema": "loci.trace/1",
            **plain,
            **lists,
            **{
                name: {kind: grid.tolist() for kind, grid in getattr(self, name).items()}
                for name in tensors
            },
        }


@torch.no_grad()
def trace(
    model: Model,
    fact: Fact | str,
    *,
    kinds: tuple[Kind, ...] = KINDS,
    samples: int = 10,
    noise: float = 3.0,
    corruption: How = "noise",
    window: int = 1,
    seed: int = 0,
    budget: int = BATCH_TOKENS,
    progress: Progress = silent,
) -> Trace:
    """Trace one fact: where does the corrupted run recover the answer when one clean state is put
    back?

        grid = loci.trace(model, "Michael Jordan plays the sport of")
        grid.peak("mlp")                                # (layer, token, effect)

    Args:
        fact: what is asked, or a prompt that names one known subject; the answer is then the
            model's own.
        kinds: what is restored: "state", "mlp", "attn" (the default three), "state-without-mlp",
            "state-without-attn".
        samples: draws of the corruption, which all cells share.
        noise: its strength, σ in standard deviations of the embedding.
        corruption: "noise", "subject-noise", "fixed", "gaussian", "mean" or "resample".
        window: layers restored together, for "mlp" and "attn".
        budget: most tokens in a batch; it bounds the memory and changes no number.

    Returns: a `Trace`: `grids[kind]` [layer, token] of effects on P(answer), their standard
    `errors` over the draws, `clean` and `corrupted` P, `tokens`, `subject_span`, `peak`.
    Raises `FactError` or `ModelError` for a prompt that cannot be traced. Cost: about a second for
    a fact of the embedded model.
    """
    fact = fact_given(model, fact)
    runs = prepare(model, fact, Corruption(corruption, noise, samples, seed), window, budget)
    measured = runs.measured(kinds, progress)
    return Trace(
        **runs.about,
        tokens=runs.asked.labels,
        subject_span=runs.asked.subject,
        window=window,
        grids=measured.effects,
        errors=measured.errors,
    )


@dataclass(frozen=True, kw_only=True)
class NeuronTrace(Traced):
    """Indirect effects of single MLP neurons of one block at one token, beside that of the whole
    MLP there.
    """

    about: ClassVar[About] = About(
        "a trace of neurons",
        "Single neurons of one MLP are put back in a run with the subject hidden.",
        "Each bar is what one neuron brings back of P(answer) by itself.",
        "neurons.neuron_trace_figure",
    )

    layer: int
    token: int
    effects: Float[Tensor, " d_mlp"]
    together: float
    """The effect of all of them at once, which single effects need not sum to."""

    def top(self, count: int) -> list[tuple[int, float]]:
        """The neurons with the largest effects."""
        best = self.effects.topk(min(count, len(self.effects)))
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def title(self) -> str:
        return f"{self.prompt} → {self.answer}, layer {self.layer}, token {self.token}"

    def summary(self) -> tuple[str, ...]:
        single = float(self.effects.sum())
        return (
            f"P(answer) {self.clean:.3f} clean, {self.corrupted:.3f} corrupted; all"
            f" {len(self.effects)} neurons together give back {self.together:+.4f}, one by one they"
            f" sum to {single:+.4f}",
        )

    def tables(self) -> tuple[Table, ...]:
        rows = tuple((f"L{self.layer}N{i}", effect) for i, effect in self.top(15))
        return (Table("The largest effects", columns("neuron", "effect|+.4f"), rows),)

    def to_dict(self, count: int | None = None) -> dict[str, Any]:
        plain = {
            name: getattr(self, name) for name in self.__dataclass_fields__ if name != "effects"
        }
        cells = self.top(len(self.effects) if count is None else count)
        return {
            "schema": "loci.neuron_trace/1",
            **plain,
            "neurons": [
                {"layer": self.layer, "neuron": i, "effect": effect} for i, effect in cells
            ],
        }


@torch.no_grad()
def trace_neurons(
    model: Model,
    fact: Fact | str,
    layer: int,
    token: int | None = None,
    *,
    samples: int = 10,
    noise: float = 3.0,
    corruption: How = "noise",
    seed: int = 0,
    budget: int = BATCH_TOKENS,
) -> NeuronTrace:
    """Restore the MLP neurons of one layer one by one at one token: by default the subject's last,
    or any position of the prompt.

        loci.trace_neurons(model, fact, layer=0)

    Cost: d_mlp × samples replays from that layer. Raises `FactError` for a token that the prompt
    does not have.
    """
    fact = fact_given(model, fact)
    runs = prepare(model, fact, Corruption(corruption, noise, samples, seed), 1, budget)
    token = runs.asked.subject[1] - 1 if token is None else token
    if not 0 <= token < len(runs.asked.labels):
        raise FactError(f"the prompt has tokens 0 … {len(runs.asked.labels) - 1}, not {token}")
    with model.watch(f"mlp_act.{layer}") as reads:
        runs.clean_run.step(layer, runs.clean_run.resid_pre(layer))
    clean = reads[f"mlp_act.{layer}"][0, token]
    effects = runs.neurons(layer, token, torch.arange(len(clean)), clean) - runs.level
    together = float(runs.column([("mlp", layer)], token)) - runs.level
    return NeuronTrace(**runs.about, layer=layer, token=token, effects=effects, together=together)
