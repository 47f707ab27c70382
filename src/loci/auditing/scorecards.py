"""Audit edits: what they did, and what else they touched, against the untouched base, with
controls in the same table.

`questions` says what the shares count, `survey.drift` and `generation_entropy` what the other
metrics are, `controls` what stands beside them. n counts independent units: prompts of one edit
hang together, so with several edits each is one unit, with its share of hits; with a single edit
the units are its prompts. Of one patch, the units of drift and perplexity are the control
sentences; of several, the patches. Shares have Wilson's interval, means the bootstrap's.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import exp

from loci.auditing.controls import CHEAP, CONTROLS, ControlSettings
from loci.auditing.evaluation import NEIGHBOURS, SAMPLES, EvalResult, Evaluation, base_drift
from loci.auditing.questions import GAINED, HELD_OUT, LIKELIER
from loci.auditing.scorecard import Metrics, Scorecard
from loci.deprecated import renamed_arguments
from loci.errors import EditError, PatchError, UseError
from loci.facts import KINDS, Fact, FactSet
from loci.model import Model
from loci.model.fingerprint import hashed_once
from loci.model.given import facts_given, model_given
from loci.patches import Patch
from loci.progress import Progress, silent
from loci.stats import Estimate, mean, share

SHARES = (
    *GAINED,
    HELD_OUT,
    "specificity",
    "specificity_same_answer",
    "same_subject",
    *LIKELIER.values(),
)
"""Metrics that every audit has."""
_KIND_NAMES = [kind.replace("-", "_") for kind in KINDS]
QUESTIONS = tuple(name for name in _KIND_NAMES if name not in (*SHARES, "generation"))
"""Metrics that an audit has only where the facts bring such questions."""
EDITED = ""
"""The edited model itself, beside the names of controls."""


@hashed_once
@renamed_arguments(ways="settings")
def audit(
    model: Model,
    patch: Patch,
    facts: Fact | Sequence[Fact] | None = None,
    *,
    controls: Sequence[str] = CHEAP,
    settings: ControlSettings | None = None,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    samples: int = SAMPLES,
    growing: Callable[[Scorecard], None] | None = None,
) -> Scorecard:
    """Measure a patch: efficacy, paraphrase, specificity, fluency and drift, with controls.

    All facts of the patch are asked with the patch applied once. The model is as before afterwards.

        card = loci.audit(model, patch, loci.known_facts())
        card.metrics["specificity"]                     # value, low, high, n
        card.save("audit.html")

    Args:
        model: an open model; it is left as it was.
        patch: made by `loci.edit` or read by `loci.load_patch`.
        facts: source of neighbours and of the subject's other facts; a fact's own `neighbours` come
            first. None: the facts of the patch.
        controls: names of `CONTROLS`, measured beside the edit.
        settings: seeds and search settings of controls that make edits.
        neighbours: other subjects of the relation asked about each edit.
        seed: seed of every random draw.
        samples: control sentences on which drift is measured.
        growing: called with the card as it is after each group of questions, after the drift, and
            after each control.

    Returns: `Scorecard`: `metrics`, the same for each of `controls`, `cases` (the answer to each
        prompt), `left_out` (controls that could not be made, and why).
    Raises: `PatchError` for a patch of another base.
    Cost: One evaluation (some thirty prompts an edit) of the edited model, and one for each
        control; `random layer` and `fine-tuning` make another edit each.
    """
    if not isinstance(patch, Patch):
        raise UseError(
            "the second argument is a patch as loci.edit makes it; loci.load_patch reads one from "
            "its file"
        )
    patch.check_base(model_given(model))
    world = FactSet(patch.facts) if facts is None else facts_given(facts)
    asked = [known_better(fact, world) for fact in patch.facts]
    evaluation = Evaluation.of(
        model, asked, world, base_drift(model, samples), neighbours=neighbours, seed=seed
    )
    pair, settings = (evaluation, patch), settings or ControlSettings(seed)
    return evaluate(model, [pair], controls, settings, growing)


def known_better(fact: Fact, world: FactSet) -> Fact:
    """The fact with the relation and paraphrases that the world knows of it, where it has none
    itself."""
    same = world.same(fact)
    if same is None or fact.relation or fact.paraphrases:
        return fact
    return replace(
        same,
        new_answer=fact.new_answer,
        new_aliases=fact.new_aliases,
        questions=fact.questions or same.questions,
    )


@hashed_once
@renamed_arguments(ways="settings")
def audit_singles(
    model: Model,
    facts: Sequence[Fact],
    make: Callable[[Fact], Patch],
    world: FactSet,
    *,
    controls: Sequence[str] = CHEAP,
    settings: ControlSettings | None = None,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    samples: int = SAMPLES,
    progress: Progress = silent,
) -> Scorecard:
    """Audit edits one at a time: each fact gets its own patch on the untouched base, and controls.

    Args:
        model: an open model; it is left as it was.
        facts: facts with a new answer.
        make: makes the patch of one fact.
        world: facts from which neighbours, same-subject facts and counterfactuals are drawn.
        controls: names of `CONTROLS`, measured beside the edit.
        settings: seeds and search settings of controls that make edits.
        neighbours: other subjects of the relation asked about each edit.
        seed: seed of every random draw.
        samples: control sentences on which drift is measured.
        progress: called with (steps done, steps in all).

    Returns: `Scorecard` over all edits.
    Cost: As `audit`, for each fact.
    """
    drift = base_drift(model, samples)

    def pairs() -> Iterable[tuple[Evaluation, Patch]]:
        for fact in facts:
            yield (
                Evaluation.of(model, [fact], world, drift, neighbours=neighbours, seed=seed),
                make(fact),
            )
            progress(1, len(facts))

    return evaluate(model, pairs(), controls, settings or ControlSettings(seed))


def evaluate(
    model: Model,
    pairs: Iterable[tuple[Evaluation, Patch]],
    controls: Sequence[str],
    settings: ControlSettings,
    growing: Callable[[Scorecard], None] | None = None,
) -> Scorecard:
    """The scorecard of patches, each with its own examination; `growing` hears of it on the way.

    Raises `EditError` for a control that there is not.
    """
    for name in controls:
        if name not in CONTROLS:
            raise EditError(f"there is no control {name!r}; controls: {', '.join(CONTROLS)}")
    measured = _Found({name: [] for name in (EDITED, *controls)})
    for evaluation, patch in pairs:
        heard = None if growing is None else partial(_heard, model, measured, patch, growing)
        measured.add(EDITED, evaluation.run(patch, growing=heard))
        measured.base += evaluation.fluency
        measured.layers.update(patch.layers)
        measured.method = patch.method
        for name in controls:
            if growing is not None:
                growing(measured.card(model))
            try:
                state = CONTROLS[name](model, patch, evaluation.world, settings)
                measured.add(name, evaluation.run(*state))
            except (EditError, PatchError) as error:
                measured.left_out[name] = str(error)
    return measured.card(model)


def _heard(
    model: Model,
    found: "_Found",
    patch: Patch,
    growing: Callable[[Scorecard], None],
    result: EvalResult,
) -> None:
    """Tell of the card with what is known of the next patch."""
    runs = {name: [*own] for name, own in found.results.items()}
    runs[EDITED].append(result)
    told = _Found(runs, found.base, found.left_out, {*found.layers, *patch.layers}, patch.method)
    growing(told.card(model))


@dataclass
class _Found:
    """The measurements of an audit so far."""

    results: dict[str, list[EvalResult]]
    base: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    layers: set[int] = field(default_factory=set)
    method: str = ""

    def add(self, name: str, result: EvalResult) -> None:
        self.results[name].append(result)

    def card(self, model: Model) -> Scorecard:
        scored = {name: measures(runs, self.base) for name, runs in self.results.items() if runs}
        cases = tuple(case for result in self.results[EDITED] for case in result.cases)
        return Scorecard(
            model.name,
            model.with_bos,
            self.method,
            len(cases),
            tuple(sorted(self.layers)),
            scored.pop(EDITED, {}),
            cases,
            scored,
            dict(self.left_out),
        )


def measures(results: Sequence[EvalResult], base_fluency: Sequence[float]) -> Metrics:
    """The metrics of one state of the model, or of one for each edit."""
    cases = [case for result in results for case in result.cases]
    names = [*SHARES, *(name for name in QUESTIONS if any(name in case.hits for case in cases))]
    metrics = {name: pooled([case.hits.get(name, ()) for case in cases], share) for name in names}
    metrics["drift_kl"] = pooled([result.drift.kl for result in results], mean)
    ratio = pooled([result.drift.log_ratio for result in results], mean)
    metrics["perplexity_ratio"] = Estimate(
        exp(ratio.value), exp(ratio.low), exp(ratio.high), ratio.n
    )
    metrics["fluency"] = mean([bits for result in results for bits in result.fluency])
    metrics["fluency_base"] = mean(base_fluency)
    return metrics


def pooled(
    parts: Sequence[Sequence[float]], estimate: Callable[[Sequence[float]], Estimate]
) -> Estimate:
    """One part: its members are the units. Several: the parts are, each with its mean."""
    asked = [part for part in parts if part]
    means = [sum(part) / len(part) for part in asked]
    return estimate(asked[0] if len(parts) == 1 and asked else means)
