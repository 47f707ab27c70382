"""Linear probes: from which layer on can an attribute be read off the subject's last token?

    W = argmin ‖X W − Y‖² + ridge · ‖W‖²,  answer = argmax of x W
                                           X [subject, d_model] standardised, Y one-hot

Subjects are held out in `folds`, so a probe is only asked about subjects that it never saw. Two
controls stand beside it: always saying the commonest answer, and a probe trained on shuffled
answers, which shows what so many dimensions fit by chance. A probe finds what can be read, not what
the model uses. Sources: Nanda et al. 2023 (Fact Finding); Hewitt & Liang 2019 (controls).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.linalg import solve_positive
from loci.model import Model, by_length
from loci.model.given import facts_given, model_given
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, percent, share
from loci.tables import Table, columns

FEWEST = 5


@dataclass(frozen=True)
class Probe(Result):
    """Accuracy on held-out subjects after each layer (the first entry: embeddings alone), and of
    the controls.
    """

    about: ClassVar[About] = About(
        "a probe",
        "From which layer on can the answers be read off the last token of the subject?",
        "Accuracy on subjects that the probe never saw, beside shuffled answers: only "
        "the distance between the two counts.",
        "locating.probe_figure",
    )

    model: str
    bos: bool
    relation: str | None
    answers: tuple[str, ...]
    subjects: int
    left_out: int
    """Subjects whose answer fewer than five have: a probe could not learn it."""
    folds: int
    seed: int
    accuracy: tuple[Estimate, ...]
    shuffled: tuple[Estimate, ...]
    commonest: Estimate

    def summary(self) -> tuple[str, ...]:
        best = max(range(len(self.accuracy)), key=lambda i: self.accuracy[i].value)
        return (
            f"Best after {'the embeddings' if best == 0 else f'layer {best - 1}'}:"
            f" {percent(self.accuracy[best])} of held-out subjects; with shuffled answers"
            f" {self.shuffled[best].value:.0%}, by always saying the commonest"
            f" {self.commonest.value:.0%}.",
        )

    def title(self) -> str:
        return (
            f"{self.relation or 'answers'} at the last subject token: {self.subjects} subjects,"
            f" {len(self.answers)} answers"
        )

    def tables(self) -> tuple[Table, ...]:
        names = ("embeddings", *map(str, range(len(self.accuracy) - 1)))
        left = f"; {self.left_out} subjects left out, whose answers are too rare" * bool(
            self.left_out
        )
        return (
            Table(
                "By layer",
                columns("after layer", "held-out accuracy|.1%", "shuffled answers|.1%"),
                tuple(zip(names, self.accuracy, self.shuffled, strict=True)),
                note=f"the commonest answer alone: {self.commonest.value:.1%}{left}",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name)
            for name in ("model", "bos", "relation", "subjects", "left_out", "folds", "seed")
        }
        lists = {
            name: [estimate.to_dict() for estimate in getattr(self, name)]
            for name in ("accuracy", "shuffled")
        }
        return {
            "schema": "loci.probe/1",
            **plain,
            "answers": list(self.answers),
            **lists,
            "commonest": self.commonest.to_dict(),
        }


@dataclass(frozen=True)
class Subjects:
    """Subjects with one answer each, in folds to be held out."""

    facts: tuple[Fact, ...]
    answers: tuple[str, ...]
    labels: Int[Tensor, " subject"]
    parts: tuple[Int[Tensor, " held"], ...]
    left_out: int

    @property
    def relation(self) -> str | None:
        """The relation of all of them, where they have one."""
        relations = {fact.relation for fact in self.facts}
        return relations.pop() if len(relations) == 1 else None

    @property
    def commonest(self) -> Estimate:
        """How often the commonest answer is right."""
        return share([float(label == self.labels.mode().values) for label in self.labels])

    def accuracy(
        self,
        trained: Float[Tensor, "subject d_model"],
        asked: Float[Tensor, "subject d_model"] | None = None,
        labels: Int[Tensor, " subject"] | None = None,
        ridge: float = 1.0,
    ) -> Estimate:
        """Of probes trained on the other subjects' states, on those held out: in the same states,
        or in others that are asked about.
        """
        labels = self.labels if labels is None else labels
        hits = [
            hit
            for part in self.parts
            for hit in _held_out(trained, labels, part, len(self.answers), ridge, asked)
        ]
        return share([float(hit) for hit in hits])


def subjects_of(facts: Sequence[Fact], folds: int = 5, seed: int = 0) -> Subjects:
    """One fact a subject, with answers that enough subjects have. Raises `FactError` where too few
    are left.
    """
    one_each = list({fact.subject: fact for fact in facts}.values())
    counts = Counter(fact.answer for fact in one_each)
    frequent = tuple(fact for fact in one_each if counts[fact.answer] >= FEWEST)
    answers = tuple(sorted({fact.answer for fact in frequent}))
    if len(answers) < 2 or folds < 2:
        raise FactError(
            f"a probe needs two folds, and two answers that {FEWEST} subjects have: there are"
            f" {len(answers)} in {len(one_each)} subjects"
        )
    if folds > len(frequent):
        raise FactError(f"{len(frequent)} subjects cannot be held out in {folds} folds")
    labels = torch.tensor([answers.index(fact.answer) for fact in frequent])
    order = list(range(len(frequent)))
    Random(seed).shuffle(order)
    return Subjects(
        frequent,
        answers,
        labels,
        tuple(torch.tensor(order[i::folds]) for i in range(folds)),
        len(one_each) - len(frequent),
    )


@torch.no_grad()
def probe(
    model: Model,
    facts: Fact | Sequence[Fact],
    *,
    folds: int = 5,
    ridge: float = 1.0,
    seed: int = 0,
    progress: Progress = silent,
) -> Probe:
    """From which layer on can the answers be read at the last subject token? Ridge regression on
    held-out subjects, by layer.

        found = loci.probe(model, loci.known_facts().of("athlete_sport"))
        found.accuracy                                  # after the embeddings, after layer 0, …,
                                                        each with its interval

    Facts of one relation make sense together. Args: `folds` of subjects, `ridge` relative to the
    states' variance. Returns: `Probe`: `accuracy`, `shuffled` (the same with answers shuffled),
    `commonest` (always the commonest answer), `left_out`.

    Cost: one run over the prompts, and 2 · folds small solves a layer. Raises `FactError` where
    there are too few subjects or answers.
    """
    model_given(model)
    task = subjects_of(facts_given(facts), folds, seed)
    shuffled = task.labels[
        torch.tensor(Random(seed + 1).sample(range(len(task.facts)), len(task.facts)))
    ]
    states = _states(model, task.facts)
    hits: list[Estimate] = []
    chance: list[Estimate] = []
    for layer in range(states.shape[1]):
        hits.append(task.accuracy(states[:, layer], ridge=ridge))
        chance.append(task.accuracy(states[:, layer], labels=shuffled, ridge=ridge))
        progress(1, states.shape[1])
    return Probe(
        model=model.name,
        bos=model.with_bos,
        relation=task.relation,
        answers=task.answers,
        subjects=len(task.facts),
        left_out=task.left_out,
        folds=folds,
        seed=seed,
        accuracy=tuple(hits),
        shuffled=tuple(chance),
        commonest=task.commonest,
    )


def _states(model: Model, facts: Sequence[Fact]) -> Float[Tensor, "subject layer d_model"]:
    """The residual stream at each prompt's last subject token: what comes after it makes no
    difference there.
    """
    tokens = [model.tokenize(fact.text) for fact in facts]
    return states(
        model,
        [
            text.ids[: text.span(fact.subject_span)[1]]
            for text, fact in zip(tokens, facts, strict=True)
        ],
    )


def states(model: Model, ids: Sequence[Sequence[int]]) -> Float[Tensor, "text layer d_model"]:
    """The residual stream at each text's last token: as the first block finds it, then after each
    layer.
    """
    points = ["resid_pre.0", *model.names("resid_post")]
    streams = torch.empty(len(ids), len(points), model.d_model, dtype=torch.float64)
    for batch in by_length(ids, len, 8192):
        reads = model.read(model.ids([ids[i] for i in batch]), *points)
        for layer, point in enumerate(points):
            streams[batch, layer] = reads[point][:, -1].double().cpu()
    return streams


def readout(
    X: Float[Tensor, "subject d_model"],
    labels: Int[Tensor, " subject"],
    classes: int,
    ridge: float = 1.0,
) -> tuple[Float[Tensor, "d_model answer"], Float[Tensor, " answer"]]:
    """The probe of these subjects as an affine map of the stream: scores = x W + b."""
    mean, scale = X.mean(0), X.std(0).clamp(min=1e-6)
    A = torch.cat([(X - mean) / scale, torch.ones(len(X), 1, dtype=X.dtype)], 1)
    Y = torch.nn.functional.one_hot(labels, classes).to(X.dtype)
    gram = A.T @ A + ridge * len(X) ** 0.5 * torch.eye(A.shape[1], dtype=X.dtype)
    solved = solve_positive(gram, A.T @ Y, "the probe's system")
    W = solved[:-1] / scale[:, None]
    return W, solved[-1] - mean @ W


def others(part: Int[Tensor, " held"], count: int) -> Int[Tensor, " train"]:
    """The subjects that are not held out."""
    train = torch.ones(count, dtype=torch.bool)
    train[part] = False
    return train.nonzero()[:, 0]


def _held_out(
    X: Float[Tensor, "subject d_model"],
    labels: Int[Tensor, " subject"],
    part: Int[Tensor, " held"],
    classes: int,
    ridge: float,
    asked: Float[Tensor, "subject d_model"] | None = None,
) -> list[bool]:
    """Whether each held-out subject's answer is found by a probe of the others, in X or in what
    else is asked about.
    """
    train = others(part, len(X))
    W, b = readout(X[train], labels[train], classes, ridge)
    predicted: Tensor = ((X if asked is None else asked)[part] @ W + b).argmax(1)
    return [bool(hit) for hit in predicted == labels[part]]
