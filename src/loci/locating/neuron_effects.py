"""Do the same neurons serve all facts of a subject?

    effect (neuron) = log P(answer) − log P(answer | the neuron at the subject's last token writes
    its mean over text)

If one neuron stood for a subject, and all its facts hung on that neuron, the effects of all neurons
would correlate between two facts of one subject. They are set between two bounds: between two
phrasings of one fact (above), and between the same relation of two subjects (below).
Source: Nanda et al. 2023 (Fact Finding), post 3, where those of nine facts about Michael Jordan
hardly correlate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.locating.asking import ask
from loci.locating.patched_runs import BATCH_TOKENS, recorded
from loci.model import Model, score_answers
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, correlation, mean
from loci.survey import text_means

PAIRS = (
    "same fact, another phrasing",
    "same subject, another fact",
    "another subject, same relation",
)


@dataclass(frozen=True)
class Effects(Result):
    """Correlations of single neurons' effects between pairs of facts."""

    about: ClassVar[About] = About(
        "",
        "",
        "",
        "lookup.part_figure",
    )

    model: str
    bos: bool
    subjects: tuple[str, ...]
    neurons: int
    """So many were ablated one by one for each fact: all, or a random part of them."""
    seed: int
    correlations: dict[str, tuple[float, ...]]

    @property
    def means(self) -> dict[str, Estimate]:
        return {pair: mean(values) for pair, values in self.correlations.items()}

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("model", "bos", "neurons", "seed")}
        pairs = {
            pair: {**self.means[pair].to_dict(), "correlations": list(values)}
            for pair, values in self.correlations.items()
        }
        return {
            "schema": "loci.effects/1",
            **plain,
            "subjects": list(self.subjects),
            "pairs": pairs,
        }


@torch.no_grad()
def effects(
    model: Model,
    facts: FactSet,
    subjects: Sequence[str],
    *,
    count: int = 12,
    neurons: int = 1536,
    seed: int = 0,
    budget: int = BATCH_TOKENS,
    progress: Progress = silent,
) -> Effects:
    """Ablate neurons one by one for every fact of the first `count` subjects with two facts and two
    phrasings that the model knows.

    Cost: a replay from its layer on for each neuron, fact and phrasing. Raises `FactError` for
    fewer than two such subjects.
    """
    known = _known(model, facts, subjects, count)
    if len(known) < 2:
        raise FactError(
            "single effects need two subjects with two known facts in two phrasings, and"
            f" {model.name!r} knows {len(known)}"
        )
    total = model.n_layers * model.d_mlp
    chosen = (
        torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:neurons].sort().values
    )
    means = text_means(model, *model.names("mlp_act"))
    vectors: dict[str, dict[tuple[str | None, int], Tensor]] = {}
    asked = [
        (subject, fact.relation, i, phrasing)
        for subject, pairs in known.items()
        for fact, both in pairs
        for i, phrasing in enumerate(both)
    ]
    for subject, relation, i, phrasing in asked:
        vectors.setdefault(subject, {})[relation, i] = ablated(
            model, phrasing, chosen, means, budget
        )
        progress(1, len(asked))
    correlations: dict[str, list[float]] = {pair: [] for pair in PAIRS}
    names = list(vectors)
    for subject, following in zip(names, [*names[1:], names[0]], strict=True):
        mine, theirs = vectors[subject], vectors[following]
        firsts = [relation for relation, i in mine if i == 0]
        correlations[PAIRS[0]] += [_r(mine[relation, 0], mine[relation, 1]) for relation in firsts]
        correlations[PAIRS[1]] += [_r(mine[a, 0], mine[b, 0]) for a, b in combinations(firsts, 2)]
        correlations[PAIRS[2]] += [
            _r(mine[relation, 0], theirs[relation, 0])
            for relation in firsts
            if (relation, 0) in theirs
        ]
    finite = {pair: tuple(r for r in rs if r == r) for pair, rs in correlations.items()}
    return Effects(model.name, model.with_bos, tuple(names), len(chosen), seed, finite)


def ablated(
    model: Model, fact: Fact, chosen: Tensor, means: dict[str, Tensor], budget: int = BATCH_TOKENS
) -> Float[Tensor, " neuron"]:
    """log P(answer) lost by each neuron at the subject's last token writing its mean; neurons count
    through all layers.
    """
    run = recorded(model, ask(model, fact), budget)
    token = run.asked.subject[1] - 1
    drops = []
    for layer in range(model.n_layers):
        here = (
            chosen[(chosen >= layer * model.d_mlp) & (chosen < (layer + 1) * model.d_mlp)]
            - layer * model.d_mlp
        )
        if len(here):
            left = run.neurons(layer, token, here, means[f"mlp_act.{layer}"])
            drops.append(
                torch.tensor(run.level).clamp(min=1e-30).log() - left.clamp(min=1e-30).log()
            )
    return torch.cat(drops)


def _known(
    model: Model, facts: FactSet, subjects: Sequence[str], count: int
) -> dict[str, list[tuple[Fact, tuple[Fact, Fact]]]]:
    """Subjects with at least two facts, each in two phrasings that the model answers."""
    known: dict[str, list[tuple[Fact, tuple[Fact, Fact]]]] = {}
    for subject in dict.fromkeys(subjects):
        pairs = []
        for fact in {fact.relation: fact for fact in facts.about(subject)}.values():
            prompts = [prompt for prompt in (fact.prompt, *fact.paraphrases) if "{}" in prompt]
            phrased = [replace(fact, prompt=prompt) for prompt in prompts]
            scores = score_answers(
                model, [(phrasing.text, phrasing.answer) for phrasing in phrased]
            )
            right = [
                phrasing for phrasing, score in zip(phrased, scores, strict=True) if score.greedy
            ]
            if len(right) > 1:
                pairs.append((fact, (right[0], right[1])))
        if len(pairs) > 1:
            known[subject] = pairs
        if len(known) == count:
            break
    return known


def _r(a: Tensor, b: Tensor) -> float:
    return correlation(a.tolist(), b.tolist())
