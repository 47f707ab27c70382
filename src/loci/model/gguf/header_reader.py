"""The bytes of a GGUF header, read in order and within their limits."""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from loci.errors import ModelError
from loci.model.gguf.header import (
    ALIGNMENT,
    ARRAY,
    BLOCKS,
    LARGEST_RANK,
    MAGIC,
    SCALARS,
    STRING,
    VERSIONS,
    Header,
    TensorEntry,
)


class _Row(NamedTuple):
    """A row of the tensor table as it stands there."""

    name: str
    shape: tuple[int, ...]
    stated: int
    kind: int
    offset: int


class _Reader:
    """A cursor over the mapped file."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def header(self) -> Header:
        if self.take(4) != MAGIC:
            raise ModelError(f"{self.path}: is not a GGUF file (its first bytes are not 'GGUF')")
        version = int(self.number("<I"))
        if version not in VERSIONS:
            raise ModelError(
                f"{self.path}: GGUF version {version} cannot be read, only 2 and 3 little-endian"
            )
        n_tensors, n_keys = int(self.number("<Q")), int(self.number("<Q"))
        self.bounded(n_keys, 12, "metadata keys")
        self.bounded(n_tensors, 24, "tensors")
        metadata = {}
        for _ in range(n_keys):
            key = self.text()
            metadata[key] = self.value(int(self.number("<I")))
        rows = [self.row() for _ in range(n_tensors)]
        alignment = self.alignment(metadata)
        base = -(-self.at // alignment) * alignment
        return Header(
            self.path, version, metadata, self.placed(rows, base), len(self.data), base, alignment
        )

    def row(self) -> "_Row":
        """Name, shape as in PyTorch, ggml type, offset behind the header."""
        name, rank = self.text(), int(self.number("<I"))
        if not 0 < rank <= LARGEST_RANK:
            raise ModelError(
                f"{self.path}: tensor {name!r} has {rank} dimensions, expected 1 to {LARGEST_RANK}"
            )
        shape = tuple(int(self.number("<Q")) for _ in range(rank))
        return _Row(name, shape[::-1], self.at, int(self.number("<I")), int(self.number("<Q")))

    def alignment(self, metadata: dict[str, Any]) -> int:
        alignment = metadata.get("general.alignment", ALIGNMENT)
        if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
            raise ModelError(
                f"{self.path}: general.alignment is {alignment!r}, expected a small positive number"
            )
        return alignment

    def placed(self, rows: list["_Row"], base: int) -> tuple[TensorEntry, ...]:
        """The tensor table with positions in the file, each checked to lie within it."""
        entries = []
        for name, shape, stated, kind, offset in rows:
            if kind not in BLOCKS:
                raise ModelError(
                    f"{self.path}: tensor {name!r} has the unknown quantisation type {kind}"
                )
            label, values, size = BLOCKS[kind]
            if shape[-1] % values:
                raise ModelError(
                    f"{self.path}: tensor {name!r} of type {label} has rows of {shape[-1]}, not of"
                    " whole blocks"
                )
            length = prod(shape) // values * size
            if base + offset + length > len(self.data):
                raise ModelError(
                    f"{self.path}: is truncated: tensor {name!r} ends at byte"
                    f" {base + offset + length:,}, the file at {len(self.data):,}; download it"
                    " again"
                )
            entries.append(TensorEntry(name, shape, label, base + offset, length, stated))
        return tuple(entries)

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            of, count = int(self.number("<I")), int(self.number("<Q"))
            return self.array(of, count)
        if kind not in SCALARS:
            raise ModelError(
                f"{self.path}: metadata of the unknown type {kind} at byte {self.at:,}"
            )
        return self.number(SCALARS[kind])

    def array(self, of: int, count: int) -> tuple[Any, ...]:
        if of == STRING:
            self.bounded(count, 8, "strings")
            return tuple(self.text() for _ in range(count))
        if of not in SCALARS:
            raise ModelError(f"{self.path}: an array of the unknown type {of} at byte {self.at:,}")
        code = SCALARS[of].lstrip("<")
        self.bounded(count, struct.calcsize(f"<{code}"), "values")
        return struct.unpack(f"<{count}{code}", self.take(count * struct.calcsize(f"<{code}")))

    def text(self) -> str:
        length = int(self.number("<Q"))
        self.bounded(length, 1, "characters")
        return self.take(length).decode("utf-8", "replace")

    def number(self, code: str) -> int | float | bool:
        (value,) = struct.unpack(code, self.take(struct.calcsize(code)))
        plain: int | float | bool = value
        return plain

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise ModelError(
                f"{self.path}: is truncated: the header goes on behind byte {len(self.data):,};"
                " download it again"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def bounded(self, count: int, least: int, what: str) -> None:
        """Refuse a length that the rest of the file cannot hold."""
        if count * least > len(self.data) - self.at:
            raise ModelError(
                f"{self.path}: is truncated or damaged: it announces {count:,} {what} at byte"
                f" {self.at:,}"
            )


def read_header(path: str | Path) -> Header:
    """Read and check the header. Raises `ModelError` for what is no whole GGUF file.

    Cost: one pass over the metadata; a vocabulary of 262,144 words takes about half a second.
    """
    path = Path(path)
    try:
        with _mapped(path) as data:
            return _Reader(path, data).header()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as GGUF ({error})") from None


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    if path.stat().st_size < len(MAGIC):
        raise ModelError(f"{path}: is not a GGUF file (it is empty or too short)")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data
