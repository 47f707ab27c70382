"""Edit facts: a patch that gives each its new answer. The model is untouched.

| method      | how                                                                                             |
|-------------|-------------------------------------------------------------------------------------------------|
| `joint`     | residuals of all facts and layers searched together (`joint.py`); the default for several facts  |
| `rome`      | one fact, one layer, hit exactly; the default for one                                           |
| `emmet`     | several facts, one layer, all hit exactly                                                       |
| `memit`     | several facts by least squares with `slack`, spread over `layers`                               |
| `alphaedit` | the same, in the directions that text uses least                                                |
| `finetune`  | all entries of the down projections, breadth first in mini-batches; the baseline                |

ROME and its kin: 1. Key: the MLP's neurons at the last subject token, averaged over lines, wherever a key is needed (bare prompts here and
averages there make updates explode: Gupta et al. 2024, "Rebuilding ROME"). 2. Target: the δ that its output should gain there. 3. Change:
`solve` with the second moment of the layer's keys over text; the averaged key gains δ.
Over several layers each takes its share of what is still missing at the last of them (Meng et al. 2023, MEMIT).
`slack` is in units of the keys' mean response kᵀ M k, so that it means the same in every model: at 1 half of a lone edit is spared.
`after` is an earlier patch: for the solver's methods its facts' keys are history, which the new change leaves alone; a joint search goes on
from it, with its facts asked again.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.calibrate import Calibration, Sample, Trial, calibrate, candidates, is_embedded, screened
from loci.editing.check import check_edits, check_layers
from loci.editing.joint import JointSettings, find_jointly, finetune_parts, joint_parts
from loci.editing.lines import lines_about
from loci.editing.report import further, with_old_answers, with_report
from loci.editing.solver import Covariance, Metric, NullSpace, Solution, response, solve
from loci.editing.statistics import TOKENS_PER_NEURON, Moment, key_moments, output_size
from loci.editing.targets import LEAN, TargetSettings, find_targets, subject_reads
from loci.errors import EditError
from loci.facts import Fact, FactSet, occurrences
from loci.model import Model
from loci.model.given import facts_given, model_given
from loci.patches import Factors, Patch
from loci.patches.factors import joined
from loci.progress import Progress, silent
from loci.survey import Workers
from loci.text import BackgroundText, background

METHODS = ("joint", "rome", "emmet", "memit", "alphaedit", "finetune")
TOGETHER = ("joint", "finetune")
"""Methods that search all layers together, and take `JointSettings`."""
SLACK = {"memit": 0.03, "alphaedit": 0.1}
LARGEST_CHANGE = 2.0
"""Most that a layer's output over text may change by an edit and those before it, in units of itself."""
TEXT_TOKENS, TRIAL_TOKENS = 200_000, 2_000


