"""loci read: what a neuron looks for and what it writes."""

from typing import Annotated

import typer

from loci.cli.common import bar, check_out, finish, texts_of
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, TEXT, TOKENS_READ, said, whole


@opens()
def run(
    neuron: Annotated[str, said("its name: layer and number, as in L1N37", "NEURON")],
    text: TEXT = None,
    tokens: Annotated[int, TOKENS_READ] = 100_000,
    weights_only: Annotated[
        bool,
        typer.Option(
            "--weights-only",
            help="read only its weights, from their files: no triggers, no model is built",
        ),
    ] = False,
    top: Annotated[int, whole("how many tokens and triggers to show")] = 10,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """One MLP neuron: the contexts that fire it, the tokens its value promotes and suppresses, how
    often it fires.

    Examples:

        loci read L1N37

        loci read L5N200 --top 20 --out card.html

        loci read L3E1N200 -m ./my-mixture --weights-only
    """
    from loci.model.names import parse_neuron
    from loci.reading import read, read_weights

    check_out(out)
    if weights_only:
        card = read_weights(opening.open_weights(), neuron, top=top)
    else:
        opened = opening.open()
        parse_neuron(neuron, opened)
        texts = texts_of(opened, text, tokens)
        with bar("reading") as progress:
            card = read(opened, neuron, texts, top=top, progress=progress)
    finish(card, out, json)
