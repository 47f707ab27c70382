"""Tables and MLPs as safetensors files."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as encode

from loci.errors import WriteError
from loci.files import write_aside
from loci.writing.mlp import MLP
from loci.writing.table import FactTable, classes, vectors


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
    keys = tensors["keys"].float()
    if "answers" in tensors:
        return vectors(keys, tensors["answers"].float())
    labels = tensors["labels"].long()
    return (
        FactTable(keys, tensors["values"].float(), labels)
        if "values" in tensors
        else classes(keys, labels)
    )


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
