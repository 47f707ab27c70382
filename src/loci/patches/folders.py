"""Patches on disk: an edited checkpoint that plain transformers loads, and the way back to the base, bit for bit.

Rounding makes W + Δ − Δ differ from W, so the edited folder keeps the original bits of the weights that changed in
`loci-undo.safetensors`; reverting puts those back, cuts off neurons that were added, and compares the fingerprint of the whole with that of
the base.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from loci.errors import OutputError, PatchError
from loci.files import write_aside
from loci.model import Model, quiet
from loci.patches.neurons import narrowed, widened
from loci.patches.patch import UNDO, Patch, short


def apply_to_folder(patch: Patch, model: Model, folder: str | Path) -> None:
    """Write the edited model to a new folder. The model in memory is as before afterwards."""
    originals = {name: model.weight(name).contiguous().clone() for name in patch.factors}
    with write_aside(folder, folder=True) as aside, patch.applied(model):
        save_model(widened(model, patch.neurons) if patch.neurons else model, aside)
        (aside / UNDO).write_bytes(save(originals, metadata={"patch": patch.id}))


@torch.no_grad()
def revert_to_folder(patch: Patch, edited: Model, edited_folder: str | Path, folder: str | Path) -> None:
    """Undo the patch in an edited model and write the base to a new folder. `edited` holds the base's weights afterwards, and with added
    neurons is cut to its width in a copy.

    Raises `PatchError` unless the result is the base, bit for bit.
    """
    undo = Path(edited_folder) / UNDO
    more = max((part.size for part in patch.neurons.values()), default=0)
    edited = narrowed(edited, more, patch.base) if 0 < more < edited.d_mlp else edited
    if undo.exists():
        try:
            originals = load_file(undo)
        except SafetensorError as error:
            raise PatchError(f"{undo}: not a whole safetensors file ({error})") from None
        for name, weight in originals.items():
            edited.weight(name).copy_(weight)
    else:
        patch.add_to(edited, sign=-1)
    found = edited.fingerprint
    if found != patch.base:
        lost = "" if undo.exists() else f"; {UNDO} is missing, and rounding hides the original bits"
        raise PatchError(
            f"taking the patch off {str(edited_folder)!r} gives weights {short(found)}, its base has {short(patch.base)}: "
            f"not the model that this patch was applied to{lost}"
        )
    with write_aside(folder, folder=True) as aside:
        save_model(edited, aside)


def save_model(model: Model, folder: Path) -> None:
    """A model and its tokenizer in Hugging Face form, quietly, into a folder that may be there. Raises `OutputError`."""
    write = model.hf.save_pretrained
    assert callable(write)
    try:
        with quiet():
            write(folder)
            model.tokenizer.save_pretrained(folder)
    except Exception as error:
        if isinstance(error, SafetensorError) or "os error" in str(error):  # Rust's words; tokenizers has no class for them
            raise OutputError(f"{folder.name}: the model cannot be written ({error})") from error
        raise
