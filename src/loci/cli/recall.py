"""loci recall: what a model knows."""

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import FACTS, JSON, OUT, SEED


@opens()
def run(
    facts: FACTS = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Share of facts whose answer the model's greedy continuation begins with.

    Without a fact file: the embedded facts, in trained and in held-out phrasings. Of facts with a new_answer (corrections) that one is
    scored, and it is said how many of the old and of the new answers the model gives.

    Examples:

        loci recall

        loci recall -m ./my-model --facts my-facts.csv --json

        loci recall -m edited --facts corrections.csv
    """
    from loci.auditing import recall
    from loci.facts import known_facts, load_facts

    check_out(out)
    asked = load_facts(facts) if facts else known_facts()
    opened = opening.open()
    with bar("asking") as progress:
        result = recall(opened, asked, progress=progress)
    finish(result, out, json)
