"""Do features mean something that is known? Facts as labels: no language model is asked.

Each fact's prompt is run, and features are read at the subject's last token and at the prompt's
last token. What a token stands for is known:

    relation R @ subject, @ end      the fact is of relation R
    answer A @ subject, @ end        the fact's answer is A

Half of the facts choose each unit's label (largest AUC) and its threshold (largest F1); the other
half, other subjects, are what AUC and F1 are said of. The control has the labels of the facts
shuffled, and chooses as freely. AUC = P(a positive row is above a negative one), ties half.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from loci.errors import DictionaryError
from loci.facts import Fact, token_span
from loci.model import Model, by_length
from loci.stats import Estimate, share

CLEAN = 0.8
"""Held-out F1 from which on a unit is said to have a clean label."""
FEWEST = 10
"""Facts that a label needs."""
POSITIONS = ("subject", "end")


@dataclass(frozen=True)
class LabelledFacts:
    """Rows of facts at two positions, and their labels."""

    facts: tuple[Fact, ...]
    values: dict[str, dict[str, Float[Tensor, "fact width"]]]
    """By point, then by position."""
    labels: tuple[tuple[str, str], ...]
    """(position, what is said there)."""
    marks: Bool[Tensor, "fact label"]
    train: Bool[Tensor, " fact"]


@dataclass(frozen=True)
class UnitLabels:
    """How a set of units (features, neurons, directions) matches the labels."""

    units: int
    """That vary over the facts at all."""
    labels: int
    clean: Estimate
    """Share of units whose best label has a held-out F1 of `CLEAN` at least."""
    covered: Estimate
    """Share of labels that some unit has so."""
    auc: float
    """Mean held-out AUC of units' best labels."""
    f1: float
    shuffled_clean: Estimate
    shuffled_covered: Estimate
    best: tuple[tuple[int, str, float, float], ...] = ()
    """Each clean unit: its number, its label, held-out AUC and F1; the best first."""

    def to_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "units": self.units,
            "n": self.labels,
            "auc": self.auc,
            "f1": self.f1,
        }
        plain |= {
            name: getattr(self, name).to_dict()
            for name in ("clean", "covered", "shuffled_clean", "shuffled_covered")
        }
        plain["best"] = [
            {"unit": u, "label": label, "auc": auc, "f1": f1} for u, label, auc, f1 in self.best
        ]
        return plain


