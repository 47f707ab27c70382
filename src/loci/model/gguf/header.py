"""The header of a GGUF file: metadata and tensor table, read without loading a weight.

    magic "GGUF" · version u32 · tensors u64 · keys u64
    keys × (name, type, value)  ·  tensors × (name, rank u32, shape u64 …, type u32, offset u64)
    padding to `general.alignment`  ·  tensor data

Little-endian, versions 2 and 3. Every length is checked against the file's size before it is
believed, so a truncated or damaged file ends in one line and not in a long read.
Source: the GGUF specification of ggml (docs/gguf.md).
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {
    0: "B",
    1: "b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
"""Struct codes of the value types; 8 is a string and 9 an array."""
STRING, ARRAY = 8, 9
ALIGNMENT = 32
LARGEST_RANK = 4

# ggml type: (name, values in a block, bytes of a block)
BLOCKS: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}


class TensorEntry(NamedTuple):
    """One row of the tensor table."""

    name: str
    shape: tuple[int, ...]
    """As in PyTorch, rows first; the file stores the reverse."""
    type: str
    """The ggml type's name: "F16", "Q4_K" …"""
    start: int
    """Byte of the file at which its data begin."""
    bytes: int
    stated: int
    """Byte of the file at which its row states type (u32) and offset (u64)."""

    @property
    def numel(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Header:
    """The header of a GGUF file. Long arrays (the vocabulary) are kept as tuples."""

    path: Path
    version: int
    metadata: dict[str, Any]
    tensors: tuple[TensorEntry, ...]
    size: int
    """Bytes of the file."""
    data: int
    """Byte of the file at which the tensors' data begin; offsets count from here."""
    alignment: int

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    @property
    def kind(self) -> str:
        """ "model", "adapter", "mmproj" …"""
        return str(self.metadata.get("general.type", "model"))

    @property
    def parameters(self) -> int:
        return sum(tensor.numel for tensor in self.tensors)

    @property
    def types(self) -> dict[str, int]:
        """How many parameters each ggml type stores, most first."""
        counts: dict[str, int] = {}
        for tensor in self.tensors:
            counts[tensor.type] = counts.get(tensor.type, 0) + tensor.numel
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    @property
    def bits(self) -> float:
        """Bits per weight."""
        return 8 * sum(tensor.bytes for tensor in self.tensors) / max(self.parameters, 1)

    def of(self, key: str, default: Any = None) -> Any:
        """A metadata value under the architecture's own prefix: `of("block_count")`."""
        return self.metadata.get(f"{self.architecture}.{key}", default)

    def describe(self) -> str:
        """One line: "gemma3, 268 M parameters, Q4_K/Q5_0/F32, 7.1 bits per weight"."""
        types = "/".join(list(self.types)[:3])
        millions = self.parameters / 1e6
        return (
            f"{self.architecture}, {millions:,.0f} M parameters, {types}, {self.bits:.1f} bits per"
            " weight"
        )
