"""loci probe: from which layer on can an attribute be read."""

from typing import Annotated

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import FACTS, JSON, OUT, RELATION, SEED, whole


@opens()
def run(
    relation: RELATION = "athlete_sport",
    facts: FACTS = None,
    folds: Annotated[int, whole("parts in which subjects are held out", low=2)] = 5,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Linear probes at the last subject token, layer by layer, on held-out subjects, beside
    shuffled answers.

    Examples:

        loci probe athlete_sport

        loci probe capital_of -m ./my-model --facts facts.csv --out probe.html
    """
    from loci.facts import known_facts, load_facts
    from loci.locating import probe

    check_out(out)
    world = load_facts(facts) if facts else known_facts()
    asked = world.of(relation)
    opened = opening.open()
    with bar("probing") as progress:
        result = probe(opened, asked, folds=folds, seed=seed, progress=progress)
    finish(result, out, json)
