"""The verdict on a checkpoint, in plain words, from its changes alone."""

from collections.abc import Sequence

from loci.auditing.forensics.changes import WeightChange

FOREIGN = 0.5
"""‖Δ‖ / ‖W‖ above which a weight is another one: independent weights differ by √2, fine-tunes by
a few hundredths."""
SHOWN = 5


def foreign(changes: Sequence[WeightChange], compared: int) -> bool:
    """Whether matrices all over the model differ by about their own size; edits of one weight a
    layer are too few for that."""
    return (
        sum(len(change.shape) > 1 and change.relative > FOREIGN for change in changes)
        > compared / 4
    )


def said(
    changes: Sequence[WeightChange],
    compared: int,
    suspected: Sequence[str],
    asked: int,
    extras: bool = False,
) -> str:
    """The verdict.

    Low rank in MLPs' W_down is what the ROME family leaves, full rank in many weights what training
    leaves.
    """
    real = [change for change in changes if not change.rounding]
    if not changes:
        more = "; but tensors that no model class knows are not the same" if extras else ""
        return f"no change: all {compared} parameters are equal, number by number{more}"
    if not real:
        return (
            f"rounding only: {len(changes)} of {compared} parameters differ, none by more than "
            "another dtype makes it"
        )
    if foreign(real, compared):
        return (
            f"not its base: {len(real)} of {compared} parameters differ by about their own size; "
            "find the checkpoint that was edited"
        )
    return f"{_deed(real)}{_whom(suspected, asked)}"


def _deed(real: Sequence[WeightChange]) -> str:
    matrices = [change for change in real if len(change.shape) > 1]
    low = [change for change in matrices if not change.full]
    where = _names([change.name for change in real])
    if len(low) == len(real) and all(change.name.startswith("W_down") for change in low):
        ranks = sorted({change.rank for change in low})
        span = f"{ranks[0]}" if len(ranks) == 1 else f"{ranks[0]} to {ranks[-1]}"
        return f"edits of rank {span} at {where}, as the ROME family makes them"
    if low and len(low) == len(matrices):
        return (
            f"changes of low rank (at most {max(change.rank for change in low)}) at {where}: edits "
            "or merged adapters (LoRA)"
        )
    full = _names([change.name for change in matrices if change.full])
    return (
        f"training: {full or where} changed in most directions (fine-tuning, or a merge of "
        "fine-tunes)"
    )


def _whom(suspected: Sequence[str], asked: int) -> str:
    if not asked:
        return ""
    if not suspected:
        return f"; none of the {asked} subjects asked about stands out"
    names = ", ".join(suspected[:SHOWN]) + (
        f" and {len(suspected) - SHOWN} more" if len(suspected) > SHOWN else ""
    )
    return f"; {len(suspected)} of {asked} subjects: {names}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (
        f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    )
