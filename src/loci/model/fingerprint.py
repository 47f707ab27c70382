"""A name for the weights themselves: SHA-256 over every parameter's name, shape and values.

Values are hashed as float32, so that a checkpoint in half precision and the same one widened on
loading agree. Tied parameters count once. Cost: one pass over the weights, about a second a
gigabyte.
"""

import hashlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor


def fingerprint(names: Iterable[str], read: Callable[[str], Tensor]) -> str:
    """`sha256:…` of named parameters, read one at a time, in whatever order they are named."""
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = read(name)
        digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor_bytes(tensor))
    return f"sha256:{digest.hexdigest()}"


def tensor_bytes(tensor: Tensor) -> bytes:
    """The values as float32 (wider ones as they are), row by row."""
    wide = tensor.detach().cpu()
    wide = wide if wide.dtype == torch.float64 else wide.float()
    return wide.contiguous().numpy().tobytes()
