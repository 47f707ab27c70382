"""The clean and the corrupted run of a fact, and the corrupted run with clean states put back: what
tracing is made of.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.facts.fact import GIVEN
from loci.locating.asking import ask, drawn_probability, probability
from loci.locating.corruption import Corruption, How
from loci.locating.patched_runs import BATCH_TOKENS, Cell, PatchedRuns
from loci.model import Edit, Model, Recording
from loci.model.answers import finite
from loci.model.hooks import instead
from loci.progress import Progress, silent
from loci.result import Result

Kind = Literal["state", "mlp", "attn", "state-without-mlp", "state-without-attn"]
KINDS: tuple[Kind, ...] = ("state", "mlp", "attn")
SEVERED: tuple[Kind, ...] = ("state-without-mlp", "state-without-attn")
POINT = {"state": "resid_post", "mlp": "mlp_out", "attn": "attn_out"}


@dataclass(frozen=True, kw_only=True)
class Traced(Result):
    """The fields common to all results of a clean and a corrupted run."""

    model: str
    bos: bool
    prompt: str
    subject: str
    answer: str
    known: bool
    """Whether the answer is what the model would say by itself."""
    clean: float
    corrupted: float
    samples: int
    noise: float
    corruption: How
    seed: int
    answer_rule: str = field(default=GIVEN, compare=False)
    """How the answer was found: "given", or "first word" of what the model says."""
    dtype: str = "float32"
    """The dtype in which the weights were held."""
    text: str | None = None
    """Background text that was used: none is."""


@torch.no_grad()
def prepare(
    model: Model, fact: Fact, corruption: Corruption, window: int = 1, budget: int = BATCH_TOKENS
) -> "Runs":
    """The clean and the corrupted run of a fact, from which every cell is replayed."""
    if window < 1:
        raise FactError(f"tracing needs window ≥ 1, not {window}")
    asked, points = ask(model, fact), model.names(*POINT.values())
    with model.watch(*points) as clean_states:
        clean_run = model.record(asked.ids, last=len(asked.targets))
    hide = corruption.edit(model, fact, asked.subject)
    with model.patched({"embed": hide}), model.watch(*points) as corrupted_states:
        run = model.record(
            asked.ids.expand(corruption.draws, -1), past=True, last=len(asked.targets)
        )
    return Runs(
        model=model,
        fact=fact,
        corruption=corruption,
        asked=asked,
        hide=hide,
        clean_run=clean_run,
        run=run,
        top=corrupted_states[f"resid_post.{model.n_layers - 1}"],
        levels=drawn_probability(finite(run.logits, model), asked.targets),
        budget=budget,
        clean_states=clean_states,
        corrupted_states=corrupted_states,
        clean=float(probability(finite(clean_run.logits, model), asked.targets)),
        window=window,
    )


@dataclass(frozen=True, kw_only=True)
class Runs(PatchedRuns):
    """The corrupted run of a fact, carried on with states of the clean one put back."""

    fact: Fact
    corruption: Corruption
    hide: Edit
    clean_run: Recording
    clean_states: dict[str, Tensor]
    corrupted_states: dict[str, Tensor]
    clean: float
    """P(answer) of the clean run; that of the corrupted one is the `level`."""
    window: int

    @property
    def about(self) -> dict[str, Any]:
        """The fields of `Traced`."""
        return {
            "model": self.model.name,
            "bos": self.model.with_bos,
            "prompt": self.fact.text,
            "subject": self.fact.subject,
            "answer": self.fact.answer,
            "known": self.known,
            "clean": self.clean,
            "corrupted": self.level,
            "samples": self.draws,
            "noise": self.corruption.strength,
            "corruption": self.corruption.how,
            "seed": self.corruption.seed,
            "answer_rule": self.fact.answer_rule,
            "dtype": self.model.dtype_name,
        }

    @property
    def known(self) -> bool:
        """Whether every token of the answer is the likeliest in the clean run."""
        targets = self.asked.targets
        return bool((self.clean_run.logits[0, -len(targets) :].argmax(-1) == targets).all())

    def grids(
        self, kinds: Sequence[Kind], progress: Progress = silent
    ) -> dict[str, Float[Tensor, "layer token"]]:
        """Indirect effects by kind, 0 before the subject, where nothing is corrupted."""
        return self.measured(kinds, progress).effects

    def measured(self, kinds: Sequence[Kind], progress: Progress = silent) -> "Measured":
        """The same, with standard errors over the draws."""
        length = len(self.asked.labels)
        for measured in self.growing(kinds):  # noqa: B007 the last one is whole
            progress(1, length - self.asked.subject[0])
        return measured

    def growing(self, kinds: Sequence[Kind]) -> Iterator["Measured"]:
        """The same after each token, NaN at those to come."""
        first, length, n_layers = self.asked.subject[0], len(self.asked.labels), self.model.n_layers
        cells = [(kind, layer) for kind in kinds for layer in range(n_layers)]
        effects = torch.full((len(cells), length), torch.nan)
        effects[:, :first] = 0
        errors = effects.clone()
        for token in range(first, length):
            drawn = self._drawn(cells, token)
            effects[:, token] = drawn.mean(-1) - self.level
            errors[:, token] = standard_error(drawn - self.levels)
            rows = {kind: slice(i * n_layers, (i + 1) * n_layers) for i, kind in enumerate(kinds)}
            yield Measured(
                {kind: effects[some] for kind, some in rows.items()},
                {kind: errors[some] for kind, some in rows.items()},
            )

    def column(self, cells: Sequence[tuple[Kind, int]], token: int) -> Float[Tensor, " cell"]:
        """P(answer) with each of these states put back at this token."""
        return self._drawn(cells, token).mean(-1)

    def _drawn(self, cells: Sequence[tuple[Kind, int]], token: int) -> Float[Tensor, "cell draw"]:
        return self.run_draws([self._cell(kind, layer, token) for kind, layer in cells], token)

    def _cell(self, kind: Kind, layer: int, token: int) -> Cell:
        """The patch that restores one cell: a state or an output where it enters the stream, and
        the outputs that are frozen above it.
        """
        if kind in SEVERED:
            point = POINT[kind.removeprefix("state-without-")]
            above, held = range(layer + 1, self.model.n_layers), self.corrupted_states
            return Cell(
                layer + 1,
                self._restored("state", layer, token),
                _at(token, held, point, above, self.draws),
            )
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
        return (
            self.corrupted_states[post][:, token]
            + self.clean_states[mlp][:, token]
            - self.corrupted_states[mlp][:, token]
        )

    @cached_property
    def _attended(self) -> list[Float[Tensor, "draw position d_model"]]:
        """The streams above each layer from the subject on, with all its attention clean: at each
        token, as with that token's alone.
        """
        outputs, first = [], self.asked.subject[0]
        for layer in range(self.model.n_layers):
            name = f"attn_out.{layer}"
            clean = self.clean_states[name][:, first:]
            with self.model.patched({name: instead(clean)}):
                outputs.append(self.run.step(layer, self.run.resid_pre(layer)[:, first:], first))
        return outputs


class Measured(NamedTuple):
    """Grids by kind."""

    effects: dict[str, Float[Tensor, "layer token"]]
    errors: dict[str, Float[Tensor, "layer token"]]


def standard_error(drawn: Float[Tensor, "cell draw"]) -> Float[Tensor, " cell"]:
    """s / √n of each cell's draws; NaN for one draw, of which nothing is known."""
    n = drawn.shape[-1]
    return drawn.std(-1) / n**0.5 if n > 1 else torch.full(drawn.shape[:-1], torch.nan)


def around(layer: int, window: int, n_layers: int) -> range:
    """The window around a layer: ROME's range(l − w//2, l + w − w//2), cut to the model."""
    start = layer - window // 2
    return range(max(0, start), min(n_layers, start + window))


def _at(
    token: int, states: dict[str, Tensor], point: str, layers: range, draws: int
) -> dict[str, Tensor]:
    return {
        f"{point}.{layer}": states[f"{point}.{layer}"][:, token].expand(draws, -1)
        for layer in layers
    }
