"""loci routes: attention against MLP."""

from typing import Annotated

from loci.cli.common import bar, check_out, fact_from, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import ANSWER, FACTS, JSON, OUT, SEED, SUBJECT, said, whole
from loci.errors import FactError


@opens()
def run(
    prompt: Annotated[
        str | None, said("one prompt alone, up to where the answer comes", "PROMPT")
    ] = None,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    facts: FACTS = None,
    known: Annotated[
        int, whole("how many of the embedded facts, drawn by --seed, where no file is given")
    ] = 50,
    window: Annotated[int, whole("layers cut together")] = 1,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Cut attention from the last token to the subject, MLPs at the subject, or attention at the
    last token, layer by layer, and measure how much recall loses.

    Examples:

        loci routes

        loci routes "Michael Jordan plays the sport of"

        loci routes -m ./my-model --facts facts.csv --window 5 --out routes.html
    """
    from loci.facts import FactSet, known_facts, load_facts
    from loci.locating import routes

    if prompt is not None and facts is not None:
        raise FactError("say either a prompt or --facts")
    if prompt is None and (subject or answer):
        raise FactError("--subject and --answer are of one prompt: say it")
    check_out(out)
    asked = load_facts(facts) if facts else known_facts().sample(known, seed=seed)
    opened = opening.open()
    if prompt is not None:
        asked = FactSet([fact_from(opened, prompt, subject, answer=answer)])
    with bar("cutting") as progress:
        result = routes(opened, asked, window=window, progress=progress)
    finish(result, out, json)
