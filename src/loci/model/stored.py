"""Tensors of a checkpoint's folder by name, each with its dtype, its shape and its place in a file;
no value is read.

    a safetensors file:  8 bytes: length n of the header  n bytes: JSON {name: {dtype, shape,
                         data_offsets}}  data

Pickled weights are looked at only where they are trusted, by torch's restricted unpickler and
without their values.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loci.errors import ModelError

SAFE = ("model.safetensors", "model.safetensors.index.json")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
"""Pickled checkpoints that transformers loads from a folder: the first of these that exists."""
FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Dtypes of weights that are plain numbers, by what safetensors calls them."""
WORDS = {
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F4": "float4", "C64": "complex64",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32",
    "U16": "uint16", "U8": "uint8",
    "BOOL": "bool",
}  # fmt: skip
HEADER_LIMIT = 100_000_000


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file: where its bytes are, [start, stop) from the file's beginning (0, 0 in a
    pickle).
    """

    name: str
    file: Path
    dtype: str
    """As safetensors calls it: F32, BF16, …"""
    shape: tuple[int, ...]
    start: int = 0
    stop: int = 0

    @property
    def word(self) -> str:
        """The dtype as torch calls it."""
        return WORDS.get(self.dtype, str(FLOATS.get(self.dtype, self.dtype)).removeprefix("torch."))

    def read(self) -> Tensor:
        """Its values. Cost: its bytes. Raises `ModelError` where they are no plain numbers."""
        if self.dtype not in FLOATS:
            raise ModelError(
                f"{self.file}: {self.name} holds {self.word} numbers, not floating point"
            )
        return tensor_from(self.read_bytes(), FLOATS[self.dtype], self.shape)

    def read_bytes(self) -> bytearray:
        with self.file.open("rb") as file:
            file.seek(self.start)
            return bytearray(file.read(self.stop - self.start))


@dataclass(frozen=True)
class Stored:
    """The tensors of the weight files that transformers loads from a folder."""

    folder: Path
    files: tuple[Path, ...]
    index: Path | None
    tensors: Mapping[str, StoredTensor]

    @property
    def safe(self) -> bool:
        """Whether these are safetensors, and no pickles."""
        return all(file.suffix == ".safetensors" for file in self.files)

    def find(self, parameter: str, values: Tensor | None = None) -> StoredTensor | None:
        """The tensor that a model's parameter came from: the one with most of its name that holds
        the same numbers.

        Names differ by what stands before them (`transformer.h.0…`, `h.0…`), so the end of the name
        leads, and the numbers decide: `values` are the parameter's own, in the dtype in which the
        model holds them. None where no tensor has them.
        """
        shape = None if values is None else tuple(values.shape)
        likely = [
            (common_end(name, parameter), name)
            for name, t in self.tensors.items()
            if shape in (None, t.shape)
        ]
        for length, name in sorted(likely, key=lambda each: (-each[0], each[1])):
            if length == 0:
                break
            if values is None or self._holds(self.tensors[name], values):
                return self.tensors[name]
        return None

    def _holds(self, tensor: StoredTensor, values: Tensor) -> bool:
        return tensor.dtype in FLOATS and torch.equal(
            tensor.read().to(values.dtype), values.detach().cpu()
        )


def common_end(name: str, other: str) -> int:
    """How many words two dotted names have in common at their ends."""
    pairs = zip(reversed(name.split(".")), reversed(other.split(".")), strict=False)
    return next(
        (i for i, (a, b) in enumerate(pairs) if a != b), min(name.count("."), other.count(".")) + 1
    )


def same_parameter(name: str, parameter: str) -> bool:
    """Whether a stored name is a parameter's, but for what stands before one of the two."""
    return name == parameter or name.endswith(f".{parameter}") or parameter.endswith(f".{name}")


def tensor_from(data: bytes | bytearray, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A tensor of such bytes, row by row."""
    if not math.prod(shape):
        return torch.zeros(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def bytes_of(tensor: Tensor) -> bytes:
    """The bytes of a tensor, row by row, as a file holds them."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's header, and where its data begin.
    Raises `ModelError` where it is none.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > HEADER_LIMIT:
                raise ValueError("its header is too long")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is no table")
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not a whole safetensors file ({error})") from None
    return header, 8 + length


def stored(folder: Path, *, pickle: bool = False) -> Stored | None:
    """The stored tensors of a folder; None where there is nothing that transformers would load.
    Raises `ModelError` for broken files.
    """
    for single, listed in (SAFE, *([PICKLED] if pickle else [])):
        index = None if (folder / single).is_file() else folder / listed
        if index is not None and not index.is_file():
            continue
        files = [folder / single] if index is None else _shards(index)
        read = _pickled if single == PICKLED[0] else tensors_in
        return Stored(
            folder, tuple(files), index, {t.name: t for file in files for t in read(file)}
        )
    return None


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        return [index.parent / name for name in names]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index}: no index of shards ({type(error).__name__}: {error})") from None


def tensors_in(path: Path) -> Iterator[StoredTensor]:
    """The tensors of a safetensors file. Raises `ModelError`."""
    header, begin = read_header(path)
    size = path.stat().st_size
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            start, stop = (begin + int(offset) for offset in entry["data_offsets"])
            tensor = StoredTensor(
                name, path, str(entry["dtype"]), tuple(map(int, entry["shape"])), start, stop
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(
                f"{path}: the entry of {name!r} is broken ({type(error).__name__}: {error})"
            ) from None
        if not begin <= start <= stop <= size:
            raise ModelError(f"{path}: not a whole safetensors file ({name!r} lies outside it)")
        yield tensor


def _pickled(path: Path) -> Iterator[StoredTensor]:
    codes = {dtype: code for code, dtype in FLOATS.items()}
    state = torch.load(path, map_location="meta", weights_only=True)
    for name, tensor in state.items() if isinstance(state, dict) else ():
        if isinstance(tensor, Tensor):
            word = str(tensor.dtype).removeprefix("torch.")
            known = {word: code for code, word in WORDS.items()}
            yield StoredTensor(
                str(name), path, codes.get(tensor.dtype, known.get(word, word)), tuple(tensor.shape)
            )
