"""Audit the method itself on seeded counterfactuals over many relations: one at a time on the
untouched base, or all at once."""

import random
from collections.abc import Sequence

from loci.auditing.controls import CHEAP, ControlSettings, settings_of
from loci.auditing.evaluation import NEIGHBOURS
from loci.auditing.scorecard import Scorecard
from loci.auditing.scorecards import audit, audit_singles
from loci.deprecated import renamed_arguments
from loci.editing import TOGETHER, default_layer, key_moments
from loci.editing.calibration import FACTS, is_embedded
from loci.editing.edit import edit
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.model.fingerprint import hashed_once
from loci.progress import Progress, silent


@hashed_once
@renamed_arguments(ways="settings")
def audit_method(
    model: Model,
    world: FactSet,
    edits: int = 50,
    *,
    method: str = "rome",
    layers: Sequence[int] | None = None,
    controls: Sequence[str] = CHEAP,
    settings: ControlSettings | None = None,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    progress: Progress = silent,
) -> Scorecard:
    """Audit a method on seeded counterfactuals, each edited alone on the untouched base.

        loci.audit_method(model, loci.known_facts(), 10).metrics["efficacy"]

    Args:
        model: an open model; it is left as it was.
        world: facts from which neighbours, same-subject facts and counterfactuals are drawn.
        edits: number of counterfactuals.
        method: name of an editing method.
        layers: layers to edit; None: the method's own choice.
        controls: names of `CONTROLS`, measured beside the edit.
        settings: seeds and search settings of controls that make edits.
        neighbours: other subjects of the relation asked about each edit.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Scorecard`.
    Raises: `EditError` where the method refuses, `FactError` where `world` has too few facts.
    Cost: As `audit_singles`; covariances of the layers are taken once.
    """
    settings, wishes = settings or ControlSettings(seed), counterfactuals(world, edits, seed)
    chosen = layers_of(model, method, layers, wishes)
    moments = key_moments(model, chosen)
    return audit_singles(
        model,
        wishes,
        lambda wish: edit(
            model,
            [wish],
            method=method,
            layers=chosen,
            moments=moments,
            settings=settings_of(method, settings),
            seed=seed,
            report=False,
        ),
        world,
        controls=controls,
        settings=settings,
        neighbours=neighbours,
        seed=seed,
        progress=progress,
    )


@hashed_once
@renamed_arguments(ways="settings")
def audit_at_once(
    model: Model,
    world: FactSet,
    edits: int = 100,
    *,
    method: str = "joint",
    layers: Sequence[int] | None = None,
    controls: Sequence[str] = CHEAP,
    settings: ControlSettings | None = None,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    progress: Progress = silent,
) -> Scorecard:
    """Audit a method on seeded counterfactuals that are edited together in one patch.

    Args:
        model: an open model; it is left as it was.
        world: facts from which neighbours, same-subject facts and counterfactuals are drawn.
        edits: number of counterfactuals.
        method: name of an editing method.
        layers: layers to edit; None: the method's own choice.
        controls: names of `CONTROLS`, measured beside the edit.
        settings: seeds and search settings of controls that make edits.
        neighbours: other subjects of the relation asked about each edit.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Scorecard`.
    Raises: `EditError` where the method refuses, `FactError` where `world` has too few facts.
    Cost: One edit, and one evaluation for it and each control.
    """
    settings = settings or ControlSettings(seed)
    wishes = counterfactuals(world, edits, seed)
    patch = edit(
        model,
        wishes,
        method=method,
        layers=layers,
        settings=settings_of(method, settings),
        seed=seed,
        report=False,
        progress=progress,
    )
    return audit(
        model, patch, world, controls=controls, settings=settings, neighbours=neighbours, seed=seed
    )


def layers_of(
    model: Model, method: str, layers: Sequence[int] | None, facts: Sequence[Fact]
) -> Sequence[int]:
    """The layers that a method edits where none are said: for edits made apart, what calibration
    finds on a few of them together."""
    if layers is not None:
        return layers
    if method in TOGETHER:
        return range(model.n_layers)
    if is_embedded(model):
        return [default_layer(model)]
    return edit(
        model, facts[:FACTS], method="emmet" if method == "rome" else method, report=False
    ).layers


def counterfactuals(facts: FactSet, count: int, seed: int = 0) -> list[Fact]:
    """Facts with another answer of their relation as the new one, drawn from relations in turn.

        loci.counterfactuals(loci.known_facts(), 10, seed=1)

    Args:
        facts: facts to draw from.
        count: number of counterfactuals.
        seed: seed of every random draw.

    Returns: Facts with `new_answer`.
    Raises: `FactError` where there are too few.
    """
    rng = random.Random(seed)
    groups = [
        [fact for fact in group if _others(facts, fact)] for group in facts.relations.values()
    ]
    pools = [rng.sample(group, len(group)) for group in groups if group]
    rng.shuffle(pools)
    chosen: list[Fact] = []
    for turn in range(max(map(len, pools), default=0)):
        chosen += [pool[turn] for pool in pools if turn < len(pool)]
        if len(chosen) >= count:
            break
    return [fact.to(rng.choice(_others(facts, fact))) for fact in chosen[:count]]


def _others(facts: FactSet, fact: Fact) -> list[str]:
    """Answers of the relation that are another than the fact's, also where one begins with the
    other ("Democratic-Republican")."""
    return [
        a
        for a in facts.answers(fact.relation)
        if not (a.startswith(fact.answer) or fact.answer.startswith(a))
    ]
