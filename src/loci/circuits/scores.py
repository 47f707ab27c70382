"""Scores of heads on repeated random tokens, from their patterns A and their outputs.

    previous_token   A[i, i−1]
    duplicate        Σ_k A[i, i − kL]           earlier places of the same token
    induction        Σ_k A[i, i − kL + 1]       what came after those: prefix matching
    first, current   A[i, 0], A[i, i]
    entropy          −Σ_j A[i, j] ln A[i, j], nats
    copying          2 r − 1, r = what a source raises its own token by, of all that it raises among
                     the block's tokens

Means over positions: from the second block on, for `current` and `entropy` too, but all with a
token before them for `previous_token`. Olsson et al. 2022 say in words that prefix matching looks
at the tokens *before* the earlier places; their definition of induction, and what copying needs, is
the token *after* (offset +1), which is what stands here. `copying` follows them: logits of W_U W_O
v_j at the block's L tokens, less their mean, negative ones 0; chance is 2/L − 1, and 1 says that
each source raises itself alone.

Beside them, from weights: Σλ/Σ|λ| of what a head does from token to token and in the stream. Known
weakness, said by its authors: positive eigenvalues do not prove copying, as eigenvectors need not
be tokens. `deletion` = current · max(0, −Σλ/Σ|λ| of W_OV): heads that take away what stands at the
present position, as neurons do whose value opposes their key; of these `erasers` counts, layer by
layer, the share with a cosine of −5/√d_model or less, five standard deviations of random vectors.
Intervals: 95 % over samples. Sources: Elhage et al. 2021; Olsson et al. 2022.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from loci.circuits.embedding_maps import summed_over_tokens
from loci.circuits.heads import View, layer_heads
from loci.circuits.measured_scores import scores_on
from loci.circuits.repeated import REPEATS, SAMPLES, repeated_tokens
from loci.errors import CircuitError
from loci.model import Model, Weights
from loci.model.names import head_name
from loci.model.updates import key_value_cosines
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate
from loci.tables import Table, columns

WEIGHED = ("qk_positivity", "copying_positivity", "ov_positivity", "deletion")


@dataclass(frozen=True)
class HeadScore:
    """One head's row."""

    layer: int
    head: int
    measured: dict[str, Estimate]
    weighed: dict[str, float]
    """Positivity of the full QK circuit, the full OV circuit and W_OV alone, and `deletion`;
    empty where weights were not asked."""

    @property
    def name(self) -> str:
        return head_name(self.layer, self.head)

    def value(self, score: str) -> float:
        """A score by its name, measured or weighed."""
        return self.measured[score].value if score in self.measured else self.weighed[score]

    def to_dict(self) -> dict[str, Any]:
        plain = {name: estimate.to_dict() for name, estimate in self.measured.items()}
        return {
            "layer": self.layer,
            "head": self.head,
            **{name: estimate["value"] for name, estimate in plain.items()},
            **self.weighed,
            "intervals": {
                name: [estimate["low"], estimate["high"]] for name, estimate in plain.items()
            },
        }


SHOWN = {
    "previous_token": "one back",
    "duplicate": "same token",
    "induction": "behind same",
    "copying": "copying",
    "copying_positivity": "OV λ",
    "first": "first token",
    "current": "itself",
    "entropy": "entropy",
    "deletion": "deletion",
}
"""Scores and their headings."""