def edit(
    model: Model,
    facts: Fact | Sequence[Fact],
    *,
    method: str | None = None,
    layers: Sequence[int] | None = None,
    slack: float | None = None,
    ridge: float = 1e-4,
    settings: TargetSettings | JointSettings | None = None,
    moments: dict[int, Moment] | None = None,
    texts: Sequence[str] | None = None,
    after: Patch | None = None,
    history: bool = True,
    seed: int = 0,
    report: bool = True,
    workers: Workers | None = None,
    progress: Progress = silent,
) -> Patch:
    """A patch for all facts, by the best method for their number, or the one that is said.

        patch = loci.edit(model, fact.to("baseball"))
        with patch.applied(model):
            ...
        patch.save("jordan.safetensors")

    `method`: "rome" (one fact; the default for one), "joint" (several; the default for several), "emmet", "memit", "alphaedit",
    "finetune". Returns: a `Patch`: `facts`, `factors` by weight, `numbers` (what the method measured); the model is untouched.

    The edited model is asked again what it says (`Patch.report`: how many of the facts took, which did not, what else moved), unless
    `report` is False. Old answers are recorded as the model gives them. Where nothing but facts is said and ROME does not reach the answer
    of a single one (many tokens, a word that the model never says), the joint search is tried too, and the better patch returned.

    `layers` defaults to all for `joint` and `finetune`, else to the one that is best for some of the facts (`calibrate`; the embedded
    model's is known), and with it `slack`; `moments` (C by layer) to those of `texts`, and `texts` to the embedded text. With `after`,
    the patch holds that one's change and facts too, but for those that are edited again; without `history` nothing is done to hold
    them, as sequential editing is usually run. `workers` read the text for `moments`, where nothing comes before. Cost: see the methods.
    Raises `EditError` for facts that cannot be edited (`check_edits`), and where the change would be out of proportion.
    """
    started = time.perf_counter()
    model_given(model)
    facts = list(facts_given(facts))
    wishes, free = facts, method is None and layers is None and settings is None and slack is None
    method = method or _method_for(len(facts), settings, again=after is not None)
    _check_settings(method, settings)
    if method == "rome" and len(facts) > 1:
        raise EditError("rome edits one fact at a time: use emmet, memit or joint for several")
    at = check_layers(model, layers if layers is not None else _open_to(model, method, moments))
    earlier = list(FactSet(after.facts).without(facts)) if after else []
    if after is not None:
        after.check_factors_only("edited further")
        if workers is not None:
            raise EditError("workers open the model from its files, without the patch that the edit comes after: leave workers out")
    with _applied(model, after):
        check_edits(model, facts, new=after is None)
        facts, corrected, already = with_old_answers(model, facts)
        text = background(model, texts)
        sample = Sample.of(model, facts, text, seed) if layers is None and method not in TOGETHER and len(at) > 1 else None
        at = list(screened(model, at, sample)) if sample is not None else at
        found = moments or key_moments(model, at, texts=text.first(model, TOKENS_PER_NEURON * model.d_mlp), workers=workers)
        job = _Job(model, facts, method, at, slack, ridge, settings, found, text, after, earlier if history else [], seed, progress)
        calibration = job.calibration(sample) if sample is not None else None
        if calibration is not None:
            job = job.at(calibration.best)
    factors, numbers = _jointly(job) if method in TOGETHER else _solved(job)
    if after is not None:
        facts, numbers = [*earlier, *facts], {**numbers, "after": after.id}
    known = {name: both for name, both in factors.items() if int(name.partition(".")[2]) in found}
    numbers |= {
        "text": text.to_dict(),
        "layers": list(job.layers),
        "bos": model.with_bos,
        "output_change": _bearable(output_changes(model, known, found)),
    }
    numbers |= {"calibration": calibration.to_dict()} if calibration is not None else {}
    numbers["seconds"] = time.perf_counter() - started
    patch = Patch(method, model.fingerprint, model.name, factors, tuple(facts), numbers)
    if not report:
        return patch
    asked = with_report(model, patch, seed=seed, corrected=corrected, already=already)
    if not (free and method == "rome" and asked.report is not None and asked.report.failed):
        return asked
    return further(asked, lambda: edit(model, wishes, method="joint", texts=texts, seed=seed, progress=progress))


class _Job(NamedTuple):
    """All that a method needs."""

    model: Model
    facts: Sequence[Fact]
    method: str
    layers: Sequence[int]
    slack: float | None
    ridge: float
    settings: Any
    moments: Mapping[int, Moment]
    background: BackgroundText
    after: Patch | None
    earlier: Sequence[Fact]
    """Edits of `after` that are to hold."""
    seed: int
    progress: Progress

    def metric(self, layer: int) -> Metric:
        C = self.moments[layer]
        return NullSpace.of(C) if self.method == "alphaedit" else Covariance.of(C, self.ridge)

    def calibration(self, sample: Sample) -> Calibration:
        """Which of the layers, and how much slack, is best for some of the facts."""
        metrics = {layer: self.metric(layer) for layer in self.layers}
        texts = self.background.first(self.model, TRIAL_TOKENS)
        return calibrate(self.model, self.facts, self.method, metrics, texts, sample=sample)

    def at(self, trial: Trial) -> "_Job":
        """The same as a trial had it; a slack that was said stays."""
        return self._replace(layers=[trial.layer], slack=trial.slack if self.slack is None else self.slack)


def _open_to(model: Model, method: str, moments: Mapping[int, Moment] | None) -> list[int]:
    """The layers that a method would change, or choose among, where none are said."""
    if method in TOGETHER:
        return list(range(model.n_layers))
    if is_embedded(model):
        return [default_layer(model)]
    return [layer for layer in candidates(model) if moments is None or layer in moments]


def _method_for(facts: int, settings: Any, *, again: bool) -> str:
    """The method for so many facts, where none is said: one that takes the settings that are said."""
    if isinstance(settings, TargetSettings):
        return "rome" if facts == 1 else "memit"
    return "rome" if facts == 1 and not again and settings is None else "joint"


def _check_settings(method: str, settings: Any) -> None:
    """Raise `EditError` for a method that there is not, and for settings that are another method's."""
    if method not in METHODS:
        raise EditError(f"there is no method {method!r}: expected one of {', '.join(METHODS)}")
    takes = JointSettings if method in TOGETHER else TargetSettings
    if settings is not None and not isinstance(settings, takes):
        raise EditError(f"{method} takes {takes.__name__}, not {type(settings).__name__}")


def default_layer(model: Model) -> int:
    """Below a fifth of the depth: 5 in GPT-J's 28 layers and Llama-3-8B's 32, as published; GPT-2 XL's published layer is later.

    A rule of thumb, not a finding; calibration finds the same for the embedded model.
    """
    return max(0, round(model.n_layers / 5) - 1)


def _applied(model: Model, patch: Patch | None) -> AbstractContextManager[Any]:
    """The patch in the weights for a block, if there is one."""
    return patch.applied(model) if patch is not None else nullcontext()


