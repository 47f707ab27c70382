"""Audit the method itself: seeded single edits over many relations, each on the untouched base."""

import random

from loci.auditing.audit import NEIGHBOURS, Scorecard, audit_singles
from loci.editing import default_layer, edit, key_moments
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.progress import Progress, silent


def audit_method(
    model: Model,
    world: FactSet,
    edits: int = 50,
    *,
    layer: int | None = None,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    progress: Progress = silent,
) -> Scorecard:
    """ROME on `edits` counterfactuals of the world, one at a time; the layer's covariance is taken once."""
    at = default_layer(model) if layer is None else layer
    moments = key_moments(model, [at])
    return audit_singles(
        model,
        counterfactuals(world, edits, seed),
        lambda wish: edit(model, [wish], layers=[at], moments=moments),
        world,
        neighbours=neighbours,
        seed=seed,
        progress=progress,
    )


def counterfactuals(facts: FactSet, count: int, seed: int = 0) -> list[Fact]:
    """`count` facts, taken from the relations in turn, each wished to have another of its relation's answers."""
    rng = random.Random(seed)
    pools = [rng.sample(group, len(group)) for name, group in facts.relations.items() if len(facts.answers(name)) > 1]
    rng.shuffle(pools)
    chosen: list[Fact] = []
    for turn in range(max(map(len, pools), default=0)):
        chosen += [pool[turn] for pool in pools if turn < len(pool)]
        if len(chosen) >= count:
            break
    return [fact.to(rng.choice([a for a in facts.answers(fact.relation) if a != fact.answer])) for fact in chosen[:count]]
