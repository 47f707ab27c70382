"""loci memories: MLPs as key–value memories."""

from typing import Annotated

import typer

from loci.cli.common import JSON, OUT, SEED, TEXT, bar, check_out, finish, texts_of
from loci.cli.opening import Opening, opens


@opens()
def run(
    text: TEXT = None,
    tokens: Annotated[int, typer.Option(help="tokens of the embedded text to look through, where no file is given")] = 50_000,
    neurons: Annotated[int, typer.Option(help="neurons sampled in each layer")] = 128,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """What fires the keys, whether values say what follows, and whether single memories decide, layer by layer.

    Examples:

        loci memories

        loci memories -m gpt2 --text wiki.jsonl --neurons 500 --out memories.html
    """
    from loci.reading import memories

    check_out(out)
    opened = opening.open()
    texts = texts_of(opened, text, tokens)
    with bar("reading memories") as progress:
        found = memories(opened, texts, neurons=neurons, seed=seed, progress=progress)
    finish(found, out, json)
