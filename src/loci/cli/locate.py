"""loci locate: the cheap methods together."""

from loci.cli.common import bar, check_out, fact_from, finish
from loci.cli.console import console
from loci.cli.opening import Opening, opens
from loci.cli.options import ANSWER, JSON, OUT, PROMPT, SEED, SUBJECT


@opens()
def run(
    prompt: PROMPT,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Where several methods see a fact, what agrees, and what does not: in words and a figure.

    Examples:

        loci locate "Michael Jordan plays the sport of"

        loci locate "The Eiffel Tower is in" -s "Eiffel Tower" -m ./my-model --out tower.html
    """
    from loci.locating import locate

    check_out(out)
    opened = opening.open()
    fact = fact_from(opened, prompt, subject, answer=answer)
    with bar("locating") as progress:
        result = locate(opened, fact, seed=seed, progress=progress)
    finish(result, out, json)
    if not json:
        console.print(
            "\n[dim]more: loci trace, loci lens, loci neurons, loci routes on the same prompt[/]"
        )
