"""Models in Hugging Face form: written whole, and pickled weights written again as safetensors."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from loci.errors import OutputError
from loci.model import Model, quiet
from loci.model.stored import SAFE, Stored


def write_unpickled(pickled: Stored, folder: Path) -> None:
    """Write a checkpoint's pickled weights into a folder. Tensors that share memory are written
    each for itself. Cost: one file in memory.
    """
    names = (
        {file: _safe_name(file) for file in pickled.files}
        if pickled.index
        else {pickled.files[0]: SAFE[0]}
    )
    where: dict[str, str] = {}
    for file, name in names.items():
        tensors = {
            key: tensor.clone().contiguous()
            for key, tensor in _state(file).items()
            if isinstance(tensor, Tensor)
        }
        save_file(tensors, folder / name, metadata={"format": "pt"})
        where |= dict.fromkeys(tensors, name)
    if pickled.index:
        index = json.loads(pickled.index.read_text(encoding="utf-8"))
        (folder / SAFE[1]).write_text(
            json.dumps({**index, "weight_map": where}, indent=2), encoding="utf-8"
        )


def _safe_name(file: Path) -> str:
    return f"{file.stem.replace('pytorch_model', 'model', 1)}.safetensors"


def _state(file: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    return state


def save_model(model: Model, folder: Path) -> None:
    """A model and its tokenizer in Hugging Face form, quietly, into a folder that may be there.
    Raises `OutputError`.
    """
    write = model.hf.save_pretrained
    assert callable(write)
    try:
        with quiet():
            write(folder)
            model.tokenizer.save_pretrained(folder)
    except Exception as error:
        if isinstance(error, SafetensorError) or "os error" in str(
            error
        ):  # Rust's words; tokenizers has no class for them
            raise OutputError(f"{folder.name}: the model cannot be written ({error})") from error
        raise
