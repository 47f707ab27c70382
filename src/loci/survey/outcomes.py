"""The outcome of a plan: its state, and a summary of it that any run of the plan gives alike."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loci.errors import ModelError
from loci.files import write_aside
from loci.survey.plan import Plan
from loci.survey.shards import done, join, load, state_path
from loci.survey.states import DamagedState, State, checksum, read_head, write_state
from loci.survey.tree import MergeNode, joined, missing, root
from loci.validate import brief, is_folder, is_there, named

SCHEMA = "loci.survey/1"


def summary(plan: Plan, state: State) -> dict[str, Any]:
    """The state in one JSON document: what was read and set aside, and a checksum of each
    accumulator.
    """
    points = {
        point: {type(one).__name__: checksum(one.state()) for one in accumulators}
        for point, accumulators in sorted(state.gathered.items())
    }
    aside = [
        {"text": one.text, "place": one.place, "reason": one.reason} for one in state.set_aside
    ]
    return {
        "schema": SCHEMA,
        "plan": plan.id,
        "model": plan.opening.model,
        "checkpoint": plan.checkpoint,
        "text": plan.text,
        "texts": state.texts,
        "tokens": state.tokens,
        "set_aside": aside,
        "points": points,
    }


def outcome(plan: Plan, folder: Path) -> State:
    """The state of the whole plan. Raises `ModelError` where it is not there yet."""
    top = root(len(plan.pieces))
    if not is_there(state_path(plan, top, folder)):
        gone = missing(dict.fromkeys(done(plan, folder)), len(plan.pieces))
        raise ModelError(
            f"{named(folder)}: {len(gone)} of {len(plan.pieces)} shards are missing: run the plan"
            " again, and it goes on"
        )
    return load(plan, top, [folder])


def merge_states(plan: Plan, folders: Sequence[Path], out: Path) -> State:
    """Join the states of some folders, from wherever they were made; what they cover together is
    written to `out`.

    Raises `ModelError` for states of another model, question or text, and where shards are missing
    after all.
    """
    for folder in folders:
        check_states(plan, folder)
    places = [out, *folders]
    there = {node for folder in places for node in done(plan, folder)}
    joined(
        {node: node for node in there},
        len(plan.pieces),
        lambda children: _joined(plan, children, places),
    )
    gone = missing(dict.fromkeys(there), len(plan.pieces))
    if gone:
        raise ModelError(
            f"{len(gone)} of {len(plan.pieces)} shards are in none of the folders (the first is"
            f" shard {gone[0]}): run the plan into one of them, and it goes on"
        )
    top = root(len(plan.pieces))
    if not is_there(state_path(plan, top, out)):
        write_state(state_path(plan, top, out), load(plan, top, places), plan.ids[top], plan.head)
    return outcome(plan, out)


def _joined(plan: Plan, children: list[MergeNode], places: Sequence[Path]) -> MergeNode:
    """Write the state of the node above, and take away what was joined before it in the same
    way.
    """
    node = children[0].above()
    write_state(
        state_path(plan, node, places[0]), join(plan, node, places), plan.ids[node], plan.head
    )
    for child in children:
        state_path(plan, child, places[0]).unlink(missing_ok=True)
    return node


def check_states(plan: Plan, folder: Path) -> None:
    """Raise `ModelError` where a folder holds a state that is none of the plan's,
    with the reason.
    """
    if not is_folder(folder):
        raise ModelError(f"{named(folder)}: there is no such folder of states")
    ids = set(plan.ids.values())
    for path in sorted(folder.glob("*.safetensors")):
        if path.stem not in ids:
            raise ModelError(f"{named(path)}: {_stranger(plan, path)}")


def _stranger(plan: Plan, path: Path) -> str:
    try:
        head = read_head(path)["head"]
    except DamagedState:
        return "no state of this plan"
    kinds = {"checkpoint": "model", "question": "question"}
    for name, kind in kinds.items():
        if head.get(name) != plan.head[name]:
            return f"the state of another {kind} than the plan's"
    differs = next((name for name in plan.head if head.get(name) != plan.head[name]), None)
    if differs is not None:
        return (
            f"a state with {differs} {brief(head.get(differs))}, where the plan has"
            f" {plan.head[differs]!r}"
        )
    return "the state of another text than the plan's"


def copy_state(plan: Plan, folder: Path, path: Path) -> None:
    """The whole plan's state as a file of its own. Raises `OutputError`."""
    with write_aside(path) as aside:
        aside.write_bytes(state_path(plan, root(len(plan.pieces)), folder).read_bytes())
