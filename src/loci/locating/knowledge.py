"""Knowledge neurons: which neurons a fact's attributions share across phrasings, and what silencing
and doubling them does.

1. Attribute the answer to every MLP neuron at the last subject token, in each phrasing (`neurons`,
   integrated gradients).
2. Keep a neuron in a phrasing where its score exceeds `threshold` times that phrasing's largest;
   keep it on the whole where `share` of the phrasings keep it.
3. Suppress (× 0) and amplify (× 2) the kept neurons at that token, in every phrasing, and see how
   P(answer) changes; beside it the same with equally many random neurons of the same layers, and
   with those among the others that are about as active.

A change that the controls show too is no sign of knowledge. Source: Dai et al. 2022, sections 3 and
4; thresholds as there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.knowledge_trial import FACTORS, Change, _by_layer, _changes, _Trial
from loci.locating.neuron_scores import STEPS, TOLERANCE, Baseline, neuron_attribution
from loci.model import Model, score_answers
from loci.model.given import fact_given
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns


@dataclass(frozen=True)
class KnowledgeNeurons(Result):
    """The neurons that a fact's phrasings share, and what they do."""

    about: ClassVar[About] = About(
        "knowledge neurons",
        "Which neurons do all phrasings of a fact share, and what happens when they are"
        " silenced or doubled?",
        "The fact's neurons beside as many random and equally active ones; a claim "
        "needs the blue bars to stand apart.",
        "neurons.knowledge_figure",
    )

    model: str
    bos: bool
    prompt: str
    answer: str
    phrasings: int
    known: int
    """Phrasings to which the model gives the answer."""
    baseline: Baseline
    threshold: float
    share: float
    seed: int
    cells: tuple[tuple[int, int, float], ...]
    """(layer, neuron, mean score), the largest first."""
    completeness: tuple[float, float]
    """Sum of all attributions of the first phrasing, and what it should be."""
    suppress: Change
    amplify: Change
    steps: int = 0
    """Gradients on the longest path of the phrasings."""
    tolerance: float = TOLERANCE
    incomplete: int = 0
    """Phrasings whose attributions do not sum to what they should, within the tolerance."""

    @property
    def warning(self) -> str | None:
        """A caution where attributions do not add up; None where they do."""
        if not self.incomplete:
            return None
        return (
            f"in {self.incomplete} of {self.phrasings} phrasings {self.steps} steps do not close"
            f" the attributions to {self.tolerance:.0%} of their sum (the first sums to"
            f" {self.completeness[0]:.3f} of {self.completeness[1]:.3f}): which neurons are kept"
            " may be off"
        )

    def summary(self) -> tuple[str, ...]:
        return (
            f"{len(self.cells)} neurons are shared by the phrasings. Silencing them changes"
            " P(answer)"
            f" by {self.suppress.change:+.2f}, as many random ones by"
            f" {self.suppress.random.value:+.2f}; doubling them by {self.amplify.change:+.2f}."
            + (f" Mind the warning: {self.warning}." if self.warning else ""),
        )

    def title(self) -> str:
        return f"{self.prompt} → {self.answer}: {len(self.cells)} shared neurons"

    def tables(self) -> tuple[Table, ...]:
        total, expected = self.completeness
        changes = [(name, getattr(self, name)) for name in FACTORS]
        return (
            Table(
                "Shared neurons",
                columns("neuron", "attribution|+.4f"),
                tuple((f"L{layer}N{neuron}", score) for layer, neuron, score in self.cells),
                shown=15,
            ),
            Table(
                "When they are changed",
                columns(
                    "",
                    "P(answer) before|.3f",
                    "after|.3f",
                    "changed by|+.3f",
                    "random neurons|+.3f",
                    "as active ones|+.3f",
                ),
                tuple(
                    (name, own.before, own.after, own.change, own.random, own.active)
                    for name, own in changes
                ),
                note=f"{self.known} of {self.phrasings} phrasings known; attributions of the first"
                f" sum to {total:.3f}, as they should to {expected:.3f} ({self.steps} steps)",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = (
            "model",
            "bos",
            "prompt",
            "answer",
            "phrasings",
            "known",
            "baseline",
            "threshold",
            "share",
            "seed",
        )
        controls = {
            which: {name: getattr(getattr(self, name), which).to_dict() for name in FACTORS}
            for which in ("random", "active")
        }
        return {
            "schema": "loci.knowledge/1",
            **{name: getattr(self, name) for name in plain},
            "neurons": [
                {"layer": layer, "neuron": i, "score": score} for layer, i, score in self.cells
            ],
            "completeness": dict(zip(("sum", "expected"), self.completeness, strict=True)),
            "steps": self.steps,
            "tolerance": self.tolerance,
            "incomplete": self.incomplete,
            **{name: getattr(self, name).to_dict() for name in FACTORS},
            **controls,
        }


def knowledge_neurons(
    model: Model,
    fact: Fact | str,
    *,
    baseline: Baseline = "zero",
    threshold: float = 0.2,
    share: float = 0.5,
    steps: int = STEPS,
    tolerance: float = TOLERANCE,
    samples: int = 10,
    controls: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> KnowledgeNeurons:
    """Find the neurons that the prompt and the paraphrases of a fact share, and test them against
    controls.

        loci.knowledge_neurons(model, fact, threshold=0.3)

    Steps are doubled, up to 16 times as many, until attributions sum to what they should within
    `tolerance`; else `warning` says so.
    Cost: `steps` gradients from each layer for each phrasing, then one batch of 2 · (1 + 2 ·
    `controls`) rows of each. Raises `FactError`.
    """
    fact = fact_given(model, fact)
    if not 0 < threshold < 1 or not 0 < share <= 1:
        raise FactError(f"threshold and share lie between 0 and 1, not {threshold} and {share}")
    asked = [
        Fact(fact.subject, template, fact.answer)
        for template in dict.fromkeys((fact.prompt, *fact.paraphrases))
        if "{}" in template
    ]
    options: dict[str, Any] = {"baseline": baseline, "steps": steps, "tolerance": tolerance}
    attributions = []
    for phrasing in asked:
        attributions.append(
            neuron_attribution(model, phrasing, **options, samples=samples, seed=seed)
        )
        progress(1, len(asked))
    cells = _shared([each.scores for each in attributions], threshold, share)
    chosen = _by_layer([(layer, neuron) for layer, neuron, _ in cells])
    changes = _changes(_Trial(model, asked), chosen, controls, seed)
    return KnowledgeNeurons(
        model=model.name,
        bos=model.with_bos,
        prompt=fact.text,
        answer=fact.answer,
        phrasings=len(asked),
        known=sum(
            score.said
            for score in score_answers(
                model, [(phrasing.text, phrasing.answer) for phrasing in asked]
            )
        ),
        baseline=baseline,
        threshold=threshold,
        share=share,
        seed=seed,
        cells=tuple(cells),
        completeness=attributions[0].completeness,
        suppress=changes["suppress"],
        amplify=changes["amplify"],
        steps=max(each.steps for each in attributions),
        tolerance=tolerance,
        incomplete=sum(not each.complete for each in attributions),
    )


def _shared(
    scores: Sequence[Tensor], threshold: float, share: float
) -> list[tuple[int, int, float]]:
    """Neurons above `threshold` of the largest in at least this `share` of the phrasings, by their
    mean score. Raises `FactError` where there are none.
    """
    above = torch.stack([each > threshold * each.max() for each in scores]).float().mean(0)
    mean_score = torch.stack(list(scores)).mean(0)
    cells = sorted(
        ((int(i), int(j), float(mean_score[i, j])) for i, j in (above >= share).nonzero().tolist()),
        key=lambda cell: -cell[2],
    )
    if not cells:
        raise FactError(
            f"the {len(scores)} phrasings share no neuron above {threshold} of the largest: lower"
            " threshold or share"
        )
    return cells
