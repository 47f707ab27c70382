"""Edit facts: a patch that gives each its new answer. The model is untouched.

| method      | how                                                                                             |
|-------------|-------------------------------------------------------------------------------------------------|
| `joint`     | residuals of all facts and layers searched together (`joint.py`); the default for several facts  |
| `rome`      | one fact, one layer, hit exactly; the default for one                                           |
| `emmet`     | several facts, one layer, all hit exactly                                                       |
| `memit`     | several facts by least squares with `slack`, spread over `layers`                               |
| `alphaedit` | the same, in the null space of what the layer's keys are over text                              |
| `finetune`  | all entries of the down projections, breadth first in mini-batches; the baseline                |

ROME and its kin: 1. Key: the MLP's neurons at the last subject token, averaged over lines, wherever a key is needed (bare prompts here and
averages there make updates explode: Gupta et al. 2024, "Rebuilding ROME"). 2. Target: the δ that its output should gain there. 3. Change:
`solve` with the second moment of the layer's keys over text; the averaged key gains δ.
Over several layers each takes its share of what is still missing at the last of them (Meng et al. 2023, MEMIT).
`slack` is in units of the keys' mean response kᵀ M k, so that it means the same in every model: at 1 half of a lone edit is spared.
`after` is an earlier patch: its facts' keys are history, which the new change leaves alone.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.check import check_edits, check_layers
from loci.editing.joint import JointSettings, find_jointly, finetune_parts, joint_parts
from loci.editing.lines import lines_about
from loci.editing.solver import Covariance, Metric, NullSpace, Solution, response, solve
from loci.editing.statistics import Moment, key_moments, output_size
from loci.editing.targets import LEAN, TargetSettings, find_targets, subject_reads
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model
from loci.patches import Factors, Patch
from loci.patches.factors import joined
from loci.progress import Progress, silent
from loci.survey import sample_text

METHODS = ("joint", "rome", "emmet", "memit", "alphaedit", "finetune")
SLACK = {"memit": 0.1, "alphaedit": 0.1}
LARGEST_CHANGE = 2.0
"""Most that a layer's output over text may change, in units of itself."""
TEXT_TOKENS = 60_000


def edit(
    model: Model,
    facts: Sequence[Fact],
    *,
    method: str | None = None,
    layers: Sequence[int] | None = None,
    slack: float | None = None,
    ridge: float = 1e-4,
    settings: TargetSettings | JointSettings | None = None,
    moments: dict[int, Moment] | None = None,
    texts: Sequence[str] | None = None,
    after: Patch | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Patch:
    """A patch for all facts, by the best method for their number, or the one that is said.

    `layers` defaults to all for `joint` and `finetune`, else to `default_layer`; `moments` (C by layer) to those of `texts`, and `texts`
    to the embedded text. With `after`, the patch holds that one's change and facts too. Cost: see the methods. Raises `EditError`
    for facts that cannot be edited (`check_edits`), and where the change would be out of proportion.
    """
    started = time.perf_counter()
    method = method or ("rome" if len(facts) == 1 and after is None else "joint")
    if method not in METHODS:
        raise EditError(f"there is no method {method!r}: expected one of {', '.join(METHODS)}")
    if method == "rome" and len(facts) > 1:
        raise EditError("rome edits one fact at a time: use emmet, memit or joint for several")
    together = method in ("joint", "finetune")
    layers = check_layers(model, layers if layers is not None else range(model.n_layers) if together else [default_layer(model)])
    if after is not None:
        after.check_factors_only("edited further")
    with _applied(model, after):
        check_edits(model, facts)
        found = moments or key_moments(model, layers, texts=texts)
        if together:
            settings = settings or JointSettings(seed=seed)
            factors, numbers = _jointly(model, facts, {at: found[at] for at in layers}, method, settings, texts, after, progress)
        else:
            settings = settings or replace(TargetSettings() if len(facts) == 1 else LEAN, seed=seed)
            factors, numbers = _solved(model, facts, layers, found, method, slack, ridge, settings, after, progress)
    numbers |= {"layers": list(layers), "bos": model.with_bos, "output_change": _bearable(output_changes(model, factors, found))}
    if after is not None:
        factors, facts, numbers = _sum(after.factors, factors), [*after.facts, *facts], {**numbers, "after": after.id}
    numbers["seconds"] = time.perf_counter() - started
    return Patch(method, model.fingerprint, model.name, factors, tuple(facts), numbers)


def default_layer(model: Model) -> int:
    """Below a fifth of the depth: 5 in GPT-J's 28 layers and Llama-3-8B's 32, as published; GPT-2 XL's published layer is later.

    A rule of thumb, not a finding: say `layers` where more is known of a model.
    """
    return max(0, round(model.n_layers / 5) - 1)


def _applied(model: Model, patch: Patch | None) -> AbstractContextManager[Any]:
    """The patch in the weights for a block, if there is one."""
    return patch.applied(model) if patch is not None else nullcontext()


def _jointly(
    model: Model,
    facts: Sequence[Fact],
    moments: dict[int, Moment],
    method: str,
    settings: Any,
    texts: Sequence[str] | None,
    after: Patch | None,
    progress: Progress,
) -> tuple[dict[str, Factors], dict[str, Any]]:
    stay = list(texts) if texts is not None else sample_text(model, TEXT_TOKENS)
    parts = joint_parts if method == "joint" else finetune_parts
    found = find_jointly(model, facts, moments, stay, settings, parts, earlier=after.facts if after else (), progress=progress)
    return found.factors, found.numbers


def _solved(
    model: Model,
    facts: Sequence[Fact],
    layers: Sequence[int],
    moments: dict[int, Moment],
    method: str,
    slack: float | None,
    ridge: float,
    settings: Any,
    after: Patch | None,
    progress: Progress,
) -> tuple[dict[str, Factors], dict[str, Any]]:
    last = layers[-1]
    slack = SLACK.get(method, 0.0) if slack is None else slack
    lines = lines_about(model, facts, settings)
    targets = find_targets(model, facts, last, settings, lines, progress)
    wanted = [[line for line in own if line.wanted] for own in lines]
    history = [[line for line in own if line.wanted] for own in lines_about(model, after.facts, settings)] if after else []
    wished = torch.stack([target.delta for target in targets], 1).cpu()
    solutions: dict[str, Solution] = {}
    start: Tensor | None = None
    for done, layer in enumerate(layers):
        so_far = {name: solution.factors for name, solution in solutions.items()}
        with _applied(model, Patch(method, model.fingerprint, model.name, so_far, ()) if so_far else None):
            K, stands = subject_reads(model, [*history, *wanted], layer, last)
        start = stands if start is None else start
        missing = torch.cat([torch.zeros(model.d_model, len(history)), wished], 1) - (stands - start)
        metric = _metric(method, moments[layer], ridge)
        solutions[f"W_down.{layer}"] = solve(metric, K, missing / (len(layers) - done), slack * response(metric, K))
    return {name: solution.factors for name, solution in solutions.items()}, {
        "slack": slack,
        "target_probability": [target.probability for target in targets],
        "target_steps": [target.steps for target in targets],
        "condition": [solution.condition for solution in solutions.values()],
        "residual": [solution.residual for solution in solutions.values()],
    }


def _metric(method: str, C: Moment, ridge: float) -> Metric:
    return NullSpace.of(C) if method == "alphaedit" else Covariance.of(C, ridge)


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
