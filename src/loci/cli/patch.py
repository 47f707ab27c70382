"""loci patch: show, apply, revert, merge, diff, compress, export."""

import inspect
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loci.cli.common import bar, console, emit, finish, status
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, said, whole
from loci.cli.terminal import plain
from loci.cli.verbs import Verbs
from loci.errors import PatchError

if TYPE_CHECKING:
    from loci.model import Weights
    from loci.patches import Applied, Patch

app = Verbs(
    help="Show, apply, take off, merge, compare, compress and export patches.", no_args_is_help=True
)

FILE = Annotated[Path, typer.Argument(help="a patch file")]
FOLDER = Annotated[
    Path, typer.Option("--out", "-o", help="a new folder for the model, or a new .gguf file")
]
NEW = Annotated[Path, typer.Option("--out", "-o", help="the new patch file, .safetensors")]


ROUNDED = 0.1
"""From which share of the change on rounding is mentioned."""


SHOWN = 5
"""Prompts that are listed."""


class Keep(StrEnum):
    """Whose edit wins."""

    first = "first"
    last = "last"


class ExportFormat(StrEnum):
    """What a patch is written as."""

    peft = "peft"
    delta = "delta"
    gguf_lora = "gguf-lora"


class StoredAs(StrEnum):
    """What tensors of a GGUF file are written as."""

    F16 = "F16"
    BF16 = "BF16"
    Q8_0 = "Q8_0"
    F32 = "F32"


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
def apply(
    file: FILE,
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
    _said({**document, **made.to_dict()}, f"edited model: {out}", json, _notes(made))


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
    _said({**document, **made.to_dict()}, f"edited model: {out}", json, notes)


@app.command()
@opens(dtype="auto", model=inspect.Parameter.empty)
def revert(file: FILE, out: FOLDER, *, opening: Opening, json: JSON = False) -> None:
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
        _said({**document, "file": str(out)}, f"restored, bit for bit: {out}", json)
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
    _said(
        {**document, "folder": str(out), "changed": changed},
        f"restored, bit for bit: {out}",
        json,
        notes,
    )


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
    from loci.files import check_writable
    from loci.patches import load_patch, merge

    patches = [load_patch(file) for file in files]
    check_writable(out)
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
    """What differs between two patches, or between a base and an edited model: norms and ranks,
    weight by weight.

    With --out, the difference of two models becomes a patch by truncated singular value
    decomposition, and its error is stated.

    Examples:

        loci patch diff jordan.safetensors capitals.safetensors

        loci patch diff demo jordan-model -o found.safetensors
    """
    from loci.files import check_writable
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
        check_writable(out)
    base, edited = (open_weights(source, dtype="auto") for source in (first, second))
    with bar("comparing") as progress:
        if out is None:
            finish(diff_models(base, edited, progress=progress), json=json)
            return
        found = patch_between(base, edited, rank=rank, partial=partial, progress=progress)
    _written(found, out, json)


@app.command()
def compress(
    file: FILE,
    out: NEW,
    rank: Annotated[int, whole("largest rank of each change", "--rank", "-r")],
    json: JSON = False,
) -> None:
    """The nearest patch of a smaller rank, with its error.

    Example:

        loci patch compress capitals.safetensors --rank 20 -o small.safetensors
    """
    from loci.files import check_writable
    from loci.patches import compress, load_patch

    patch = load_patch(file)
    check_writable(out)
    _written(compress(patch, rank), out, json)


@app.command()
@opens(dtype="auto")
def export(
    file: FILE,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="a new folder (peft), a .safetensors file (delta) or a .gguf file"
        ),
    ],
    form: Annotated[
        ExportFormat,
        typer.Option(
            "--format",
            "-f",
            help=(
                "peft: a LoRA adapter; delta: dense changes by parameter; gguf-lora: an adapter for"
                " llama.cpp and Ollama"
            ),
        ),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help=(
                "what the adapter calls its base, where that will lie elsewhere: a folder or a"
                " hub id"
            ),
        ),
    ] = None,
    modelfile: Annotated[
        bool,
        typer.Option(
            "--modelfile", help="gguf-lora: also a Modelfile beside it, for `ollama create`"
        ),
    ] = False,
    *,
    opening: Opening,
    json: JSON = False,
) -> None:
    """A patch in the forms of others: a LoRA adapter for PEFT, llama.cpp or Ollama, or the dense
    changes under the state dict's names.

    Examples:

        loci patch export jordan.safetensors --format peft -o adapter

        loci patch export jordan.safetensors --format gguf-lora --modelfile -m gemma.gguf -o a.gguf

        loci patch export jordan.safetensors --format delta -m demo -o delta.safetensors
    """
    from loci.files import check_writable
    from loci.patches import (
        check_new_modelfile,
        export_delta,
        export_gguf_lora,
        export_peft,
        load_patch,
        write_modelfile,
    )

    if modelfile and form is not ExportFormat.gguf_lora:
        raise PatchError("--modelfile goes with --format gguf-lora")
    patch = load_patch(file)
    check_writable(out, folder=form is ExportFormat.peft)
    if modelfile:
        check_new_modelfile(out.parent)
    weights = opening.open_weights()
    document = {
        "schema": "loci.patch_export/1",
        "patch": patch.id,
        "format": form.value,
        "model": opening.model,
        "path": str(out),
    }
    if form is ExportFormat.peft:
        name = export_peft(patch, weights, out, base=base)
        _said({**document, "base": name}, f"adapter: {out}", json, [f"its base: {name}"])
    elif form is ExportFormat.gguf_lora:
        architecture = export_gguf_lora(patch, weights, out)
        name = base or _for_ollama(opening.model)
        notes = [f"its base: {name}"]
        if modelfile:
            made = write_modelfile(out.parent, name, f"./{out.name}")
            document["modelfile"] = str(made)
            notes.append(f"{made}; next: ollama create NAME -f {made}")
        _said(
            {**document, "base": name, "architecture": architecture}, f"adapter: {out}", json, notes
        )
    else:
        export_delta(patch, weights, out)
        _said(document, f"dense changes: {out}", json)


def _for_ollama(model: str) -> str:
    """A model's name as a Modelfile says it: Ollama's own, or a file by its full path."""
    if model.startswith("ollama:"):
        return model.removeprefix("ollama:")
    return str(Path(model).resolve()) if Path(model).exists() else model


def _written(patch: "Patch", out: Path, json: bool) -> None:
    patch.save(out)
    finish(patch, json=json)
    if not json:
        console.print(f"written: {plain(out)}")


def _said(document: dict[str, Any], line: str, json: bool, notes: Sequence[str] = ()) -> None:
    if json:
        emit(document)
    else:
        for text in (line, *notes):
            console.print(plain(text))


def _notes(made: "Applied") -> list[str]:
    """What there is to know about a folder beyond that it is there."""
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
