"""loci audit: what an edit did, and what else it touched."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from loci.cli.common import bar, check_out, finish, status, world_of, written
from loci.cli.opening import Opening, opens
from loci.cli.options import CHAT, FACTS, JSON, OUT, SEED, SHOTS, EditMethod, check_layers, whole
from loci.cli.options import layer as layer_option
from loci.errors import FactError


@opens()
def run(
    patch: Annotated[
        Path | None,
        typer.Option("--patch", "-p", help="the patch to audit; else seeded edits are made"),
    ] = None,
    facts: FACTS = None,
    edits: Annotated[int, whole("how many seeded edits, where no patch is given")] = 50,
    at_once: Annotated[
        bool, typer.Option("--at-once", help="the seeded edits in one patch")
    ] = False,
    in_turn: Annotated[
        bool,
        typer.Option(
            "--one-after-another", help="the seeded edits in turn: curves over their number"
        ),
    ] = False,
    each: Annotated[int, whole("edits of a step of --one-after-another")] = 10,
    checkpoints: Annotated[int, whole("how often --one-after-another looks")] = 5,
    history: Annotated[
        bool, typer.Option(help="whether edits one after another hold the earlier ones")
    ] = True,
    method: Annotated[
        EditMethod | None,
        typer.Option(
            help="method of the seeded edits; rome by default, joint at once and one after another"
        ),
    ] = None,
    layer: Annotated[
        list[int] | None, layer_option("layer of the seeded edits; may be repeated")
    ] = None,
    shots: SHOTS = 0,
    chat: CHAT = False,
    neighbours: Annotated[int, whole("neighbour prompts for each edit", low=0)] = 10,
    controls: Annotated[
        bool | None,
        typer.Option(
            "--controls/--no-controls",
            help=(
                "no edit, random layer, fine-tuning, knowledge neurons, linear relations,"
                " in-context and retrieval beside the edit; by default all at once, else those that"
                " edit nothing"
            ),
        ),
    ] = None,
    cases: Annotated[
        Path | None, typer.Option(help="write every case, a row an edit: .parquet or .csv")
    ] = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Audit a patch against the untouched base, or a method on seeded edits: one at a time, all at
    once, or one after another.

    Controls stand beside it. "no edit", "in-context" and "retrieval" cost an examination each;
    "random layer", "fine-tuning", "knowledge neurons" and "linear relations" make the edit anew,
    for every patch audited: of single edits that is four more searches an edit.

    A patch that was made inside --shots or --chat is audited inside them.

    Examples:

        loci audit --patch jordan.safetensors

        loci audit --patch p.safetensors -m ./my-model --out card.html --cases cases.csv

        loci audit --edits 50 --seed 0

        loci audit --edits 100 --at-once --method memit --layer 0

        loci audit --edits 200 --one-after-another --each 20 --out curves.html

        loci audit --edits 200 --one-after-another --each 20 --method memit --no-history
    """
    from loci.auditing import (
        CHEAP,
        CONTROLS,
        CaseTable,
        audit,
        audit_at_once,
        audit_in_turn,
        audit_method,
    )
    from loci.figures.tables import check_table, write_table
    from loci.files import check_writable
    from loci.model import Frame
    from loci.patches import load_patch

    _check(patch, at_once, in_turn, cases)
    check_out(out)
    if cases is not None:
        check_table(cases)
        check_writable(cases)
    loaded = load_patch(patch) if patch is not None else None
    opened = opening.open()
    frame = Frame(shots, chat, seed)
    made_in = (
        Frame(**loaded.numbers["frame"])
        if loaded is not None and "frame" in loaded.numbers
        else None
    )
    if frame and made_in and frame != made_in:
        raise FactError(
            "the patch was made with other shots or without the chat: leave --shots, --chat and"
            " --seed out"
        )
    world = (made_in or frame).facts(opened, world_of(facts))
    if loaded is not None and frame and made_in is None:
        loaded = replace(loaded, facts=tuple(frame.facts(opened, loaded.facts, world_of(facts))))
    check_layers(opened, *(layer or ()))
    beside = () if controls is False else tuple(CONTROLS) if controls or at_once else CHEAP
    common: dict[str, Any] = {"neighbours": neighbours, "seed": seed}
    made = {
        **common,
        "layers": layer,
        "method": method or ("joint" if at_once or in_turn else "rome"),
    }
    if loaded is not None:
        with status("auditing"):
            card = audit(opened, loaded, world, controls=beside, **common)
    else:
        with bar("editing and auditing") as progress:
            if in_turn:
                curves = audit_in_turn(
                    opened,
                    world,
                    edits,
                    each=each,
                    checkpoints=checkpoints,
                    history=history,
                    progress=progress,
                    **made,
                )
                finish(curves, out, json)
                return
            make = audit_at_once if at_once else audit_method
            card = make(opened, world, edits, controls=beside, progress=progress, **made)
    if cases is not None:
        write_table(CaseTable(card).to_dict(), cases)
        written(cases)
    finish(card, out, json)


def _check(patch: Path | None, at_once: bool, in_turn: bool, cases: Path | None) -> None:
    """Refuse options that exclude each other."""
    if patch is not None and (at_once or in_turn):
        raise FactError(
            "a patch is audited as it is: --at-once and --one-after-another are for seeded edits"
        )
    if at_once and in_turn:
        raise FactError("say either --at-once or --one-after-another")
    if in_turn and cases is not None:
        raise FactError(
            "--one-after-another has curves, not cases: --out curves.parquet writes them"
        )
