"""loci patch export: a patch in the forms that other programs take."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import tell
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, PATCH_FILE
from loci.errors import PatchError


class ExportFormat(StrEnum):
    """Formats that a patch can be exported to."""

    peft = "peft"
    delta = "delta"
    gguf_lora = "gguf-lora"


OUT = Annotated[
    Path,
    typer.Option(
        "--out", "-o", help="a new folder (peft), a .safetensors file (delta) or a .gguf file"
    ),
]
FORM = Annotated[
    ExportFormat,
    typer.Option(
        "--format",
        "-f",
        help=(
            "peft: a LoRA adapter; delta: dense changes by parameter; gguf-lora: an adapter for"
            " llama.cpp and Ollama"
        ),
    ),
]
BASE = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help=(
            "what the adapter calls its base, where that will lie elsewhere: a folder or a hub id"
        ),
    ),
]
MODELFILE = Annotated[
    bool,
    typer.Option("--modelfile", help="gguf-lora: also a Modelfile beside it, for `ollama create`"),
]


@opens(dtype="auto")
def export(
    file: PATCH_FILE,
    out: OUT,
    form: FORM,
    base: BASE = None,
    modelfile: MODELFILE = False,
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
        tell({**document, "base": name}, f"adapter: {out}", json, [f"its base: {name}"])
    elif form is ExportFormat.gguf_lora:
        architecture = export_gguf_lora(patch, weights, out)
        name = base or _for_ollama(opening.model)
        notes = [f"its base: {name}"]
        if modelfile:
            made = write_modelfile(out.parent, name, f"./{out.name}")
            document["modelfile"] = str(made)
            notes.append(f"{made}; next: ollama create NAME -f {made}")
        tell(
            {**document, "base": name, "architecture": architecture}, f"adapter: {out}", json, notes
        )
    else:
        export_delta(patch, weights, out)
        tell(document, f"dense changes: {out}", json)


def _for_ollama(model: str) -> str:
    """A model's name as a Modelfile says it: Ollama's own, or a file by its full path."""
    if model.startswith("ollama:"):
        return model.removeprefix("ollama:")
    return str(Path(model).resolve()) if Path(model).exists() else model
