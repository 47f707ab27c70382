"""loci concepts: how much of some concepts is in a text's vector."""

from typing import Annotated

from loci.cli.common import check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, said, words


@opens()
def run(
    texts: Annotated[list[str], said('words or texts: "Michael Jordan"', "TEXTS")],
    concept: Annotated[
        list[str] | None,
        words("a concept, by its word; said once for each", "--concept", "-c", kind="WORD"),
    ] = None,
    point: Annotated[
        str, words("where vectors are read: embed, or as in resid_post.3", kind="POINT")
    ] = "embed",
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """How much of Michael, of Jordan and of both an embedding or a residual vector has, beside as
    many random directions.

    Examples:

        loci concepts "Michael Jordan" "Michael Jackson" -c Michael -c Jordan

        loci concepts "Michael Jordan" -c Jordan -c basketball --point resid_post.1 --out c.html
    """
    from loci.reading.concepts import concept as concepts_in

    check_out(out)
    finish(concepts_in(opening.open(), concept or [], texts, point, seed=seed), out, json)
