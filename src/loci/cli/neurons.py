"""loci neurons: which neurons hold a fact."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from loci.cli.common import bar, check_out, fact_from, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import ANSWER, JSON, OUT, PROMPT, SEED, SUBJECT, Baseline, whole
from loci.cli.options import share as share_option


@opens()
def run(
    prompt: PROMPT,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    baseline: Annotated[
        Baseline,
        typer.Option(help="from where the gradients are integrated: zero, or the corrupted run"),
    ] = "zero",
    threshold: Annotated[
        float, share_option("a phrasing keeps neurons above this share of its largest score")
    ] = 0.2,
    share: Annotated[
        float, share_option("neurons count that this share of the phrasings keep")
    ] = 0.5,
    controls: Annotated[
        int, whole("random and equally active sets of neurons to compare with", high=10_000)
    ] = 20,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Knowledge neurons: what the phrasings of a fact share, and what silencing and doubling it
    does, against controls.

    A known fact brings its paraphrases; another prompt stands alone.

    Examples:

        loci neurons "Michael Jordan plays the sport of"

        loci neurons "The Eiffel Tower is in" -s "Eiffel Tower" -m ./my-model --json
    """
    from loci.facts import known_facts
    from loci.locating import knowledge_neurons

    check_out(out)
    opened = opening.open()
    asked = fact_from(opened, prompt, subject, answer=answer)
    known = known_facts().same(asked)
    fact = asked if known is None else replace(known, answer=asked.answer)
    settings: dict[str, Any] = {
        "baseline": baseline,
        "threshold": threshold,
        "share": share,
        "controls": controls,
        "seed": seed,
    }
    with bar("attributing") as progress:
        result = knowledge_neurons(opened, fact, **settings, progress=progress)
    finish(result, out, json)
