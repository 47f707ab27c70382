"""loci patch: show, apply, revert, merge, diff, compress, export."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli import patch_export, patch_models
from loci.cli.common import bar, finish
from loci.cli.console import console
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, PATCH_FILE, said, whole
from loci.cli.outputs import check_patch
from loci.cli.terminal import plain
from loci.cli.verbs import Verbs
from loci.errors import PatchError

if TYPE_CHECKING:
    from loci.patches import Patch

app = Verbs(
    help="Show, apply, take off, merge, compare, compress and export patches.", no_args_is_help=True
)

NEW = Annotated[Path, typer.Option("--out", "-o", help="the new patch file, .safetensors")]


class Keep(StrEnum):
    """Whose edit wins."""

    first = "first"
    last = "last"


@app.command()
def show(file: PATCH_FILE, json: JSON = False) -> None:
    """Show a patch: the weights that it changes, its facts, and its base.

    Example:

        loci patch show jordan.safetensors
    """
    from loci.patches import load_patch

    finish(load_patch(file), json=json)


@app.command()
@opens(dtype="auto", model=None)
def merge(
    files: Annotated[list[Path], typer.Argument(help="two patch files or more, of one base")],
    out: NEW,
    keep: Annotated[
        Keep | None, typer.Option(help="whose edit wins where two ask the same")
    ] = None,
    *,
    opening: Opening,
    json: JSON = False,
) -> None:
    """Several patches of one base as one. Edits of the same question are listed and refused, unless
    --keep says which wins.

    With the base (--model) it is also measured how much each patch disturbs the other at the
    subjects that it edits, the merged model is asked what it says of all facts, and a losing fact
    can be taken out of a patch that has others. Without it nothing of that is known.

    Examples:

        loci patch merge jordan.safetensors capitals.safetensors -o both.safetensors

        loci patch merge old.safetensors new.safetensors --keep last -m demo -o both.safetensors
    """
    from loci.patches import load_patch, merge

    check_patch(out)
    patches = [load_patch(file) for file in files]
    opened = opening.open() if opening.model else None
    merged = merge(patches, keep=keep.value if keep else None, model=opened)
    if opened is not None and merged.facts:
        from loci.editing import with_report

        merged = with_report(opened, merged)
    _written(merged, out, json)


@app.command()
def diff(
    first: Annotated[str, said("a patch file; or the base: demo, a folder, a hub id", "FIRST")],
    second: Annotated[str, said("another patch file; or the edited model", "SECOND")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="write what differs between two models as a patch"),
    ] = None,
    rank: Annotated[
        int | None, whole("rank of each change; by default what stands out of rounding")
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="leave out what a patch cannot hold: all but MLP weights"),
    ] = False,
    json: JSON = False,
) -> None:
    """Compare two patches, or a base and an edited model: norms and ranks of the difference, weight
    by weight.

    With --out, the difference of two models becomes a patch by truncated singular value
    decomposition, and its error is stated.

    Examples:

        loci patch diff jordan.safetensors capitals.safetensors

        loci patch diff demo jordan-model -o found.safetensors
    """
    from loci.model import open_weights
    from loci.patches import diff_models, diff_patches, load_patch, patch_between

    if Path(first).is_file() and Path(second).is_file():
        if out:
            raise PatchError(
                "--out makes a patch of what differs between two models; these are patches: see"
                " loci patch merge"
            )
        finish(diff_patches(load_patch(first), load_patch(second)), json=json)
        return
    for source in (first, second):
        if Path(source).is_file():
            raise PatchError(
                f"{source} is a file and the other is not: give two patches, or two models"
            )
    if out:
        check_patch(out)
    base, edited = (open_weights(source, dtype="auto") for source in (first, second))
    with bar("comparing") as progress:
        if out is None:
            finish(diff_models(base, edited, progress=progress), json=json)
            return
        result = patch_between(base, edited, rank=rank, partial=partial, progress=progress)
    _written(result, out, json)


@app.command()
def compress(
    file: PATCH_FILE,
    out: NEW,
    rank: Annotated[int, whole("largest rank of each change", "--rank", "-r")],
    json: JSON = False,
) -> None:
    """The nearest patch of a smaller rank, with its error.

    Example:

        loci patch compress capitals.safetensors --rank 20 -o small.safetensors
    """
    from loci.patches import compress, load_patch

    check_patch(out)
    _written(compress(load_patch(file), rank), out, json)


def _written(patch: "Patch", out: Path, json: bool) -> None:
    patch.save(out)
    finish(patch, json=json)
    if not json:
        console.print(f"written: {plain(out)}")


app.command("export")(patch_export.export)


app.command("apply")(patch_models.apply)
app.command("revert")(patch_models.revert)
