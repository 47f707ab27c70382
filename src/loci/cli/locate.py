"""loci locate: the cheap methods together."""

from typing import Annotated

import typer

from loci.cli.common import JSON, OUT, SEED, SUBJECT, bar, check_out, console, fact_from, finish
from loci.cli.opening import Opening, opens


@opens()
def run(
    prompt: Annotated[str, typer.Argument(help="the prompt, up to where the answer comes")],
    subject: SUBJECT = None,
    answer: Annotated[str | None, typer.Option("--answer", "-a", help="the answer; the model's own by default")] = None,
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
        found = locate(opened, fact, seed=seed, progress=progress)
    finish(found, out, json)
    if not json:
        console.print("\n[dim]more: loci trace, loci lens, loci neurons, loci routes on the same prompt[/]")
