"""loci lens: what the model would say after each layer, and who put the answer there."""

from typing import Annotated

import typer

from loci.cli.common import JSON, OUT, check_out, finish
from loci.cli.opening import Opening, opens


@opens()
def run(
    prompt: Annotated[str, typer.Argument(help="the prompt, up to where the answer comes")],
    answer: Annotated[str | None, typer.Option("--answer", "-a", help="the answer to follow; the model's own by default")] = None,
    against: Annotated[str | None, typer.Option(help="another answer: the score is then the difference of the two")] = None,
    top: Annotated[int, typer.Option(help="how many words, neurons and sub-updates to show of each layer")] = 5,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Logit lens and direct attribution: the words after each layer, and what every attention, MLP, head and neuron adds.

    Examples:

        loci lens "Michael Jordan plays the sport of"

        loci lens "Osaka is a city in the country of" --against China --out osaka.html
    """
    from loci.locating import lens
    from loci.model import answer_of

    check_out(out)
    opened = opening.open()
    result = lens(opened, prompt, answer if answer is not None else answer_of(opened, prompt), against=against, top=top)
    finish(result, out, json)
