"""One task of a plan: a shard run through the model, or states joined; its state in a folder, once
it is whole.

    folder/<id>.safetensors        for every node of the plan's tree (`tree`) that is done

A text that the tokenizer or the model cannot take is set aside with its place and the reason, and
the shard is run without it. What is set aside does not depend on who runs the shard, so neither
does the state.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch

from loci.errors import LociError, ModelError
from loci.model import Model
from loci.survey.pass_checkpoint import Surveyed
from loci.survey.plan import Plan
from loci.survey.question import SurveyQuestion
from loci.survey.states import (
    DamagedState,
    SetAside,
    State,
    add,
    read_head,
    read_state,
    tensors_of,
    write_state,
)
from loci.survey.text_pass import pages, run_windows, windows
from loci.survey.tree import MergeNode
from loci.text.ranges import Given, read_range
from loci.validate import is_there, one_line

Numbered = Sequence[tuple[int, Given]]
NOT_A_TEXT = (MemoryError, torch.OutOfMemoryError)
"""Errors that say nothing about the text."""


def state_path(plan: Plan, node: MergeNode, folder: Path) -> Path:
    return folder / f"{plan.ids[node]}.safetensors"


def done(plan: Plan, folder: Path) -> set[MergeNode]:
    """The nodes whose states are in the folder, by their names alone."""
    there = {path.stem for path in folder.glob("*.safetensors")} if folder.is_dir() else set()
    return {node for node, id in plan.ids.items() if id in there}


def run_task(plan: Plan, node: MergeNode, folder: Path, model: Model | None) -> Surveyed:
    """Make a node's state: of a shard by a pass, else of its children's states, which go then. What
    is there already stays.

    Raises `DamagedState` where a child is damaged: it is removed, and is missing then.
    """
    path = state_path(plan, node, folder)
    if is_there(path):
        with suppress(DamagedState):
            said = read_head(path)
            return Surveyed(said["texts"], said["tokens"])
        path.unlink(missing_ok=True)
    if node.level:
        state = join(plan, node, [folder])
    else:
        assert model is not None
        piece = plan.pieces[node.number]
        texts = list(enumerate(read_range(plan.source, piece), piece.first))
        state = run_shard(model, plan.question, texts, plan.batch_tokens)
    write_state(path, state, plan.ids[node], plan.head)
    for child in node.children(len(plan.pieces)):
        state_path(plan, child, folder).unlink(missing_ok=True)
    return Surveyed(state.texts, state.tokens)


def join(plan: Plan, node: MergeNode, folders: Sequence[Path]) -> State:
    """A node's state from its children's, one after the other: two are in memory at a time."""
    state: State | None = None
    for child in node.children(len(plan.pieces)):
        other = load(plan, child, folders)
        state = other if state is None else add(state, other)
    assert state is not None
    return state


def load(plan: Plan, node: MergeNode, folders: Sequence[Path]) -> State:
    """A node's state, from the first folder that has it.

    Raises `DamagedState` where it is damaged or nowhere; what is damaged in the first folder is
    removed, so that it is made again.
    """
    paths = [state_path(plan, node, folder) for folder in folders]
    path = next(filter(is_there, paths), paths[0])
    try:
        return read_state(path, plan.question.accumulators(), plan.ids[node])
    except DamagedState:
        paths[0].unlink(missing_ok=True)
        raise


def run_shard(model: Model, question: SurveyQuestion, texts: Numbered, budget: int) -> State:
    """Accumulate some texts in a pass of their own.

    Raises `ModelError` where the model takes none of them, as then it is not the texts.
    """
    aside = [
        SetAside(number, one.place, one.fault) for number, one in texts if one.fault is not None
    ]
    good = [(number, one) for number, one in texts if one.fault is None]
    state = _gathered(model, question, good, budget)
    if state is None:
        faulty = _faulty(model, question, good, budget)
        if not faulty or len(faulty) == len(good) > 1:
            why = faulty[0].reason if faulty else "the sums are not finite"
            raise ModelError(f"the model takes none of the texts from {good[0][1].place} on: {why}")
        aside = sorted([*aside, *faulty], key=lambda one: one.text)
        bad = {one.text for one in faulty}
        good = [(number, one) for number, one in good if number not in bad]
        state = _gathered(model, question, good, budget)
        if state is None:
            raise ModelError(
                f"the texts from {texts[0][1].place} on fail together, though each passes alone"
            )
    return State(state.gathered, len(texts), state.tokens, tuple(aside))


def _gathered(model: Model, question: SurveyQuestion, texts: Numbered, budget: int) -> State | None:
    """The accumulators after a pass over the texts; None where a text fails, or where a sum is not
    finite.
    """
    gathered, tokens = question.accumulators(), 0
    try:
        for page in pages((number, one.text) for number, one in texts):
            tokens += run_windows(model, windows(model, page), gathered, budget)
    except NOT_A_TEXT:
        raise
    except Exception:  # noqa: BLE001  whatever a tokenizer or a model makes of a text; `_faulty` says which and why
        return None
    finite = all(
        tensor.isfinite().all()
        for tensor in tensors_of(gathered).values()
        if tensor.is_floating_point()
    )
    return State(gathered, len(texts), tokens) if finite else None


def _faulty(model: Model, question: SurveyQuestion, texts: Numbered, budget: int) -> list[SetAside]:
    """The texts that fail, found by halves: for p of n texts about p · log n passes over shares of
    them.
    """
    if len(texts) > 1:
        half = len(texts) // 2
        parts = [
            part
            for part in (texts[:half], texts[half:])
            if _gathered(model, question, part, budget) is None
        ]
        return [fault for part in parts for fault in _faulty(model, question, part, budget)]
    number, one = texts[0]
    gathered = question.accumulators()
    try:
        run_windows(model, windows(model, [(number, one.text)]), gathered, budget)
    except NOT_A_TEXT:
        raise
    except Exception as error:  # noqa: BLE001  it is written down
        kind = "" if isinstance(error, LociError) else f"{type(error).__name__}: "
        return [SetAside(number, one.place, f"{kind}{one_line(str(error))}")]
    return [SetAside(number, one.place, "not finite in the model")]
