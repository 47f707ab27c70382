"""loci probe: from which layer on can an attribute be read."""

from typing import Annotated

import typer

from loci.cli.common import FACTS, JSON, OUT, SEED, bar, check_out, finish
from loci.cli.opening import Opening, opens


@opens()
def run(
    relation: Annotated[str, typer.Argument(help="a relation of the facts, whose answers are probed")] = "athlete_sport",
    facts: FACTS = None,
    folds: Annotated[int, typer.Option(help="parts in which subjects are held out")] = 5,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Linear probes at the last subject token, layer by layer, on held-out subjects, beside shuffled answers.

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
        found = probe(opened, asked, folds=folds, seed=seed, progress=progress)
    finish(found, out, json)
