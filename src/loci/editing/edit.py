"""Edit facts: a patch that gives each its new answer. The model is untouched.

    facts ──EditData.of──▶ EditData ──method.fit──▶ WeightUpdate
          ──patch──▶ Patch ──with_report──▶ Patch

| method      | how |
|-------------|--------------------|
| `joint`     | residuals of all facts and layers searched together; the default for several facts |
| `rome`      | one fact, one layer, hit exactly; the default for one |
| `emmet`     | several facts, one layer, all hit exactly |
| `memit`     | several facts by least squares with `lam`, spread over `layers` |
| `alphaedit` | the same, in the directions that text uses least |
| `finetune`  | all entries of the down projections, breadth first in mini-batches; the baseline |

Each is a class in `loci.editing.methods`, with its settings as fields.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from loci.deprecated import called, renamed_arguments
from loci.editing.check import check_layers
from loci.editing.data import EditData
from loci.editing.methods import ClosedForm, Settings, method_for
from loci.editing.report import further, with_report
from loci.editing.statistics import Moment
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model
from loci.model.fingerprint import hashed_once
from loci.model.given import facts_given, model_given
from loci.patches import Patch
from loci.patches.report import NEIGHBOUR_LIMIT
from loci.progress import Progress, silent
from loci.survey import Workers


@renamed_arguments(slack="lam")
@hashed_once
def edit(
    model: Model,
    facts: Fact | Sequence[Fact],
    *,
    method: str | None = None,
    layers: Sequence[int] | None = None,
    lam: float | None = None,
    ridge: float | None = None,
    settings: Settings | None = None,
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

        loci.edit(model, facts, settings=MEMIT(layers=(0, 1), lam=0.1))

    Args:
        model: an open model; it is left as it was.
        facts: one or several, each with its new answer.
        method: "rome" (the default for one), "joint" (for several), "emmet", "memit", "alphaedit",
            "finetune".
        layers: what is edited; None: all for joint and finetune, else the best for some of the
            facts (`calibrate`).
        lam: λ of memit and alphaedit, in units of the keys' mean response: how far they may miss
            residuals to spare the text.
        ridge: added to second moments by rome, emmet and memit, in units of their mean diagonal.
        settings: a method with its settings (`MEMIT(…)`), or those of its search (`TargetSettings`,
            `JointSettings`).
        moments: second moments of keys by layer; None: taken over the text, and kept.
        texts: the user's text; None: the embedded corpus for its model, else the model's own
            samples.
        after: an earlier patch, which the result holds too, but for facts that are edited again.
        history: whether that patch's facts are held; sequential editing is usually run without.
        seed: of every random draw.
        report: whether the edited model is asked again what it says (`Patch.report`).
        workers: processes that read the text for `moments`, where no patch comes before.
        progress: called with (steps done, steps in all).

    Returns: a `Patch`: `facts`, `factors` by weight, `numbers` (what was measured), `report`. Where
        nothing but one fact is said, and ROME does not reach its answer or moves more than 5 % of
        the neighbours that the report asks, the joint search is tried too, and the better patch
        returned (`EditReport.worth`), with the other in `numbers["tried"]`.
    Raises: `EditError` for facts that cannot be edited, settings that the method does not use, a
    change out of proportion.
    Cost: see the methods.
    """
    started = time.perf_counter()
    model_given(model)
    wishes = list(facts_given(facts))
    free = all(asked is None for asked in (method, layers, settings, lam, ridge))
    chosen = method_for(
        len(wishes),
        method,
        settings,
        again=after is not None,
        layers=layers,
        lam=lam,
        ridge=ridge,
    )
    check_layers(model, [0] if chosen.layers is None else chosen.layers)
    if isinstance(chosen, ClosedForm):
        chosen.check(len(wishes))
    if after is not None and workers is not None:
        raise EditError("workers open files, without the earlier patch: leave workers out")
    data = EditData.of(
        model,
        wishes,
        texts=texts,
        moments=moments,
        after=after,
        history=history,
        seed=seed,
        workers=workers,
        progress=progress,
    )
    patch: Patch = chosen.fit(model, data).patch(model, data)
    patch = replace(patch, numbers={**patch.numbers, "seconds": time.perf_counter() - started})
    if not report:
        return patch
    asked = with_report(model, patch, seed=seed, corrected=data.corrected, already=data.already)
    told = asked.report
    if not (free and chosen.name == "rome" and told is not None):
        return asked
    if not told.failed and told.neighbours.value <= NEIGHBOUR_LIMIT:
        return asked
    again: dict[str, Any] = {"method": "joint", "texts": texts, "seed": seed, "progress": progress}
    return further(asked, lambda: edit(model, wishes, **again))


called(__name__, edit, "loci.edit")
