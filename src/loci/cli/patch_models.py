"""loci patch apply and revert: a patch put on a model's files, and taken off again."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, PATCH_FILE
from loci.errors import PatchError

if TYPE_CHECKING:
    from loci.patches import Patch

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

from loci.cli.common import status

if TYPE_CHECKING:
    from loci.model import Weights
    from loci.patches import Applied, Patch
from loci.cli.common import tell

ROUNDED = 0.1
"""From which share of the change on rounding is mentioned."""

SHOWN = 5
"""Prompts that are listed."""


FOLDER = Annotated[
    Path, typer.Option("--out", "-o", help="a new folder for the model, or a new .gguf file")
]


class StoredAs(StrEnum):
    """Types in which the edited tensors of a GGUF file can be stored."""

    F16 = "F16"
    BF16 = "BF16"
    Q8_0 = "Q8_0"
    F32 = "F32"


@opens(dtype="auto")
def apply(
    file: PATCH_FILE,
    out: FOLDER,
    stored_as: Annotated[
        StoredAs | None,
        typer.Option(
            "--as",
            case_sensitive=False,
            help="of a .gguf file: the type of edited tensors, F16 by default",
        ),
    ] = None,
    *,
    opening: Opening,
    json: JSON = False,
) -> None:
    """Write the edited model, with what is needed to undo it: a folder that plain transformers
    loads, or a GGUF file.

    A GGUF file is written where the model is one and --out ends in .gguf: untouched tensors and all
    metadata byte for byte, edited tensors as F16 or what --as says. The facts are then asked with
    the weights as written.

    Examples:

        loci patch apply jordan.safetensors -m demo -o jordan-model

        loci patch apply jordan.safetensors -m gemma.gguf -o edited.gguf --as Q8_0
    """
    from loci.files import check_writable
    from loci.patches import apply_to_folder, load_patch

    patch = load_patch(file)
    if out.suffix == ".gguf":
        _apply_gguf(patch, out, stored_as or StoredAs.F16, opening, json)
        return
    if stored_as is not None:
        raise PatchError(
            "--as is for .gguf files: a folder keeps the dtype that it has; let --out end in .gguf"
        )
    check_writable(out, folder=True)
    opened = opening.open()
    with status("applying"):
        made = apply_to_folder(patch, opened, out)
    document = {
        "schema": "loci.patch_apply/1",
        "patch": patch.id,
        "model": opening.model,
        "folder": str(out),
    }
    tell({**document, **made.to_dict()}, f"edited model: {out}", json, _notes(made))


def _apply_gguf(
    patch: "Patch", out: Path, stored_as: StoredAs, opening: Opening, json: bool
) -> None:
    from loci.files import check_writable
    from loci.model.gguf import is_gguf, whole_gguf
    from loci.patches import apply_to_gguf

    kind = stored_as.value
    if not is_gguf(opening.model):
        raise PatchError(
            f"{opening.model!r} is no GGUF file, so none can be written of it: name a folder with"
            " --out"
        )
    source = whole_gguf(opening.model)
    check_writable(out)
    opened = opening.open()
    with status("applying"):
        made = apply_to_gguf(patch, opened, source, out, stored_as=kind)
    document = {
        "schema": "loci.patch_apply/1",
        "patch": patch.id,
        "model": opening.model,
        "file": str(out),
    }
    notes = [
        f"{len(made.tensors)} tensors as {kind}, all else byte for byte; undo file: {made.undo}"
    ]
    if made.said.n:
        notes.append(
            f"new answers given with the weights as written: {round(made.said.value * made.said.n)}"
            f" of {made.said.n}"
        )
    notes += [f"not given as {kind}: {text}" for text in made.failed[:SHOWN]]
    tell({**document, **made.to_dict()}, f"edited model: {out}", json, notes)


@opens(dtype="auto", model=inspect.Parameter.empty)
def revert(file: PATCH_FILE, out: FOLDER, *, opening: Opening, json: JSON = False) -> None:
    """Take a patch off an edited model: the base, bit for bit, in a new folder or GGUF file.

    Examples:

        loci patch revert jordan.safetensors -m jordan-model -o restored

        loci patch revert jordan.safetensors -m edited.gguf -o restored.gguf
    """
    from loci.files import check_writable
    from loci.model import folder_of
    from loci.patches import load_patch, revert_gguf, revert_to_folder

    patch = load_patch(file)
    document = {
        "schema": "loci.patch_revert/1",
        "patch": patch.id,
        "model": opening.model,
        "base": patch.base,
        "changed": [],
    }
    if out.suffix == ".gguf":
        from loci.model.gguf import gguf_parts, is_gguf

        if not is_gguf(opening.model):
            raise PatchError(
                f"{opening.model!r} is no GGUF file, so none can be written of it: name a folder"
                " with --out"
            )
        check_writable(out)
        with status("reverting"):
            revert_gguf(patch, gguf_parts(opening.model)[0], out)
        tell({**document, "file": str(out)}, f"restored, bit for bit: {out}", json)
        return
    check_writable(out, folder=True)
    edited: Callable[[], Weights] = opening.open if patch.neurons else opening.open_weights
    place = folder_of(opening.model)
    if place is None:
        weights = edited()
        edited, place = (
            (lambda: weights),
            weights.source.folder if weights.source else Path(opening.model),
        )
    with status("reverting"):
        changed = revert_to_folder(patch, edited, place, out)
    notes = (
        [f"changed since the patch was applied, and left so: {', '.join(changed)}"]
        if changed
        else []
    )
    tell(
        {**document, "folder": str(out), "changed": changed},
        f"restored, bit for bit: {out}",
        json,
        notes,
    )


def _notes(made: "Applied") -> list[str]:
    """Notes on the folder that was written: rounding, unpickled weights, weights in other forms."""
    notes = []
    name, most = max(made.rounding.items(), key=lambda item: item[1], default=("", 0.0))
    if most > ROUNDED:
        notes.append(
            f"rounding to the stored dtype moves what is added by up to {most:.0%} of it ({name})"
        )
    if made.unpickled:
        notes.append("pickled weights were written as safetensors")
    if made.other_weights:
        notes.append(
            "the base's weights in other forms are not edited, and kept in loci-undo.files:"
            f" {', '.join(made.other_weights)}"
        )
    if made.left_out:
        notes.append(f"left out: {', '.join(made.left_out)}")
    return notes
