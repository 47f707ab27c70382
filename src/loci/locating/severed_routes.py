"""Attention against MLP: through which of them, and in which layers, a fact comes from the subject
to the answer.

By windows of layers, the relative change of P(answer), 1 − P(cut) / P:
    edges    the last token may not attend to the subject's tokens (scores −∞)
    mlp      the MLPs' outputs at the subject's tokens are replaced by their mean over text
    attn     the attentions' outputs at the last token are replaced by their mean over text
In sum, the same with all layers cut at once: what share of the recall needs the MLPs at the
subject, and what share needs attention from the last token to the subject. A fact needs both, so
the shares do not sum to 1. Intervals over facts; the model's own knowledge only. Mean ablation
stays nearer to what occurs than zero, but is a choice: what an ablated layer would have passed on
is gone too.
Source: Geva et al. 2023, sections 5 and 6 (attention knock-out).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.asking import ask, known_of, probability
from loci.locating.runs import around
from loci.model import Edit, Model
from loci.model.answers import finite
from loci.model.given import facts_given, model_given
from loci.model.hooks import hiding, put_at
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, percent
from loci.survey import text_means
from loci.tables import Column, Table, columns

CUTS = ("edges", "mlp", "attn")


@dataclass(frozen=True)
class Routes(Result):
    """Relative loss of P(answer) by kind of cut: by layer (the middle of its window), and with all
    layers cut.
    """

    about: ClassVar[About] = About(
        "routes of recall",
        "What does recalling a fact need: attention to the subject, MLPs at the "
        "subject, attention at the last token?",
        "Each line is what is lost of P(answer) when one thing is cut at one layer.",
        "locating.routes_figure",
    )

    model: str
    bos: bool
    n: int
    unknown: int
    window: int
    by_layer: dict[str, list[Estimate]]
    all_layers: dict[str, Estimate]

    def summary(self) -> tuple[str, ...]:
        lost = {
            name: self.all_layers[cut]
            for name, cut in (("attention to the subject", "edges"), ("MLPs at the subject", "mlp"))
        }
        return (
            "Cut in all layers: "
            + "; ".join(f"without {name} {percent(e)} of P is lost" for name, e in lost.items())
            + ".",
        )

    def title(self) -> str:
        return (
            f"P(answer) lost by cutting, over {self.n} fact{'s' * (self.n != 1)} ({self.unknown}"
            " unknown, left out)"
        )

    def tables(self) -> tuple[Table, ...]:
        names = {
            "edges": "last token → subject",
            "mlp": "MLPs at the subject",
            "attn": "attention at the last token",
        }
        layers = range(len(self.by_layer["edges"]))
        return (
            Table(
                "At one layer",
                (Column("cut"), *(Column(str(layer), ".3f") for layer in layers)),
                tuple((name, *self.by_layer[cut]) for cut, name in names.items()),
                note="hundredths of P(answer), by layer; a fact needs both routes, so the shares do"
                " not sum to 1",
                heat=1.0,
            ),
            Table(
                "At all layers",
                columns("cut", "P(answer) lost|.0%"),
                tuple((name, self.all_layers[cut]) for cut, name in names.items()),
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.routes/1",
            "model": self.model,
            "bos": self.bos,
            "n": self.n,
            "unknown": self.unknown,
            "window": self.window,
            "by_layer": {
                cut: [estimate.to_dict() for estimate in row] for cut, row in self.by_layer.items()
            },
            "all_layers": {cut: estimate.to_dict() for cut, estimate in self.all_layers.items()},
        }


@torch.no_grad()
def routes(
    model: Model, facts: Fact | Sequence[Fact], *, window: int = 1, progress: Progress = silent
) -> Routes:
    """Cut each route of recall in every window of layers, and in all layers, for each fact that the
    model knows; the others are counted.

        found = loci.routes(model, loci.known_facts().sample(20))
        found.by_layer["mlp"]                           # share of P(answer) lost, with intervals,
                                                        layer by layer

    What is cut: "edges" (attention from the last token to the subject), "mlp" (MLPs at the
    subject), "attn" (attention at the last token). Returns: `Routes`: `by_layer[cut]`,
    `all_layers[cut]`, `n`, `unknown`.

    Cost: 3 · (layers + 1) rows of a batch for each fact. Raises `FactError` where it knows none,
    `ModelError` where attention cannot be cut.
    """
    if window < 1:
        raise FactError(f"a window has at least one layer, not {window}")
    facts = facts_given(facts)
    model_given(model).place("attn_scores.0")
    known = known_of(model, facts)
    means = text_means(model, *model.names("mlp_out", "attn_out"))
    lost: dict[tuple[str, int | None], list[float]] = {}
    places: list[int | None] = [None, *range(model.n_layers)]
    windows = [
        range(model.n_layers),
        *(around(layer, window, model.n_layers) for layer in range(model.n_layers)),
    ]
    for fact in known:
        recall = _Recall(model, fact, means)
        for cut in CUTS:
            for place, share in zip(places, recall.lost(cut, windows), strict=True):
                lost.setdefault((cut, place), []).append(share)
        progress(1, len(known))
    return Routes(
        model=model.name,
        bos=model.with_bos,
        n=len(known),
        unknown=len(facts) - len(known),
        window=window,
        by_layer={cut: [mean(lost[cut, layer]) for layer in range(model.n_layers)] for cut in CUTS},
        all_layers={cut: mean(lost[cut, None]) for cut in CUTS},
    )


@torch.no_grad()
def losses(model: Model, fact: Fact) -> dict[str, list[float]]:
    """Of one fact, known or not: the relative loss of P(answer) by kind of cut, layer by layer."""
    recall = _Recall(model, fact, text_means(model, *model.names("mlp_out", "attn_out")))
    return {
        cut: recall.lost(cut, [range(layer, layer + 1) for layer in range(model.n_layers)])
        for cut in CUTS
    }


class _Recall:
    """One fact's prompt, run whole and with parts cut."""

    def __init__(self, model: Model, fact: Fact, means: dict[str, Tensor]) -> None:
        self.model, self.means, self.asked = model, means, ask(model, fact)
        self.subject, self.last = slice(*self.asked.subject), len(self.asked.labels) - 1
        (self.whole,) = self.probabilities(1, {})

    def probabilities(self, rows: int, edits: dict[str, Edit]) -> list[float]:
        """P(answer) in each of some rows of the same prompt."""
        targets = self.asked.targets
        with self.model.patched(edits):
            logits = self.model(self.asked.ids.expand(rows, -1), last=len(targets))
        probabilities: list[float] = probability(
            finite(logits, self.model)[:, None], targets
        ).tolist()
        return probabilities

    def lost(self, cut: str, windows: Sequence[range]) -> list[float]:
        """1 − P(cut) / P for each window of layers: a row of one batch each."""
        length, targets = self.asked.ids.shape[1], len(self.asked.targets)
        step = max(1, min(self.model.tokens_at_once // length, self.model.rows_at_once // targets))
        parts = (windows[start : start + step] for start in range(0, len(windows), step))
        probabilities = [
            p for some in parts for p in self.probabilities(len(some), self._cuts(cut, some))
        ]
        return [1 - p / self.whole for p in probabilities]

    def _cuts(self, cut: str, windows: Sequence[range]) -> dict[str, Edit]:
        """The edits by which each row has the layers of its window cut."""
        edits: dict[str, Edit] = {}
        for layer in sorted({layer for window in windows for layer in window}):
            rows = torch.tensor([row for row, window in enumerate(windows) if layer in window])
            if cut == "edges":
                edits[f"attn_scores.{layer}"] = hiding(
                    rows, slice(None), slice(self.last, None), self.subject
                )
                continue
            name, where = (
                f"{cut}_out.{layer}",
                self.subject if cut == "mlp" else slice(self.last, None),
            )
            edits[name] = put_at(self.means[name], rows, where)
        return edits
