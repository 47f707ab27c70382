"""Edits to try: facts with another answer of their own relation, seeded, spread over relations."""

import random

from loci.facts import Fact, FactSet


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