@torch.no_grad()
def label_facts(
    model: Model, facts: Sequence[Fact], points: Sequence[str], *, seed: int = 0
) -> LabelledFacts:
    """Run the facts' prompts and read the points at the two positions. Raises `DictionaryError`
    where no label has facts enough.
    """
    facts = [fact for fact in facts if fact.relation is not None]
    tokens = model.tokenize_all([fact.text for fact in facts], model.n_ctx)
    ends = [
        token_span(t.offsets, fact.subject_span)[1] - 1
        for t, fact in zip(tokens, facts, strict=True)
    ]
    states: dict[str, dict[str, dict[int, Tensor]]] = {
        p: {at: {} for at in POSITIONS} for p in points
    }
    for batch in by_length(tokens, len, 4096):
        reads = model.read(model.ids([tokens[i].ids for i in batch]), *points)
        for point in points:
            wide = reads[point].flatten(2).float().cpu()
            for row, i in enumerate(batch):
                states[point]["subject"][i], states[point]["end"][i] = (
                    wide[row, ends[i]].clone(),
                    wide[row, -1].clone(),
                )
    values = {
        p: {at: torch.stack([rows[i] for i in range(len(facts))]) for at, rows in both.items()}
        for p, both in states.items()
    }
    labels = _labels(facts)
    if not labels:
        raise DictionaryError(
            f"no relation and no answer stands in {FEWEST} of these {len(facts)} facts: give more"
        )
    said = [(f"relation {fact.relation}", f"answer {fact.answer}") for fact in facts]
    marks = torch.tensor([[label in both for _, label in labels] for both in said])
    order = list(range(len(facts)))
    random.Random(seed).shuffle(order)
    train = torch.zeros(len(facts), dtype=torch.bool)
    train[order[: len(order) // 2]] = True
    return LabelledFacts(tuple(facts), values, tuple(labels), marks, train)


def _labels(facts: Sequence[Fact]) -> list[tuple[str, str]]:
    """Relations and answers of at least `FEWEST` facts and of at most half of them."""
    counts = Counter(f"relation {fact.relation}" for fact in facts) + Counter(
        f"answer {fact.answer}" for fact in facts
    )
    kept = sorted(label for label, count in counts.items() if FEWEST <= count <= len(facts) / 2)
    return [(at, label) for at in POSITIONS for label in kept]


def score_units(
    known: LabelledFacts, units: dict[str, Float[Tensor, "fact unit"]], *, seed: int = 0
) -> UnitLabels:
    """Match units with labels. `units` are by position. Cost: a sort of each unit's values, and
    facts · units · labels FLOPs.
    """
    clean, covered, matches, varied = _matched(known, units, known.marks)
    order = torch.randperm(len(known.facts), generator=torch.Generator().manual_seed(seed))
    shuffled_clean, shuffled_covered, _, _ = _matched(known, units, known.marks[order])
    best = sorted((each for each in matches if each[3] >= CLEAN), key=lambda each: -each[3])
    told = tuple((unit, _spoken(known.labels[label]), auc, f1) for unit, label, auc, f1 in best)
    mean = [sum(each[i] for each in matches) / max(1, len(matches)) for i in (2, 3)]
    return UnitLabels(
        varied,
        len(known.labels),
        share(clean),
        share(covered),
        mean[0],
        mean[1],
        share(shuffled_clean),
        share(shuffled_covered),
        told,
    )


def _spoken(label: tuple[str, str]) -> str:
    return f"{label[1]} @ {label[0]}"


Match = tuple[int, int, float, float]
"""A unit, its label, held-out AUC and F1."""


def _matched(
    known: LabelledFacts, units: dict[str, Tensor], marks: Tensor
) -> tuple[list[float], list[float], list[Match], int]:
    train, test = known.train, ~known.train
    columns = {
        at: [i for i, (where, _) in enumerate(known.labels) if where == at] for at in POSITIONS
    }
    aucs = torch.cat(
        [auc_of(units[at][train], marks[train][:, columns[at]]) for at in POSITIONS], 1
    )
    order = [i for at in POSITIONS for i in columns[at]]
    varies = torch.stack([units[at].std(0) > 0 for at in POSITIONS]).any(0)
    matches: list[Match] = []
    clean_of_label = dict.fromkeys(range(len(order)), 0.0)

    def judged(unit: int, column: int) -> Match:
        label = order[column]
        at = known.labels[label][0]
        values, mark = units[at][:, unit], marks[:, label]
        threshold = best_threshold(values[train], mark[train])
        auc = float(auc_of(values[test][:, None], mark[test][:, None]))
        return unit, label, auc, f1_of(values[test] > threshold, mark[test])

    best = aucs.argmax(1)
    for unit in varies.nonzero()[:, 0].tolist():
        match = judged(unit, int(best[unit]))
        matches.append(match)
        clean_of_label[match[1]] = max(clean_of_label[match[1]], match[3])
    aucs[~varies] = -1.0
    for column, unit in enumerate(aucs.argmax(0).tolist()):
        match = judged(unit, column)
        clean_of_label[match[1]] = max(clean_of_label[match[1]], match[3])
    clean = [float(each[3] >= CLEAN) for each in matches]
    return clean, [float(f1 >= CLEAN) for f1 in clean_of_label.values()], matches, len(matches)


def auc_of(
    values: Float[Tensor, "row unit"], marks: Bool[Tensor, "row label"]
) -> Float[Tensor, "unit label"]:
    """The area under the curve of each unit for each label, by mean ranks (Mann–Whitney); ½ where a
    label has no row or all.
    """
    columns = values.T.contiguous()
    ordered = columns.sort(dim=1).values
    low, high = (torch.searchsorted(ordered, columns, right=right) for right in (False, True))
    ranks = (low + high + 1).double() / 2
    wide = marks.double()
    positive = wide.sum(0)
    negative = len(wide) - positive
    above = ranks @ wide - positive * (positive + 1) / 2
    return torch.where(
        positive * negative > 0, above / (positive * negative).clamp(min=1), 0.5
    ).float()


def best_threshold(values: Float[Tensor, " row"], marks: Bool[Tensor, " row"]) -> float:
    """The t for which `values > t` has the largest F1: the middle between two values, or below them
    all.
    """
    ordered, order = values.sort(descending=True)
    hits = marks[order].cumsum(0).float()
    f1 = 2 * hits / (torch.arange(1, len(values) + 1) + marks.sum())
    last = torch.ones(len(values), dtype=torch.bool)
    last[:-1] = ordered[:-1] > ordered[1:]
    cut = int(torch.where(last, f1, -1.0).argmax())
    below = float(ordered[cut + 1]) if cut + 1 < len(values) else float(ordered[cut]) - 1.0
    return (float(ordered[cut]) + below) / 2


def f1_of(said: Bool[Tensor, " row"], marks: Bool[Tensor, " row"]) -> float:
    """2 · hits / (said + marked); 0 where nothing is marked."""
    total = int(said.sum() + marks.sum())
    return 2 * int((said & marks).sum()) / total if total and bool(marks.any()) else 0.0
