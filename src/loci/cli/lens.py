"""loci lens: what the model would say after each layer, and who put the answer there."""

from typing import Annotated

from loci.cli.common import answer_from, check_out, filled, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import AGAINST, ANSWER, JSON, OUT, PROMPT, SUBJECT, check_top, whole


@opens()
def run(
    prompt: PROMPT,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    against: AGAINST = None,
    top: Annotated[int, whole("how many words, neurons and sub-updates to show of each layer")] = 5,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Logit lens and direct attribution: the words after each layer, and what every attention, MLP,
    head and neuron adds.

    Examples:

        loci lens "Michael Jordan plays the sport of"

        loci lens "Osaka is a city in the country of" --against China --out osaka.html
    """
    from loci.locating import lens

    prompt = filled(prompt, subject)
    check_out(out)
    opened = opening.open()
    check_top(opened, top)
    result = lens(opened, prompt, answer_from(opened, prompt, answer), against=against, top=top)
    finish(result, out, json)