def _jointly(job: _Job) -> tuple[dict[str, Factors], dict[str, Any]]:
    """From the base on: what an earlier patch does at these layers is where the search starts, the rest of it stays."""
    model, before = job.model, dict(job.after.factors) if job.after else {}
    start = {name: before.pop(name) for name in [f"W_down.{layer}" for layer in job.layers] if name in before}
    with _applied(model, replace(job.after, factors=before) if job.after and before else None):
        found = find_jointly(
            model,
            job.facts,
            {layer: job.moments[layer] for layer in job.layers},
            unsaid(job.background.first(job.model, TEXT_TOKENS), [*job.earlier, *job.facts]),
            job.settings or JointSettings(seed=job.seed),
            joint_parts if job.method == "joint" else finetune_parts,
            background=job.background,
            earlier=job.earlier,
            start=start,
            progress=job.progress,
        )
    return {**before, **found.factors}, found.numbers


def unsaid(texts: Sequence[str], facts: Sequence[Fact]) -> list[str]:
    """The texts that do not state what is edited: none that names a subject and its old answer."""
    edited = FactSet(facts)
    named = ((text, [fact for subject in edited.subjects_in(text) for fact in edited.about(subject)]) for text in texts)
    return [text for text, about in named if not any(occurrences(text, fact.answer) for fact in about)]


def _solved(job: _Job) -> tuple[dict[str, Factors], dict[str, Any]]:
    """A change of its own, added to an earlier patch's, with which it is found."""
    with _applied(job.model, job.after):
        factors, numbers = _solved_here(job)
    return _sum(job.after.factors if job.after else {}, factors), numbers


def _solved_here(job: _Job) -> tuple[dict[str, Factors], dict[str, Any]]:
    model, layers, last = job.model, job.layers, job.layers[-1]
    slack = SLACK.get(job.method, 0.0) if job.slack is None else job.slack
    settings = job.settings or replace(TargetSettings() if len(job.facts) == 1 else LEAN, seed=job.seed)
    lines = lines_about(model, job.facts, settings, job.background)
    targets = find_targets(model, job.facts, last, settings, lines, progress=job.progress)
    wanted = [[line for line in own if line.wanted] for own in lines]
    history = [
        [line for line in own if line.wanted]
        for own in lines_about(model, job.earlier, replace(settings, essence=0), job.background)
    ]
    wished = torch.stack([target.delta for target in targets], 1).cpu()
    solutions: dict[str, Solution] = {}
    start: Tensor | None = None
    for done, layer in enumerate(layers):
        so_far = {name: solution.factors for name, solution in solutions.items()}
        with _applied(model, Patch(job.method, model.fingerprint, model.name, so_far, ()) if so_far else None):
            K, stands = subject_reads(model, [*history, *wanted], layer, last)
        start = stands if start is None else start
        missing = torch.cat([torch.zeros(model.d_model, len(history)), wished], 1) - (stands - start)
        metric = job.metric(layer)
        solutions[f"W_down.{layer}"] = solve(metric, K, missing / (len(layers) - done), slack * response(metric, K))
    return {name: solution.factors for name, solution in solutions.items()}, {
        "slack": slack,
        "target_probability": [target.probability for target in targets],
        "target_steps": [target.steps for target in targets],
        "condition": [solution.condition for solution in solutions.values()],
        "residual": [solution.residual for solution in solutions.values()],
    }


def output_changes(model: Model, factors: Mapping[str, Factors], moments: Mapping[int, Moment]) -> dict[str, float]:
    """‖Δ C^½‖ / ‖W C^½‖ of each weight: how far its output over text is moved, in units of itself."""
    changes = {}
    for name, (left, right) in factors.items():
        layer = int(name.partition(".")[2])
        C = moments[layer].double()
        changes[name] = _size(right.double(), C, left.double()) / max(output_size(model, layer, C), 1e-300)
    return changes


def _bearable(changes: dict[str, float]) -> dict[str, float]:
    """The changes. Raises `EditError` where one is not finite, or larger than what a layer can bear."""
    for name, change in changes.items():
        if not change <= LARGEST_CHANGE:
            raise EditError(
                f"the change of {name} would move its output over text by {change:.1f} times itself: try another layer, more slack, or fewer edits"
            )
    return changes


def _size(right: Float[Tensor, "r d_mlp"], C: Moment, left: Float[Tensor, "d_model r"]) -> float:
    """‖left · right · C^½‖, without the dense product."""
    return float(((right @ C @ right.T) * (left.T @ left)).sum().clamp(min=0).sqrt())


def _sum(one: Mapping[str, Factors], other: Mapping[str, Factors]) -> dict[str, Factors]:
    """Two changes as one, weight by weight."""
    return {name: joined([part[name] for part in (one, other) if name in part]) for name in {**one, **other}}
