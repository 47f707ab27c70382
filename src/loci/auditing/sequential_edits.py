"""Edits one after another: how the metrics go with their number, and an early warning before the
model collapses.

    output change of a layer   ‖Δ C^½‖_F / ‖W C^½‖_F        C: second moment of the layer's keys
                                                            over text, Δ: all edits' change together
    rank share of a layer      rank of Δ's factors / min(d_model, d_mlp), at most 1

Each step edits `each` more facts after what is there (`edit(…, after=patch)`), so that earlier
edits are history. At a checkpoint all edits made so far are asked, or a seeded `most` of them. A
warning says that one of `LIMITS` is passed. They are set where an update is still far from `edit`'s
own refusal (2.0), and where text is visibly another: rules of thumb, not laws; change and drift
grow before the answers go.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from loci.auditing.controls import ControlSettings, settings_of
from loci.auditing.evaluation import NEIGHBOURS, Evaluation, base_drift
from loci.auditing.method_audits import counterfactuals, layers_of
from loci.auditing.metrics import short, told
from loci.auditing.scorecard import Metrics, plain
from loci.auditing.scorecards import measures
from loci.deprecated import renamed_arguments
from loci.editing import key_moments, output_changes
from loci.editing.edit import edit
from loci.editing.statistics import Moment
from loci.errors import EditError
from loci.facts import FactSet
from loci.model import Model
from loci.model.fingerprint import hashed_once
from loci.patches import Patch
from loci.progress import Progress, silent
from loci.result import About, Grade, Result, graded
from loci.stats import percent
from loci.tables import Table, columns

LIMITS = {"output_change": 0.5, "rank_share": 0.5, "drift_kl": 0.1, "perplexity_ratio": 1.1}
"""Above these a collapse is near: of the worst layer, and of the control sentences."""
MOST = 100


class EditCheckpoint(NamedTuple):
    """How the model stands after so many edits."""

    edits: int
    metrics: Metrics
    output_change: float
    """Of the layer that changed most."""
    rank: int
    """Of the layer that changed most in rank."""
    rank_share: float

    @property
    def signs(self) -> dict[str, float]:
        """The warning signs, as compared with `LIMITS`."""
        return {
            "output_change": self.output_change,
            "rank_share": self.rank_share,
            "drift_kl": self.metrics["drift_kl"].value,
            "perplexity_ratio": self.metrics["perplexity_ratio"].value,
        }

    @property
    def warnings(self) -> list[str]:
        """The signs above their limits, in words."""
        above = {name: value for name, value in self.signs.items() if not value <= LIMITS[name]}
        return [
            f"{name.replace('_', ' ')} {value:.3g} > {LIMITS[name]:g}"
            for name, value in above.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        return {**self._asdict(), "metrics": plain(self.metrics), "warnings": self.warnings}


@dataclass(frozen=True)
class SequentialAudit(Result):
    """Metrics over the number of edits, made one after another."""

    about: ClassVar[About] = About(
        "edits one after another",
        "What do many edits do to the first ones, to the neighbours and to the text?",
        "Lines should stay high (shares) and flat (drift, perplexity).",
        "curves.curves_figure",
    )

    model: str
    bos: bool
    method: str
    each: int
    """Edits of a step."""
    history: bool
    """Whether earlier edits were held."""
    layers: tuple[int, ...]
    seed: int
    points: tuple[EditCheckpoint, ...]
    stopped: str | None
    """Why the method refused to go on, if it did."""

    @property
    def warned(self) -> int | None:
        """The number of edits at the first checkpoint with a warning."""
        return next((point.edits for point in self.points if point.warnings), None)

    def summary(self) -> tuple[str, ...]:
        last = self.points[-1]
        words = (
            f"After {last.edits} edits: efficacy {percent(last.metrics['efficacy'])}, specificity"
            f" {percent(last.metrics['specificity'])}."
            + (f" Stopped: {self.stopped}." if self.stopped else "")
        )
        return (words,)

    def grade(self) -> Grade:
        last = self.points[-1].metrics
        return graded(min(last["efficacy"].value, last["specificity"].value), 0.95, 0.8)

    def title(self) -> str:
        return f"{self.points[-1].edits} {self.method} edits, {self.each} at a time"

    def tables(self) -> tuple[Table, ...]:
        names = (
            "efficacy",
            "paraphrase",
            "specificity",
            "same_subject",
            "drift_kl",
            "perplexity_ratio",
        )
        rows = tuple(
            (
                str(point.edits),
                *(told(name, point.metrics[name].value) for name in names),
                point.output_change,
                point.rank,
            )
            for point in self.points
        )
        warned = "; ".join(
            f"warning at {point.edits} edits: {reason}"
            for point in self.points
            for reason in point.warnings
        )
        shown = columns("edits", *map(short, names), "change|.3f", "rank")
        return (Table("As edits are made", shown, rows, note=warned),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.audit-curves/1",
            "model": self.model,
            "bos": self.bos,
            "method": self.method,
            "each": self.each,
            "history": self.history,
            "layers": list(self.layers),
            "seed": self.seed,
            "limits": dict(LIMITS),
            "warned": self.warned,
            "stopped": self.stopped,
            "points": [point.to_dict() for point in self.points],
        }


@hashed_once
@renamed_arguments(ways="settings")
def audit_in_turn(
    model: Model,
    world: FactSet,
    edits: int = 100,
    *,
    method: str = "joint",
    layers: Sequence[int] | None = None,
    each: int = 10,
    checkpoints: int = 5,
    most: int = MOST,
    history: bool = True,
    settings: ControlSettings | None = None,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    progress: Progress = silent,
) -> SequentialAudit:
    """Edit counterfactuals one group after another, and evaluate the model at checkpoints.

    Args:
        model: an open model; it is left as it was.
        world: facts from which neighbours, same-subject facts and counterfactuals are drawn.
        edits: number of counterfactuals.
        method: name of an editing method.
        layers: layers to edit; None: the method's own choice.
        each: facts edited at a step.
        checkpoints: evaluations, evenly spaced, the last step among them.
        most: edits asked at a checkpoint, drawn by seed.
        history: hold earlier edits fixed; without, as sequential editing is usually run.
        settings: seeds and search settings of controls that make edits.
        neighbours: other subjects of the relation asked about each edit.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `SequentialAudit`: metrics and warning signs at each checkpoint.
    Raises: `EditError` where the method refuses the first step; a later refusal ends the run.
    Cost: One search a step, and one evaluation of at most `most` edits a checkpoint.
    """
    if each < 1 or checkpoints < 1:
        raise EditError(
            f"steps of {each} edits and {checkpoints} checkpoints: expected at least 1 of each"
        )
    settings, wishes = settings or ControlSettings(seed), counterfactuals(world, edits, seed)
    chosen = layers_of(model, method, layers, wishes)
    moments = key_moments(model, chosen)
    steps = [wishes[start : start + each] for start in range(0, len(wishes), each)]
    drift = base_drift(model)
    fixed: dict[str, Any] = {"method": method, "layers": chosen, "moments": moments, "seed": seed}
    fixed |= {"report": False, "settings": settings_of(method, settings)}
    patch: Patch | None = None
    points: list[EditCheckpoint] = []
    stopped: str | None = None
    for step, batch in enumerate(steps, 1):
        try:
            patch = edit(model, batch, after=patch, history=history, **fixed)
        except EditError as error:
            if patch is None:
                raise
            stopped = str(error)
        looked = bool(points) and points[-1].edits == len(patch.facts)
        if not looked and (stopped or step in _spaced(len(steps), checkpoints)):
            asked = random.Random(seed).sample(patch.facts, min(most, len(patch.facts)))
            others = world.without(patch.facts)
            evaluation = Evaluation.of(
                model, asked, others, drift, neighbours=neighbours, seed=seed
            )
            measured = measures([evaluation.run(patch)], evaluation.fluency)
            points.append(checkpoint(model, patch, measured, moments))
        progress(1, len(steps))
        if stopped:
            break
    run = (method, each, history, tuple(chosen), seed)
    return SequentialAudit(model.name, model.with_bos, *run, tuple(points), stopped)


def _spaced(steps: int, checkpoints: int) -> set[int]:
    """The numbers of steps at which to look: evenly spaced, the last among them."""
    return {-(-steps * i // checkpoints) for i in range(1, checkpoints + 1)}


def checkpoint(
    model: Model, patch: Patch, metrics: Metrics, moments: dict[int, Moment]
) -> EditCheckpoint:
    """The metrics with the size of the whole change."""
    change = max(output_changes(model, patch.factors, moments).values())
    rank = max(min(factors.rank, *factors.shape) for factors in patch.factors.values())
    return EditCheckpoint(
        len(patch.facts), metrics, change, rank, rank / min(model.d_model, model.d_mlp)
    )
