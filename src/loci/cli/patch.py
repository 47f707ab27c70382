"""loci patch: show, apply, revert."""

import inspect
from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import JSON, console, emit, finish, status
from loci.cli.opening import Opening, opens

app = typer.Typer(help="Show a patch, apply it to a model's folder, or take it off again.", no_args_is_help=True)

FILE = Annotated[Path, typer.Argument(help="a patch file")]
FOLDER = Annotated[Path, typer.Option("--out", "-o", help="a new folder for the model")]


@app.command()
def show(file: FILE, json: JSON = False) -> None:
    """What a patch changes, for which facts, and on which base.

    Example:

        loci patch show jordan.safetensors
    """
    from loci.patches import load_patch

    finish(load_patch(file), json=json)


@app.command()
@opens(dtype="auto")
def apply(file: FILE, out: FOLDER, *, opening: Opening, json: JSON = False) -> None:
    """Write the edited model to a new folder that plain transformers loads, with what is needed to undo it.

    Example:

        loci patch apply jordan.safetensors -m demo -o jordan-model
    """
    from loci.files import check_writable
    from loci.patches import apply_to_folder, load_patch

    patch = load_patch(file)
    check_writable(out)
    opened = opening.open()
    with status("applying"):
        apply_to_folder(patch, opened, out)
    _said(
        {"schema": "loci.patch_apply/1", "patch": patch.id, "model": opening.model, "folder": str(out)},
        f"edited model: {out}",
        json,
    )


@app.command()
@opens(dtype="auto", model=inspect.Parameter.empty)
def revert(file: FILE, out: FOLDER, *, opening: Opening, json: JSON = False) -> None:
    """Take a patch off an edited model: the base, bit for bit, in a new folder.

    Example:

        loci patch revert jordan.safetensors -m jordan-model -o restored
    """
    from loci.files import check_writable
    from loci.patches import load_patch, revert_to_folder

    patch = load_patch(file)
    check_writable(out)
    opened = opening.open()
    with status("reverting"):
        revert_to_folder(patch, opened, opening.model, out)
    document = {"schema": "loci.patch_revert/1", "patch": patch.id, "model": opening.model, "folder": str(out), "base": patch.base}
    _said(document, f"restored, bit for bit: {out}", json)


def _said(document: dict[str, str], line: str, json: bool) -> None:
    if json:
        emit(document)
    else:
        console.print(line)
