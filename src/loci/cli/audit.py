"""loci audit: what an edit did, what else it touched, and whether the old answer is gone."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loci.cli.common import bar, check_out, finish, status, takes, world_of, written
from loci.cli.opening import Opening, opens
from loci.cli.options import CHAT, FACTS, JSON, OUT, SEED, SHOTS, EditMethod, check_layers, whole
from loci.cli.options import layer as layer_option
from loci.errors import FactError

if TYPE_CHECKING:
    from loci.auditing import Removal
    from loci.facts import FactSet
    from loci.model import Frame, Model
    from loci.patches import Patch

PATCH = Annotated[
    Path | None,
    typer.Option("--patch", "-p", help="the patch to audit; else seeded edits are made"),
]
AT_ONCE = Annotated[bool, typer.Option("--at-once", help="the seeded edits in one patch")]
IN_TURN = Annotated[
    bool,
    typer.Option("--one-after-another", help="the seeded edits in turn: curves over their number"),
]
HISTORY = Annotated[
    bool, typer.Option(help="whether edits one after another hold the earlier ones")
]
METHOD = Annotated[
    EditMethod | None,
    typer.Option(
        help="method of the seeded edits; rome by default, joint at once and one after another"
    ),
]
LAYER = Annotated[list[int] | None, layer_option("layer of the seeded edits; may be repeated")]
GONE = Annotated[
    bool,
    typer.Option(
        "--gone",
        help=(
            "ask whether the old answers of --patch are gone: other words, shots, names and steps,"
            " the lens, a probe, and the steps until they are relearnt"
        ),
    ),
]
RELEARNING = Annotated[
    int, whole("most steps of each fine-tuning of --gone; 0: none", low=0, high=1000)
]
CONTROLS_ASKED = Annotated[
    bool | None,
    typer.Option(
        "--controls/--no-controls",
        help=(
            "no edit, random layer, fine-tuning, knowledge neurons, linear relations,"
            " in-context and retrieval beside the edit; by default all at once, else those that"
            " edit nothing"
        ),
    ),
]
CASES = Annotated[
    Path | None, typer.Option(help="write every case, a row an edit: .parquet or .csv")
]


@opens()
def run(
    patch: PATCH = None,
    facts: FACTS = None,
    edits: Annotated[int, whole("how many seeded edits, where no patch is given")] = 50,
    at_once: AT_ONCE = False,
    in_turn: IN_TURN = False,
    each: Annotated[int, whole("edits of a step of --one-after-another")] = 10,
    checkpoints: Annotated[int, whole("how often --one-after-another looks")] = 5,
    history: HISTORY = True,
    gone: GONE = False,
    relearning: RELEARNING = 40,
    method: METHOD = None,
    layer: LAYER = None,
    shots: SHOTS = 0,
    chat: CHAT = False,
    neighbours: Annotated[int, whole("neighbour prompts for each edit", low=0)] = 10,
    controls: CONTROLS_ASKED = None,
    cases: CASES = None,
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

    --gone asks instead whether what the patch removes or changes is gone: every test beside the
    base and beside other subjects that never had the answer, and a verdict: gone, hidden, not gone.

    A patch that was made inside --shots or --chat is audited inside them.

    Examples:

        loci audit --patch jordan.safetensors

        loci audit --patch p.safetensors -m ./my-model --out card.html --cases cases.csv

        loci audit --patch p.safetensors --gone

        loci audit --edits 50 --seed 0

        loci audit --edits 100 --at-once --method memit --layer 0

        loci audit --edits 200 --one-after-another --each 20 --out curves.html

        loci audit --edits 200 --one-after-another --each 20 --method memit --no-history
    """
    from loci import auditing
    from loci.figures.tables import write_table
    from loci.model import Frame
    from loci.patches import load_patch

    _check(patch, at_once, in_turn, cases)
    check_out(out)
    if gone:
        finish(_gone(opening, patch, facts, cases, Frame(shots, chat, seed), relearning), out, json)
        return
    loaded = load_patch(patch) if patch is not None else None
    opened = opening.open()
    loaded, world = _framed(opened, loaded, Frame(shots, chat, seed), world_of(facts))
    check_layers(opened, *(layer or ()))
    beside = _beside(controls, at_once)
    common: dict[str, Any] = {"neighbours": neighbours, "seed": seed}
    made = {**common, "layers": layer}
    made["method"] = method or ("joint" if at_once or in_turn else "rome")
    if loaded is not None:
        with status("auditing"):
            card = auditing.audit(opened, loaded, world, controls=beside, **common)
    else:
        takes(_seconds(edits, at_once, each if in_turn else 0, len(beside)))
        with bar("editing and auditing") as progress:
            made["progress"] = progress
            if in_turn:
                made |= {"each": each, "checkpoints": checkpoints, "history": history}
                finish(auditing.audit_in_turn(opened, world, edits, **made), out, json)
                return
            make = auditing.audit_at_once if at_once else auditing.audit_method
            card = make(opened, world, edits, controls=beside, **made)
    if cases is not None:
        write_table(auditing.CaseTable(card).to_dict(), cases)
        written(cases)
    finish(card, out, json)


