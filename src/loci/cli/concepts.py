"""loci concepts: how much of some concepts is in a text's vector."""

from typing import Annotated

import typer

from loci.cli.common import JSON, OUT, SEED, check_out, finish
from loci.cli.opening import Opening, opens


@opens()
def run(
    texts: Annotated[list[str], typer.Argument(help='words or texts: "Michael Jordan"')],
    concept: Annotated[list[str] | None, typer.Option("--concept", "-c", help="a concept, by its word; said once for each")] = None,
    point: Annotated[str, typer.Option(help="where vectors are read: embed, or as in resid_post.3")] = "embed",
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """How much of Michael, of Jordan and of both an embedding or a residual vector has, beside as many random directions.

    Examples:

        loci concepts "Michael Jordan" "Michael Jackson" -c Michael -c Jordan

        loci concepts "Michael Jordan" -c Michael -c Jordan -c basketball --point resid_post.1 --out concepts.html
    """
    from loci.reading.concepts import concept as concepts_in

    check_out(out)
    finish(concepts_in(opening.open(), concept or [], texts, point, seed=seed), out, json)
