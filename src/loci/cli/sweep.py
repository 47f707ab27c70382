"""loci sweep: does the trace tell where to edit."""

from typing import Annotated

from loci.cli.common import bar, check_out, finish, takes
from loci.cli.opening import Opening, opens
from loci.cli.options import FACTS, JSON, OUT, SEED, whole
from loci.errors import FactError


@opens()
def run(
    facts: FACTS = None,
    edits: Annotated[
        int, whole("seeded counterfactuals of the embedded facts, where no file is given")
    ] = 10,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Edit facts at every layer and set each edit's success beside the trace's effect there.

    Examples:

        loci sweep --edits 10 --out sweep.html

        loci sweep -m ./my-model --facts corrections.csv
    """
    from loci.auditing import counterfactuals, sweep
    from loci.facts import known_facts, load_facts

    check_out(out)
    wishes = list(load_facts(facts)) if facts else counterfactuals(known_facts(), edits, seed)
    if any(wish.new_answer is None for wish in wishes):
        raise FactError(f"{facts}: a sweep needs the column new_answer filled")
    opened = opening.open()
    takes(30 + 33 * len(wishes))
    with bar("editing every layer") as progress:
        result = sweep(opened, wishes, seed=seed, progress=progress)
    finish(result, out, json)
