"""loci recall: what a model knows."""

from dataclasses import replace

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import CHAT, FACTS, JSON, OUT, SEED, SHOTS


@opens()
def run(
    facts: FACTS = None,
    shots: SHOTS = 0,
    chat: CHAT = False,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Share of facts whose answer the model's greedy continuation begins with.

    Without a fact file: the embedded facts, in trained and in held-out phrasings. Of facts with a
    new_answer (corrections) that one is scored, and it is said how many of the old and of the new
    answers the model gives.

    Examples:

        loci recall

        loci recall -m ./my-model --facts my-facts.csv --json

        loci recall -m edited --facts corrections.csv

        loci recall -m gpt2 --facts my-facts.csv --shots 5
    """
    from loci.auditing import recall
    from loci.facts import known_facts, load_facts
    from loci.model import Frame

    check_out(out)
    asked = load_facts(facts) if facts else known_facts()
    opened = opening.open()
    framed = Frame(shots, chat, seed).facts(opened, asked)
    with bar("asking") as progress:
        result = recall(opened, framed, progress=progress)
    finish(replace(result, shots=shots, chat=chat), out, json)