def _seconds(edits: int, at_once: bool, each: int, controls: int) -> float:
    """About what an audit of seeded edits takes (docs/results/editing.md): by steps of `each`, all
    at once, or one at a time.
    """
    if each:
        return 20 * edits / each + 3.4 * edits
    return 60 + (1.8 + 0.7 * controls) * edits if at_once else (6 + 1.2 * controls) * edits


def _framed(
    model: "Model", patch: "Patch | None", frame: "Frame", world: "FactSet"
) -> "tuple[Patch | None, FactSet]":
    """The patch and the facts as they are asked: inside the shots or the chat that the patch was
    made in, or those of the command. Raises `FactError` where the two differ.
    """
    from loci.model import Frame

    numbers = {} if patch is None else patch.numbers
    made_in = Frame(**numbers["frame"]) if "frame" in numbers else None
    if frame and made_in and frame != made_in:
        raise FactError(
            "the patch was made with other shots or without the chat: leave --shots, --chat and"
            " --seed out"
        )
    if patch is not None and frame and made_in is None:
        patch = replace(patch, facts=tuple(frame.facts(model, patch.facts, world)))
    return patch, (made_in or frame).facts(model, world)


def _beside(controls: bool | None, at_once: bool) -> tuple[str, ...]:
    """The controls that are asked for; by default all at once, else those that edit nothing."""
    from loci import auditing

    if controls is False:
        return ()
    return tuple(auditing.CONTROLS) if controls or at_once else tuple(auditing.CHEAP)


def _gone(
    opening: Opening,
    patch: Path | None,
    facts: Path | None,
    cases: Path | None,
    frame: "Frame",
    relearning: int,
) -> "Removal":
    """The search for the old answers of a patch; what it has no use for is refused."""
    from loci.auditing import gone
    from loci.patches import load_patch

    if patch is None:
        raise FactError(
            "--gone asks about the old answers of a patch: give --patch FILE, as loci edit or loci"
            " edit --remove writes it"
        )
    if cases is not None:
        raise FactError("--gone has tests, not cases: --out gone.json writes them")
    read, opened = load_patch(patch), opening.open()
    loaded, world = _framed(opened, read, frame, world_of(facts))
    assert loaded is not None
    with bar("asking, looking inside, relearning") as progress:
        return gone(opened, loaded, world, steps=relearning, seed=frame.seed, progress=progress)


def _check(patch: Path | None, at_once: bool, in_turn: bool, cases: Path | None) -> None:
    """Refuse options that exclude each other, and a table that cannot be written."""
    from loci.figures.tables import check_table
    from loci.files import check_writable

    if cases is not None:
        check_table(cases)
        check_writable(cases)
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
