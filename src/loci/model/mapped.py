"""Weights that stay in their files: mapped into memory, and let go as soon as they have been used.

    model = loci.open("./llama", dtype="auto", device_map="disk")

Each parameter is a view of its safetensors file, so a read brings in its pages and nothing else.
Behind every block's forward pass, and behind its backward pass, its pages leave memory again: a
model takes the memory of one block, of the unembedding, and of what was written to it. What is
written is kept in memory and not in the file (the mapping is private), so that every verb works as
on any model. Weights in another precision than the file's are written in it once, to a folder of
their own, tensor by tensor.

Pages are let go by `madvise` on Linux; elsewhere the system does it when memory is short.
"""

import ctypes
import mmap
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from loci.model.stored import FLOATS, StoredTensor, bytes_of, tensors_in

PAGE = mmap.PAGESIZE
DONT_NEED = 4
"""MADV_DONTNEED: the pages go; what was only read is read again from the file."""
SWAPPED, PRESENT, OF_A_FILE = 62, 63, 61
"""Bits of an entry of /proc/self/pagemap."""
HELD = 2**26
"""Bytes of weights by name (`W_down(3)`) that may stay in memory, beside the last."""


class Mapping:
    """Who lets go of a model's mapped weights."""

    def __init__(self, hf: nn.Module, blocks: Sequence[nn.Module]) -> None:
        self._handed: deque[Tensor] = deque()
        inside = {module for block in blocks for module in block.modules()}
        rest = [module for module in hf.modules() if module not in inside and module._parameters]
        above = [[block] for block in blocks[1:]] + [rest]
        self._hooks = {
            block: _Leaving(block, later)
            for block, later in zip(blocks, above, strict=bool(blocks))
        } | {module: _Leaving(module, []) for module in rest}
        for module, hook in self._hooks.items():
            module.register_forward_hook(hook, always_call=True)

    @contextmanager
    def holding(self, block: nn.Module) -> Iterator[None]:
        """Inside the block, this module's weights stay in memory between its runs."""
        hook = self._hooks[block]
        hook.held = True
        try:
            yield
        finally:
            hook.held = False
            hook.let_go()

    def handed(self, tensor: Tensor) -> None:
        """Note that a weight was asked for by name; let go of those from before it."""
        self._handed.append(tensor)
        while len(self._handed) > 1 and sum(each.nbytes for each in self._handed) > HELD:
            let_go(self._handed.popleft())


class _Leaving:
    """A hook behind a module: what it has used is let go, and behind the backward pass of those
    above it, what they have used again.
    """

    def __init__(self, own: nn.Module, above: Sequence[nn.Module]) -> None:
        self.held = False
        self.own = list(own.parameters())
        self.above = [parameter for module in above for parameter in module.parameters()]

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        if not self.held:
            self.let_go()
        first = output[0] if isinstance(output, tuple) and output else output
        if self.above and isinstance(first, Tensor) and first.requires_grad:
            first.register_hook(self._back)

    def let_go(self) -> None:
        for parameter in self.own:
            let_go(parameter)

    def _back(self, gradient: Tensor) -> None:
        for parameter in self.above:
            let_go(parameter)


def let_go(tensor: Tensor) -> None:
    """Drop the pages of a mapped tensor from memory, but those that were written to."""
    if not sys.platform.startswith("linux") or tensor.is_meta:
        return
    begin = tensor.data_ptr()
    first, last = -(-begin // PAGE), (begin + tensor.numel() * tensor.element_size()) // PAGE
    if not tensor.is_contiguous() or last <= first:
        return
    entries = np.fromfile("/proc/self/pagemap", np.uint64, last - first, offset=8 * first)
    written = _bit(entries, SWAPPED) | (_bit(entries, PRESENT) & ~_bit(entries, OF_A_FILE))
    edges = np.flatnonzero(np.diff(np.concatenate([[True], written, [True]])))
    for start, stop in edges.reshape(-1, 2).tolist():
        _libc().madvise(
            ctypes.c_void_p((first + start) * PAGE),
            ctypes.c_size_t((stop - start) * PAGE),
            DONT_NEED,
        )


def _bit(entries: Any, number: int) -> Any:
    return (entries >> np.uint64(number) & np.uint64(1)).astype(bool)


@cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def map_weights(hf: nn.Module, aside: Path) -> None:
    """Put views of their files in the place of the parameters that accelerate would read from disk.

    Args: a module opened with all of its weights on disk; a folder for those that are stored in
    another precision than the module's. Cost: those are read, and written once.
    """
    from accelerate.hooks import remove_hook_from_submodules

    files = _Files(aside / "converted.bin")
    wanted = []
    for module in hf.modules():
        for leaf, parameter in module.named_parameters(recurse=False):
            if parameter.is_meta:
                hook: Any = module._hf_hook
                entry = hook.weights_map.dataset.index[hook.weights_map.prefix + leaf]
                wanted.append((module, leaf, files.place(entry, parameter.dtype)))
    remove_hook_from_submodules(hf)
    made: dict[StoredTensor, nn.Parameter] = {}
    for module, leaf, place in wanted:
        if place not in made:
            made[place] = nn.Parameter(files.view(place))
        module._parameters[leaf] = made[place]


class _Files:
    """Files of tensors, each mapped once."""

    def __init__(self, converted: Path) -> None:
        self._converted = converted
        self._known: dict[str, dict[str, StoredTensor]] = {}
        self._again: dict[tuple[StoredTensor, torch.dtype], StoredTensor] = {}
        self._mapped: dict[Path, Tensor] = {}

    def place(self, entry: dict[str, str], dtype: torch.dtype) -> StoredTensor:
        """Where a tensor lies in a dtype: in the checkpoint, or written anew."""
        file, name = entry["safetensors_file"], entry["weight_name"]
        if file not in self._known:
            self._known[file] = {tensor.name: tensor for tensor in tensors_in(Path(file))}
        tensor = self._known[file][name]
        if FLOATS.get(tensor.dtype) == dtype and tensor.start % dtype.itemsize == 0:
            return tensor
        key = (tensor, dtype)
        if key not in self._again:
            self._again[key] = self._write(tensor, dtype)
        return self._again[key]

    def _write(self, tensor: StoredTensor, dtype: torch.dtype) -> StoredTensor:
        code = next(code for code, known in FLOATS.items() if known == dtype)
        with self._converted.open("ab") as file:
            start = file.tell()
            file.write(bytes_of(tensor.read().to(dtype)))
            stop = file.tell()
            file.write(bytes(-stop % PAGE))
        return StoredTensor(tensor.name, self._converted, code, tensor.shape, start, stop)

    def view(self, tensor: StoredTensor) -> Tensor:
        if tensor.file not in self._mapped:
            size = tensor.file.stat().st_size
            self._mapped[tensor.file] = torch.from_file(
                str(tensor.file), shared=False, size=size, dtype=torch.uint8
            )
        flat = self._mapped[tensor.file][tensor.start : tensor.stop]
        return flat.view(FLOATS[tensor.dtype]).view(tensor.shape)
