"""loci routes: attention against MLP."""

from typing import Annotated

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import FACTS, JSON, OUT, SEED, whole


@opens()
def run(
    facts: FACTS = None,
    known: Annotated[int, whole("how many of the embedded facts, drawn by --seed, where no file is given")] = 50,
    window: Annotated[int, whole("layers cut together")] = 1,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """What recall needs: attention from the last token to the subject, MLPs at the subject, attention at the last token; by layer.

    Examples:

        loci routes

        loci routes -m ./my-model --facts facts.csv --window 5 --out routes.html
    """
    from loci.facts import known_facts, load_facts
    from loci.locating import routes

    check_out(out)
    asked = load_facts(facts) if facts else known_facts().sample(known, seed=seed)
    opened = opening.open()
    with bar("cutting") as progress:
        found = routes(opened, asked, window=window, progress=progress)
    finish(found, out, json)
