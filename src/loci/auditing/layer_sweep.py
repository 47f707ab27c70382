"""Does the trace tell where to edit? Edit every fact at every layer, and set each edit's success
beside the trace's effect there.

    success(fact, layer) = P(new answer) after the edit        effect(fact, layer) = of the MLP at
                                                               the last subject token

The rank correlation over layers within a fact asks what a user would: does the layer that the trace
points at edit best? The published finding is that it does not (Hase et al. 2023). A layer where
edits fail may also be one where the method's defaults do not fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing import key_moments
from loci.editing.edit import edit
from loci.errors import EditError, FactError
from loci.facts import Fact
from loci.locating import trace
from loci.model import Model, score_answers
from loci.model.fingerprint import hashed_once
from loci.model.given import facts_given, model_given
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, rank_correlation, share
from loci.tables import Table, columns


@dataclass(frozen=True)
class Sweep(Result):
    """Edits at every layer: [fact, layer] of success and effect, and what they say together."""

    about: ClassVar[About] = About(
        "where to edit",
        "Does the trace tell at which layer an edit works?",
        "Two lines over the layers: how often an edit there takes, and how much a trace"
        " there gives back.",
        "auditing.sweep_figure",
    )

    model: str
    bos: bool
    edits: int
    failed: int
    """Edits that the method refused; they count as without success."""
    seed: int
    success: Float[Tensor, "fact layer"]
    """P(new answer) of the edited prompt."""
    greedy: Float[Tensor, "fact layer"]
    """1 where the new answer is the greedy one, in full."""
    effects: Float[Tensor, "fact layer"]

    @property
    def efficacy(self) -> list[Estimate]:
        """Share of greedy new answers by layer."""
        return [share(column.tolist()) for column in self.greedy.T]

    @property
    def effect(self) -> list[Estimate]:
        """Mean effect by layer."""
        return [mean(column.tolist()) for column in self.effects.T]

    @property
    def correlation(self) -> Estimate:
        """Mean over facts of the rank correlation between success and effect over the layers;
        facts where nothing varies left out."""
        each = [
            rank_correlation(s, e)
            for s, e in zip(self.success.tolist(), self.effects.tolist(), strict=True)
        ]
        return mean([rho for rho in each if rho == rho])

    def summary(self) -> tuple[str, ...]:
        best = max(range(len(self.efficacy)), key=lambda i: self.efficacy[i].value)
        peak = max(range(len(self.effect)), key=lambda i: self.effect[i].value)
        return (
            f"Edits take best at layer {best} ({self.efficacy[best].value:.0%}); traces are"
            " largest at"
            f" layer {peak}. Rank correlation over layers, mean over facts: {self.correlation}.",
        )

    def title(self) -> str:
        return f"{self.edits} facts edited at every layer ({self.failed} edits refused)"

    def tables(self) -> tuple[Table, ...]:
        rows = enumerate(zip(self.efficacy, self.effect, strict=True))
        return (
            Table(
                "By layer",
                columns("layer", "efficacy|.0%", "traced effect|.3f"),
                tuple((str(layer), done, effect) for layer, (done, effect) in rows),
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.sweep/1",
            "model": self.model,
            "bos": self.bos,
            "edits": self.edits,
            "failed": self.failed,
            "seed": self.seed,
            "layers": [
                {"layer": layer, "efficacy": done.to_dict(), "effect": effect.to_dict()}
                for layer, (done, effect) in enumerate(zip(self.efficacy, self.effect, strict=True))
            ],
            "correlation": self.correlation.to_dict(),
        }


@hashed_once
def sweep(
    model: Model,
    wishes: Fact | Sequence[Fact],
    *,
    samples: int = 10,
    seed: int = 0,
    progress: Progress = silent,
) -> Sweep:
    """Trace and edit each fact at every layer: does the trace tell where editing works?

        loci.sweep(model, [fact.to("baseball")]).correlation

    Args:
        model: an open model; it is left as it was.
        wishes: facts with a new answer, one or several.
        samples: noise samples of each trace.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Sweep`: `efficacy` and `effect` by layer, their rank `correlation`, `failed` edits.
    Raises: `FactError` for a fact without a new answer.
    Cost: For each fact one trace and n_layers edits; a covariance for each layer.
    Source: Hase et al. 2023.
    """
    model_given(model)
    wishes = facts_given(wishes)
    if not wishes:
        raise FactError("there are no facts to edit")
    moments = key_moments(model, range(model.n_layers))
    success, greedy, effects = (torch.zeros(len(wishes), model.n_layers) for _ in range(3))
    failed = 0
    for row, wish in enumerate(wishes):
        traced = trace(model, wish, kinds=("mlp",), samples=samples, seed=seed)
        effects[row] = traced.grids["mlp"][:, traced.subject_span[1] - 1]
        for layer in range(model.n_layers):
            try:
                patch = edit(model, [wish], layers=[layer], moments=moments, report=False)
            except EditError:
                failed += 1
            else:
                with patch.applied(model):
                    score = score_answers(model, [(wish.text, wish.new_answer or "")])[0]
                success[row, layer], greedy[row, layer] = score.probability, float(score.greedy)
            progress(1, len(wishes) * model.n_layers)
    return Sweep(model.name, model.with_bos, len(wishes), failed, seed, success, greedy, effects)