@dataclass(frozen=True)
class HeadScores(Result):
    """All heads of a model, layer by layer."""

    about: ClassVar[About] = About(
        "what heads do",
        "Which heads look one token back, repeat, copy, delete?",
        "Rows are layers, columns heads; each panel is one score.",
        "circuits.heads_figure",
    )

    model: str
    bos: bool
    length: int
    repeats: int
    samples: int
    seed: int
    view: str
    heads: tuple[HeadScore, ...]
    erasers: tuple[float, ...]
    """Share of each layer's neurons that take away what they find; empty where there are no
    neurons, or weights were not asked."""

    @property
    def scores(self) -> tuple[str, ...]:
        """The names of what was scored."""
        return (*self.heads[0].measured, *self.heads[0].weighed) if self.heads else ()

    def grid(self, score: str) -> list[list[float]]:
        """[layer][head] of one score."""
        layers: dict[int, list[float]] = {}
        for row in self.heads:
            layers.setdefault(row.layer, []).append(row.value(score))
        return list(layers.values())

    def top(self, score: str, count: int = 5) -> tuple[HeadScore, ...]:
        """The heads that score highest. Raises `CircuitError` for what was not scored."""
        if self.heads and score not in self.scores:
            raise CircuitError(f"there is no score {score!r}: expected {', '.join(self.scores)}")
        return tuple(sorted(self.heads, key=lambda row: -row.value(score))[:count])

    def of(self, name: str) -> HeadScore:
        """A head's row by its name, as in `L1H3`. Raises `CircuitError`."""
        match = next((row for row in self.heads if row.name == name), None)
        if match is None:
            raise CircuitError(
                f"there is no head {name!r} among the {len(self.heads)} of {self.model!r}"
            )
        return match

    def title(self) -> str:
        return (
            f"{len(self.heads)} heads of {self.model} on {self.samples} × {self.length} random"
            f" tokens, {self.repeats} times"
        )

    def tables(self) -> tuple[Table, ...]:
        shown = [name for name in SHOWN if name in self.scores]
        best = {
            row.name: row
            for score in ("induction", "previous_token", "copying", "deletion")
            for row in self.top(score, 4)
        }
        erasers = ", ".join(f"{share:.1%}" for share in self.erasers)
        return (
            Table(
                "The best heads",
                columns("head", *(f"{SHOWN[name]}|.3f" for name in shown)),
                tuple(
                    (name, *(row.value(score) for score in shown))
                    for name, row in sorted(best.items())
                ),
                note="the best four at looking one back, at induction (behind same), copying and"
                " deletion; OV λ: Σλ/Σ|λ| from token to token; all heads in --json and --out"
                + "; beside deletion heads: neurons that take away what they find, by layer"
                f" {erasers}" * any(self.erasers),
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.heads/1",
            **vars(self),
            "heads": [row.to_dict() for row in self.heads],
        }


@dataclass(frozen=True)
class HeadScatter(Result):
    """Heads as points: two of their scores, and a third as colour.

    Induction heads stand where both positivities are near 1.
    """

    about: ClassVar[About] = About(
        "heads, two scores",
        "Which heads stand in the corner of induction?",
        "Each point is a head; those in the upper right have both.",
        "circuits.scatter_figure",
    )

    scores: HeadScores
    x: str = "qk_positivity"
    y: str = "copying_positivity"
    colour: str = "induction"

    def __post_init__(self) -> None:
        for name in (self.x, self.y, self.colour):
            self.scores.top(name, 0)

    def title(self) -> str:
        return self.scores.title()

    def tables(self) -> tuple[Table, ...]:
        return self.scores.tables()

    def to_dict(self) -> dict[str, Any]:
        return self.scores.to_dict()


@torch.no_grad()
def head_scores(
    model: Model,
    *,
    length: int | None = None,
    repeats: int = REPEATS,
    samples: int = SAMPLES,
    seed: int = 0,
    view: View = "gain",
    weights: bool = True,
    progress: Progress = silent,
) -> HeadScores:
    """Score every head on repeated random tokens, and by its weights.

    Args:
        model: an open model; it is left as it was.
        length: tokens of a block; None: 25, or what the context has room for.
        repeats: how often each block stands.
        samples: blocks drawn; the units of the intervals.
        seed: seed of every random draw.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        weights: add the scores of weights alone (`WEIGHED`).
        progress: called with (steps done, steps in all).

    Returns: `HeadScores`, one row a head; none for a model without layers.
    Raises: `CircuitError` for a length that does not fit, `ModelError` where patterns cannot be
        seen.
    Cost: One run over samples · length · repeats tokens, and 2 · d_vocab · d_model² for the
        weights.
    Source: Olsson et al. 2022; Elhage et al. 2021.
    """
    text = repeated_tokens(model, length=length, repeats=repeats, samples=samples, seed=seed)
    scores = scores_on(model, text, progress)
    weighed = list(weighed_scores(model, view)) if weights else [{}] * len(scores)
    rows = []
    for (layer, head, measured), weight in zip(scores, weighed, strict=True):
        if weight:
            weight["deletion"] = measured["current"].value * max(0.0, -weight["ov_positivity"])
        rows.append(HeadScore(layer, head, measured, weight))
    erasing = erasers(model) if weights and not model.n_experts else ()
    return HeadScores(
        model.name, model.with_bos, text.length, repeats, samples, seed, view, tuple(rows), erasing
    )


def erasers(model: Weights) -> tuple[float, ...]:
    """By layer, the share of neurons whose value opposes their key."""
    limit = -5 * model.d_model**-0.5
    return tuple(
        float((key_value_cosines(model, layer) <= limit).float().mean())
        for layer in range(model.n_layers)
    )


@torch.no_grad()
def weighed_scores(model: Weights, view: View = "gain") -> Iterator[dict[str, float]]:
    """Scores of weights alone: Σλ/Σ|λ| of each head's full QK circuit, full OV circuit and W_OV.

    λ of E W_QK Eᵀ are those of W_QK (EᵀE), and λ of W_U W_OV E those of (E W_U) W_OV, so tokens are
    summed out once for all heads.

    Args:
        model: an open model or `open_weights`; nothing is run.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Returns: An iterator over {score: value}, layer by layer and head by head.
    Cost: 2 · d_vocab · d_model² once, and r × r eigenvalues a head.
    """
    if not model.n_layers:
        return
    seen, through = summed_over_tokens(model, view)
    for layer in range(model.n_layers):
        for head in layer_heads(model, layer, view):
            yield {
                "qk_positivity": head.qk.on_key(seen).positivity,
                "copying_positivity": (through @ head.ov).positivity,
                "ov_positivity": head.ov.positivity,
            }
