"""Tensors as they lie in files: safetensors, NumPy archives, and pickles that the user trusts."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from loci.errors import DictionaryError, ModelError
from loci.model.stored import tensors_in
from loci.validate import begins, is_there, named, one_line

KINDS = {"F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"}
ENDINGS = (".safetensors", ".npz", ".pt", ".pth", ".bin")
LARGEST = 2**36
"""Bytes of a NumPy archive once unpacked: what says more is refused before it is read."""
State = dict[str, Tensor]


def read_tensors(path: Path, *, pickle: bool = False) -> tuple[State, dict[str, Any]]:
    """All tensors of a file, floating-point ones as float32, and what else it holds: metadata, or
    what a pickle keeps beside tensors.

    Raises `DictionaryError` for a file that is missing, broken or of another kind, and for a pickle
    that is not said to be trusted.
    """
    if not is_there(path):
        raise DictionaryError(f"{named(path)}: there is no such file")
    begins(path, b"", DictionaryError)
    if path.suffix == ".safetensors":
        tensors, said = _safetensors(path)
    elif path.suffix == ".npz":
        tensors, said = _archive(path), {}
    elif path.suffix in ENDINGS:
        tensors, said = _unpickled(path, pickle)
    else:
        raise DictionaryError(
            f"{named(path)}: the tensors of a dictionary end in {', '.join(ENDINGS)}"
        )
    if not tensors:
        raise DictionaryError(f"{named(path)}: there are no tensors in it")
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }, said


def _safetensors(path: Path) -> tuple[State, dict[str, Any]]:
    try:
        for tensor in tensors_in(path):
            if tensor.dtype not in KINDS:
                raise DictionaryError(
                    f"{named(path)}: {tensor.name} is {tensor.dtype}, and a dictionary holds plain"
                    " numbers"
                )
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, dict(file.metadata() or {})
    except (SafetensorError, OSError, ModelError) as error:
        raise DictionaryError(
            f"{named(path)}: not a whole safetensors file ({one_line(str(error))})"
        ) from None


def _archive(path: Path) -> State:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST:
            raise DictionaryError(
                f"{named(path)}: {size:,} bytes once unpacked, more than the {LARGEST:,} that are"
                " read"
            )
        with np.load(path, allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise DictionaryError(
            f"{named(path)}: not a whole NumPy archive ({one_line(str(error))})"
        ) from None
    odd = [name for name, array in stored.items() if array.dtype.kind not in "fiub"]
    if odd:
        raise DictionaryError(
            f"{named(path)}: {odd[0]} holds {stored[odd[0]].dtype}, and a dictionary holds plain"
            " numbers"
        )
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in stored.items()}


def _unpickled(path: Path, pickle: bool) -> tuple[State, dict[str, Any]]:
    if not pickle:
        raise DictionaryError(
            f"{named(path)}: a pickle can run code; say --pickle (pickle=True) for a file that you"
            " trust"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch makes of a broken or a foreign pickle
        raise DictionaryError(
            f"{named(path)}: cannot be unpickled as tensors alone ({one_line(str(error))})"
        ) from error
    if not isinstance(content, Mapping):
        raise DictionaryError(
            f"{named(path)}: expected tensors by name, found a {type(content).__name__}"
        )
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return tensors, {
        str(name): value for name, value in content.items() if not isinstance(value, Tensor)
    }


def by_feature(matrix: Tensor, features: int, where: str, *, last: bool = False) -> Tensor:
    """A matrix as features × width. Shapes decide; of a square one, `last` says whether the format
    keeps features last.
    """
    if matrix.ndim != 2 or features not in matrix.shape:
        shape = tuple(matrix.shape)
        raise DictionaryError(
            f"{where}: a matrix of the shape {shape}, and its biases are of {features:,} features"
        )
    square = matrix.shape[0] == matrix.shape[1]
    turned = last if square else matrix.shape[0] != features
    return matrix.T.contiguous() if turned else matrix
