"""`forensics`: base and edited checkpoint compared, and what was done named in plain words."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import torch

from loci.auditing.forensics.candidates import Candidate, subject_keys
from loci.auditing.forensics.changed_answers import NewAnswer, new_answers, written_words
from loci.auditing.forensics.changes import WeightChange, compare
from loci.auditing.forensics.subjects import THRESHOLD, EditedWeight, Suspects, suspects
from loci.auditing.forensics.verdict import foreign, said
from loci.errors import FactError
from loci.model import Model, Weights
from loci.patches.extras import Extras, extras_of
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns

MLP = ("down", "up", "gate")


@dataclass(frozen=True)
class Subject:
    """One candidate's evidence."""

    subject: str
    score: float
    """z: robust deviations of its share's log odds from the other candidates' median, when it
    was judged."""
    share: float
    """Of the whitened key, how much lies in the change's directions: 1 for an edited subject,
    were its key known exactly."""
    edited: bool
    answers: tuple[NewAnswer, ...] = ()
    writes: tuple[str, ...] = ()
    """Tokens that the change promotes most at the subject, by the logit lens."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "score": self.score,
            "share": self.share,
            "edited": self.edited,
            "answers": [answer._asdict() | {"changed": answer.changed} for answer in self.answers],
            "writes": list(self.writes),
        }


@dataclass(frozen=True)
class Forensics(Result):
    """The differences of two checkpoints, and the subjects that they are about."""

    about: ClassVar[About] = About(
        "forensics",
        "What was done to a checkpoint, and whom is it about?",
        "Above, the weights that changed; below, the candidates by their scores.",
        "forensics.forensics_figure",
    )

    base: str
    edited: str
    bos: bool | None
    """Whether a BOS stood before every text; None where nothing was run."""
    compared: int
    """Parameters that were compared."""
    weights: tuple[WeightChange, ...]
    """Those that differ."""
    subjects: tuple[Subject, ...]
    """Every candidate: first those found, in the order in which they were, then the others by
    their score."""
    searched: tuple[str, ...]
    """Weights that the subjects were judged by."""
    directions: int
    """The largest number of subjects that they could hold."""
    ridge: dict[str, float]
    """The editor's ridge that fits best, by weight, in units of the mean variance; infinite
    where no statistics were used."""
    threshold: float
    seed: int
    extras: Extras = field(default_factory=Extras)
    """Other tensors and files on one side only, or not the same."""

    @property
    def suspected(self) -> list[Subject]:
        return [subject for subject in self.subjects if subject.edited]

    @property
    def verdict(self) -> str:
        names = [subject.subject for subject in self.suspected]
        return said(
            self.weights, self.compared, names, len(self.subjects), bool(self.extras.tensors)
        )

    def title(self) -> str:
        return f"{self.base} → {self.edited}"

    def summary(self) -> tuple[str, ...]:
        return (self.verdict,)

    def tables(self) -> tuple[Table, ...]:
        return (*self._changed(), *self._suspects())

    def _changed(self) -> tuple[Table, ...]:
        changes = [own for own in self.weights if not own.rounding]
        rows = tuple(
            (
                own.name,
                own.relative,
                own.rank,
                len(own.values),
                float(own.values[0]),
                f"{max(own.drift.left, own.drift.right):.0f}°" if own.drift else "",
            )
            for own in sorted(changes, key=lambda own: -own.relative)
        )
        heads = columns("weight", "‖Δ‖ / ‖W‖", "rank", "of", "largest σ", "dominant turned")
        beside = "; ".join(self.extras.lines(self.base, self.edited))
        return (
            (Table("Weights that changed", heads, rows, note=beside, shown=20),)
            if rows or beside
            else ()
        )

    def _suspects(self) -> tuple[Table, ...]:
        if not self.searched:
            return ()
        rows = []
        for subject in self.suspected:
            answer = next((answer for answer in subject.answers if answer.changed), None)
            says = f"{answer.prompt} {answer.old} → {answer.new}" if answer else "as before"
            rows.append((subject.subject, subject.score, subject.share, says))
        rest = max((own.score for own in self.subjects if not own.edited), default=None)
        note = (
            ""
            if rest is None
            else f"score: from {self.threshold:g} it counts; the others reach {rest:.1f}"
        )
        heads = columns("subject", "score|.1f", "share|.2f", "says now")
        return (Table("Subjects found", heads, tuple(rows), note=note, shown=20),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.forensics/1",
            "base": self.base,
            "edited": self.edited,
            "bos": self.bos,
            "compared": self.compared,
            "weights": [change.to_dict() for change in self.weights],
            "subjects": [subject.to_dict() for subject in self.subjects],
            "searched": list(self.searched),
            "directions": self.directions,
            "editor_ridge": {
                name: ridge if math.isfinite(ridge) else None for name, ridge in self.ridge.items()
            },
            "threshold": self.threshold,
            "seed": self.seed,
            "extras": self.extras.to_dict(),
            "verdict": self.verdict,
        }


def forensics(
    base: Callable[[], Model] | Model,
    edited: Weights,
    candidates: Sequence[Candidate] = (),
    *,
    stored: Weights | None = None,
    texts: Iterable[str] | None = None,
    answers: bool = True,
    seed: int = 0,
    progress: Progress = silent,
) -> Forensics:
    """Compare two checkpoints, and name the subjects that a change of MLP weights is about.

        loci.forensics(model, loci.open_weights("./edited"))

    Args:
        base: a model, or a function that opens it when it is needed; it is left as it was.
        edited: the checkpoint in question.
        candidates: subjects to judge.
        stored: the base's weights as they lie on disk (`open_weights` with dtype "auto"); None: the
            model's own.
        texts: text for the keys' statistics; None: the embedded text.
        answers: ask those suspected before and after.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Forensics`.
    Raises: `ModelError` for models that cannot be compared, `FactError` for an empty subject.
    Cost: As `compare`, and for each changed layer a pass over 10 tokens a neuron.
    """
    if any(not candidate.subject.strip() for candidate in candidates):
        raise FactError("a subject is empty")
    opened = cache(lambda: base if isinstance(base, Model) else base())
    reference = stored or opened()
    changes = compare(reference, edited, progress=progress)
    written = (
        []
        if foreign(changes, len(reference.parameter_names)) or reference.n_experts
        else _written(reference, edited, changes)
    )
    evidence = None
    subjects = tuple(Subject(candidate.subject, 0.0, 0.0, False) for candidate in candidates)
    if candidates and written:
        evidence = suspects(
            opened(), written, candidates, texts=texts, seed=seed, progress=progress
        )
        subjects = _subjects(opened(), edited, written, candidates, evidence, ask=answers)
    return Forensics(
        reference.name,
        edited.name,
        opened().with_bos if evidence else None,
        len(reference.parameter_names),
        changes,
        subjects,
        tuple(change.name for change in written),
        evidence.directions if evidence else 0,
        evidence.ridge if evidence else {},
        THRESHOLD,
        seed,
        extras_of(reference, edited),
    )


def _written(base: Weights, edited: Weights, changes: Sequence[WeightChange]) -> list[EditedWeight]:
    """The MLP weights that changed beyond rounding, as [out, in]; a fused gate and up are two."""
    written = []
    for change in changes:
        stem, _, layer = change.name.partition(".")
        for part in stem.removeprefix("W_").split("+"):
            if change.rounding or not stem.startswith("W_") or part not in MLP:
                continue
            before, after = (
                getattr(weights, f"W_{part}")(int(layer)).double() for weights in (base, edited)
            )
            if not torch.equal(before, after):
                written.append(
                    EditedWeight(
                        f"W_{part}.{layer}", after - before, None if change.full else change.rank
                    )
                )
    return written


def _subjects(
    model: Model,
    edited: Weights,
    written: Sequence[EditedWeight],
    candidates: Sequence[Candidate],
    evidence: Suspects,
    *,
    ask: bool,
) -> tuple[Subject, ...]:
    order = [
        *evidence.taken,
        *(i for i in evidence.z.argsort(descending=True).tolist() if i not in set(evidence.taken)),
    ]
    chosen = [candidates[i] for i in evidence.taken]
    asked: list[list[NewAnswer]] = []
    words: list[list[str]] = []
    if ask and chosen:
        asked = new_answers(model, edited, chosen)
        words = written_words(
            model,
            written,
            subject_keys(model, chosen, sorted({change.point for change in written})),
        )
    return tuple(
        Subject(
            candidates[i].subject,
            float(evidence.z[i]),
            float(evidence.share[i]),
            place < len(chosen),
            tuple(asked[place]) if place < len(asked) else (),
            tuple(words[place]) if place < len(words) else (),
        )
        for place, i in enumerate(order)
    )
