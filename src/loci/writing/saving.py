"""Tables and MLPs as safetensors files."""

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as encode
from torch import Tensor

from loci.errors import WriteError
from loci.files import write_aside
from loci.model.stored import FLOATS
from loci.writing.mlp import MLP
from loci.writing.table import FactTable, classes, vectors

WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def load_table(path: str | Path) -> FactTable:
    """Read a table from safetensors: `keys`, and `labels` (with `values` or as classes) or
    `answers`.

    Args:
        path: the file.

    Returns: `FactTable`.
    Raises: `WriteError` for a file that holds no table.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WriteError(f"{path}: not a safetensors file that can be read ({error})") from None
    if "keys" not in tensors or not {"labels", "answers"} & set(tensors):
        raise WriteError(
            f"{path}: expected the tensors keys, and labels or answers, not "
            f"{', '.join(sorted(tensors)) or 'none'}"
        )
    for name in ("keys", "values", "answers"):
        if name in tensors and tensors[name].dtype not in FLOATS.values():
            raise WriteError(
                f"{path}: {name}: expected plain floating-point numbers, {_found(tensors[name])}"
            )
    keys = tensors["keys"].float()
    if "answers" in tensors:
        return vectors(keys, tensors["answers"].float())
    labels = tensors["labels"]
    if labels.dtype not in WHOLE or (labels < 0).any():
        raise WriteError(f"{path}: labels: expected whole numbers from 0 on, {_found(labels)}")
    return (
        FactTable(keys, tensors["values"].float(), labels.long())
        if "values" in tensors
        else classes(keys, labels.long())
    )


def _found(tensor: Tensor) -> str:
    smallest = f", the smallest {tensor.min().item()}" if tensor.dtype in WHOLE else ""
    return f"found {str(tensor.dtype).removeprefix('torch.')}{smallest}"


def save_mlp(mlp: MLP, path: str | Path) -> None:
    """Write an MLP's weights as safetensors; the activation stands in the header.

    Args:
        mlp: the MLP.
        path: the file.

    Raises: `OutputError` where the file cannot be written.
    """
    with write_aside(path) as aside:
        aside.write_bytes(
            encode(
                {name: t.contiguous() for name, t in mlp.tensors.items()}, metadata={"act": mlp.act}
            )
        )


def load_mlp(path: str | Path) -> MLP:
    """Read what `save_mlp` wrote.

    Args:
        path: the file.

    Returns: The `MLP`.
    Raises: `WriteError` for another file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            act = (file.metadata() or {})["act"]
            return MLP(act, **{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise WriteError(
            f"{path}: no MLP that Loci wrote ({type(error).__name__}: {error})"
        ) from None
