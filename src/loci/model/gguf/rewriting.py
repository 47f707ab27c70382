"""A GGUF file with other values of some tensors; everything else, metadata and padding too, byte
for byte.

    header:  as it was, but for type and offset in the rows of the tensor table, which are of fixed
             width
    data:    each tensor's bytes with the padding behind them, in the order of the file

A tensor may be stored as another type than it was, so what lies behind it moves. ggml expects the
data without holes: each tensor begins where the one before it ends, rounded up to the alignment.
"""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import ModelError
from loci.model.gguf.convert import tensor_values
from loci.model.gguf.families import family_of
from loci.model.gguf.header import BLOCKS, Header, TensorEntry

TYPES = {label: (kind, values) for kind, (label, values, _) in BLOCKS.items()}
WRITTEN = ("F32", "F16", "BF16", "Q8_0")
"""Types that values can be written as here."""
CHUNK = 1 << 24


class Replaced(NamedTuple):
    """A tensor's type, and its bytes with the padding behind them."""

    type: str
    data: bytes


def encoded(values: Float[Tensor, "out in"], kind: str, what: str) -> bytes:
    """Values as a GGUF type stores them, each rounded to the nearest that it has.

    `kind`: one of `WRITTEN`. Q8_0 keeps blocks of 32: a scale in float16, the largest magnitude
    divided by 127, and integers.
    Raises `ModelError` where the type cannot hold them; `what` begins the message.
    """
    import gguf

    exact = values.detach().cpu()
    if exact.shape[-1] % TYPES[kind][1]:
        raise ModelError(
            f"{what}: rows of {exact.shape[-1]} are not whole blocks of {kind}: write F16 or BF16"
        )
    if kind == "Q8_0":
        data: bytes = gguf.quantize(exact.float().numpy(), gguf.GGMLQuantizationType.Q8_0).tobytes()
        read = torch.from_numpy(
            np.frombuffer(data, np.uint8).reshape(-1, 34)[:, :2].copy().view(np.float16)
        )
        finite = bool(read.isfinite().all())
    else:
        stored = exact.to(
            {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[kind]
        )
        finite = bool(stored.isfinite().all())
        data = stored.contiguous().view(torch.uint8).numpy().tobytes()
    if not finite:
        raise ModelError(
            f"{what} holds {float(exact.abs().max()):.3g}, more than {kind} can: write BF16 or F32"
        )
    return data


def padded(data: bytes, header: Header) -> bytes:
    """Bytes up to the alignment."""
    return data + bytes(-len(data) % header.alignment)


def tensor_of(header: Header, parameter: str) -> TensorEntry:
    """The tensor that transformers calls `parameter`. Raises `ModelError` where the file has
    none.
    """
    family = family_of(header)
    for tensor in header.tensors:
        if family.name(tensor.name) == parameter:
            return tensor
    raise ModelError(f"{header.path}: has no tensor for {parameter}")


def matrix(tensor: TensorEntry, header: Header) -> Float[Tensor, "out in"]:
    """A tensor's values, dequantised to float32."""
    return torch.from_numpy(tensor_values(tensor, header).copy())


def with_padding(tensor: TensorEntry, header: Header) -> bytes:
    """A tensor's bytes and those behind them, up to the next tensor or the end of the file."""
    stop = min(
        (other.start for other in header.tensors if other.start > tensor.start), default=header.size
    )
    with header.path.open("rb") as file:
        file.seek(tensor.start)
        return file.read(stop - tensor.start)


def pieces(header: Header, replaced: Mapping[str, Replaced]) -> Iterator[bytes]:
    """The file's bytes with other values of some tensors, in pieces. Cost:
    one reading of the file.
    """
    order = sorted(header.tensors, key=lambda tensor: tensor.start)
    stops = [*(tensor.start for tensor in order[1:]), header.size]
    offset, rows = order[0].start - header.data if order else 0, dict[int, bytes]()
    for tensor, stop in zip(order, stops, strict=True):
        new = replaced.get(tensor.name)
        kind = new.type if new else tensor.type
        rows[tensor.stated] = struct.pack("<IQ", TYPES[kind][0], offset)
        offset += len(new.data) if new else stop - tensor.start
    with header.path.open("rb") as file:
        yield from _head(file.read(order[0].start if order else header.size), rows)
        for tensor, stop in zip(order, stops, strict=True):
            new = replaced.get(tensor.name)
            if new:
                yield new.data
                continue
            file.seek(tensor.start)
            left = stop - tensor.start
            while left:
                block = file.read(min(CHUNK, left))
                if not block:
                    raise ModelError(f"{header.path}: ends early: it was changed meanwhile")
                left -= len(block)
                yield block


def _head(head: bytes, rows: Mapping[int, bytes]) -> Iterator[bytes]:
    changed = bytearray(head)
    for start, row in rows.items():
        changed[start : start + len(row)] = row
    yield bytes(changed)
