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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.asking import Asked, ask, probability
from loci.locating.neuron_scores import STEPS, TOLERANCE, Baseline, neuron_attribution
from loci.model import Edit, Model, score_answers
from loci.model.given import fact_given
from loci.progress import Progress, silent
from loci.result import Result
from loci.stats import Estimate, mean

Cells = Mapping[int, Sequence[int]]
FACTORS = {"suppress": 0.0, "amplify": 2.0}


@dataclass(frozen=True)
class Change:
    """P(answer), averaged over the phrasings, with some neurons scaled; and the same change with
    other neurons in their place.
    """

    before: float
    after: float
    random: Estimate
    """Change with equally many random neurons of the same layers."""
    active: Estimate
    """Change with equally many other neurons of the same layers that are about as active."""

    @property
    def change(self) -> float:
        return self.after - self.before

    def to_dict(self) -> dict[str, Any]:
        return {"before": self.before, "after": self.after, "change": self.change}


@dataclass(frozen=True)
class KnowledgeNeurons(Result):
    """The neurons that a fact's phrasings share, and what they do."""

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
        """What is to be known where attributions do not add up; None where they do."""
        if not self.incomplete:
            return None
        return (
            f"in {self.incomplete} of {self.phrasings} phrasings {self.steps} steps do not close"
            f" the attributions to {self.tolerance:.0%} of their sum (the first sums to"
            f" {self.completeness[0]:.3f} of {self.completeness[1]:.3f}): which neurons are kept"
            " may be off"
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
    found = []
    for one in asked:
        found.append(
            neuron_attribution(
                model,
                one,
                baseline=baseline,
                steps=steps,
                tolerance=tolerance,
                samples=samples,
                seed=seed,
            )
        )
        progress(1, len(asked))
    kept = (
        torch.stack([each.scores > threshold * each.scores.max() for each in found]).float().mean(0)
        >= share
    )
    scores = torch.stack([each.scores for each in found]).mean(0)
    cells = sorted(
        ((int(i), int(j), float(scores[i, j])) for i, j in kept.nonzero().tolist()),
        key=lambda cell: -cell[2],
    )
    if not cells:
        raise FactError(
            f"the {len(asked)} phrasings share no neuron above {threshold} of the largest: lower"
            " threshold or share"
        )
    chosen = _by_layer([(layer, neuron) for layer, neuron, _ in cells])
    trial = _Trial(model, asked)
    draws = Random(seed)
    randoms = [trial.random(chosen, draws) for _ in range(controls)]
    actives = [trial.active(chosen, draws) for _ in range(controls)]
    rows = [(some, factor) for factor in FACTORS.values() for some in (chosen, *randoms, *actives)]
    before, *after = trial.probabilities([({}, 1.0), *rows])
    each = 1 + 2 * controls

    def change(name: str) -> Change:
        start = each * list(FACTORS).index(name)
        found, *others = after[start : start + each]
        moved = [p - before for p in others]
        return Change(before, found, mean(moved[:controls], seed), mean(moved[controls:], seed))

    return KnowledgeNeurons(
        model=model.name,
        bos=model.with_bos,
        prompt=fact.text,
        answer=fact.answer,
        phrasings=len(asked),
        known=sum(
            score.said for score in score_answers(model, [(one.text, one.answer) for one in asked])
        ),
        baseline=baseline,
        threshold=threshold,
        share=share,
        seed=seed,
        cells=tuple(cells),
        completeness=found[0].completeness,
        suppress=change("suppress"),
        amplify=change("amplify"),
        steps=max(each.steps for each in found),
        tolerance=tolerance,
        incomplete=sum(not each.complete for each in found),
    )


def _by_layer(cells: Sequence[tuple[int, int]]) -> Cells:
    layers: dict[int, list[int]] = {}
    for layer, neuron in cells:
        layers.setdefault(layer, []).append(neuron)
    return layers


class _Trial:
    """The phrasings of a fact, run with neurons scaled at the last subject token."""

    def __init__(self, model: Model, asked: Sequence[Fact]) -> None:
        self.model = model
        self.asked = [ask(model, fact) for fact in asked]
        points, sizes = model.names("mlp_act"), []
        for one in self.asked:
            reads = model.read(one.ids, *points)
            sizes.append(
                torch.stack(
                    [reads[point][0, one.subject[1] - 1].abs().float().cpu() for point in points]
                )
            )
        self.sizes = torch.stack(sizes).mean(0)

    @torch.no_grad()
    def probabilities(self, trials: Sequence[tuple[Cells, float]]) -> list[float]:
        """P(answer) with some neurons scaled by a factor, averaged over the phrasings, for each
        trial: a row each, in batches.
        """
        total = torch.zeros(len(trials))
        for one in self.asked:
            step = max(
                1,
                min(
                    self.model.tokens_at_once // one.ids.shape[1],
                    self.model.rows_at_once // len(one.targets),
                ),
            )
            found = [
                self._rows(one, trials[start : start + step])
                for start in range(0, len(trials), step)
            ]
            total += torch.cat(found)
        return (total / len(self.asked)).tolist()

    def _rows(self, one: Asked, trials: Sequence[tuple[Cells, float]]) -> Tensor:
        """P(answer) of one phrasing in a batch of trials."""
        token, layers = (
            one.subject[1] - 1,
            sorted({layer for cells, _ in trials for layer in cells}),
        )
        edits = {
            f"mlp_act.{layer}": _scale(token, self._factors(layer, trials)) for layer in layers
        }
        with self.model.patched(edits):
            logits = self.model(one.ids.expand(len(trials), -1), last=len(one.targets))
        return probability(logits[:, None], one.targets)

    def _factors(
        self, layer: int, trials: Sequence[tuple[Cells, float]]
    ) -> Float[Tensor, "row d_mlp"]:
        """By what each neuron of a layer is multiplied in each trial."""
        factors = torch.ones(len(trials), self.sizes.shape[1])
        for row, (cells, factor) in enumerate(trials):
            factors[row, cells.get(layer, [])] = factor
        return factors.to(self.model.device)

    def random(self, cells: Cells, draws: Random) -> Cells:
        """Equally many neurons of the same layers, none of those."""
        return {
            layer: draws.sample(self._others(layer, some), len(some))
            for layer, some in cells.items()
        }

    def active(self, cells: Cells, draws: Random) -> Cells:
        """For each neuron one of the ten others of its layer whose activations are nearest to its
        own in size.
        """
        picked: dict[int, list[int]] = {}
        for layer, some in cells.items():
            free = self._others(layer, some)
            for neuron in some:
                gaps = (self.sizes[layer, free] - self.sizes[layer, neuron]).abs()
                nearest = gaps.topk(min(10, len(free)), largest=False).indices.tolist()
                picked.setdefault(layer, []).append(free.pop(draws.choice(nearest)))
        return picked

    def _others(self, layer: int, some: Sequence[int]) -> list[int]:
        return sorted(set(range(self.sizes.shape[1])) - set(some))


def _scale(token: int, factors: Float[Tensor, "row d_mlp"]) -> Edit:
    def scale(act: Tensor) -> Tensor:
        act = act.clone()
        act[:, token] *= factors.to(act)
        return act

    return scale
