"""loci audit: what an edit did, and what else it touched."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import FACTS, JSON, OUT, SEED, bar, check_out, finish, status, world_of
from loci.cli.opening import Opening, opens


@opens()
def run(
    patch: Annotated[
        Path | None, typer.Option("--patch", "-p", help="the patch to audit; else seeded single edits are made")
    ] = None,
    facts: FACTS = None,
    edits: Annotated[int, typer.Option(help="how many seeded single edits, where no patch is given")] = 50,
    layer: Annotated[int | None, typer.Option(help="layer of the seeded edits")] = None,
    neighbours: Annotated[int, typer.Option(help="neighbour prompts for each edit")] = 10,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Audit a patch against the untouched base, or the method itself on seeded single edits.

    Examples:

        loci audit --patch jordan.safetensors

        loci audit --patch p.safetensors -m ./my-model --facts my-facts.csv --out card.html

        loci audit --edits 50 --seed 0
    """
    from loci.auditing import audit, audit_method
    from loci.patches import load_patch

    check_out(out)
    loaded = load_patch(patch) if patch is not None else None
    world = world_of(facts)
    opened = opening.open()
    if loaded is not None:
        with status("auditing"):
            card = audit(opened, loaded, world, neighbours=neighbours, seed=seed)
    else:
        with bar("editing and auditing") as progress:
            card = audit_method(opened, world, edits, layer=layer, neighbours=neighbours, seed=seed, progress=progress)
    finish(card, out, json)
