"""loci lookup: is the model a look-up table of names."""

from typing import Annotated

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import FACTS, JSON, OUT, SEED, TEXT, said, whole


@opens()
def run(
    relation: Annotated[
        str,
        said(
            "a relation of the facts; names of two parts, as athletes have, allow all tests",
            "RELATION",
        ),
    ] = "athlete_sport",
    facts: FACTS = None,
    text: TEXT = None,
    count: Annotated[
        int, whole("names in the single-step test; half as many in that of single neurons", low=2)
    ] = 24,
    neurons: Annotated[
        int, whole("neurons that are ablated alone for each fact", "--neurons")
    ] = 1536,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """The fact-finding tests: what it takes to read an answer off a name, whether single ANDs
    explain it, whether one subject's facts share neurons, and how local the layers are. One page
    with --out.

    Examples:

        loci lookup athlete_sport --out lookup.html

        loci lookup capital_of -m ./my-model --facts facts.csv --text sentences.txt
    """
    from loci.facts import known_facts, load_facts
    from loci.locating import lookup
    from loci.text import read_texts

    check_out(out)
    world = load_facts(facts) if facts else known_facts()
    texts = list(read_texts(text)) if text else ()
    opened = opening.open()
    with bar("fact finding") as progress:
        result = lookup(
            opened,
            world,
            relation,
            texts=texts,
            count=count,
            neurons=neurons,
            seed=seed,
            progress=progress,
        )
    finish(result, out, json)
