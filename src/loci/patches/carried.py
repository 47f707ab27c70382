"""The files of a checkpoint's folder that go along into an edited one: every file, byte for byte.

Weights of the base in other forms (`pytorch_model.bin` beside safetensors, GGUF, Mistral's
consolidated files) would be taken for the edited model's by whoever loads those, so they are kept
apart, in `loci-undo.files`, from which a revert brings them back. Left out are hidden folders
(version control, caches) and folders that are models of their own.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from loci.asides import PREFIX
from loci.errors import PatchError
from loci.model.stored import Stored
from loci.patches.patch import UNDO

KEPT = "loci-undo.files"
"""The folder of an edited folder that keeps files of the base which the edited model must not have.
"""
CHUNK = 2**22
WEIGHTS = re.compile(
    r"((pytorch_model|tf_model|flax_model|rust_model|consolidated|model)[^/]*\.(bin|pt|pth|ckpt|h5|msgpack|ot|onnx|safetensors)(\.index\.json)?"
    r"|[^/]*\.(gguf|onnx|onnx_data))"
)


@dataclass(frozen=True)
class Files:
    """The files of a base: by their paths in its folder, where they lie."""

    carried: Mapping[str, Path]
    kept: Mapping[str, Path]
    """Those that must not lie where they lay."""
    left_out: tuple[str, ...]


def files_of(folder: Path, loaded: Iterable[Path], avoid: Path, *, strict: bool = True) -> Files:
    """A folder's files. `loaded` are those that the weights are read from, `avoid` is where the new
    folder will be.

    Raises `PatchError` for what is no file (a broken link, a pipe), or with `strict=False` passes
    it over.
    """
    own = {str(path.relative_to(folder)) for path in loaded}
    carried: dict[str, Path] = {}
    kept: dict[str, Path] = {}
    left_out = []
    seen = {folder.resolve(), avoid.resolve()}
    for place, folders, names in os.walk(folder, followlinks=True):
        here = Path(place)
        for name in [*folders]:
            path = here / name
            if (
                path.resolve() in seen
                or name.startswith(".")
                or name == "__pycache__"
                or _is_model(path)
            ):
                folders.remove(name)
                if path.resolve() != avoid.resolve() and not name.startswith(PREFIX):
                    left_out.append(f"{path.relative_to(folder)}/")
            seen.add(path.resolve())
        for name in names:
            path = here / name
            relative = path.relative_to(folder).as_posix()
            if not path.is_file() and not strict:
                continue
            if not path.is_file():
                raise PatchError(
                    f"{path}: no regular file and no link to one, so it cannot be carried over:"
                    " take it away first"
                )
            stale = relative not in own and WEIGHTS.fullmatch(name) is not None
            (kept if stale or relative.split("/")[0] in (UNDO, KEPT) else carried)[relative] = path
    return Files(carried, kept, tuple(sorted(left_out)))


def _is_model(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(
        WEIGHTS.fullmatch(entry.name) for entry in folder.iterdir()
    )


def copy_hashed(source: Path, target: Path) -> str:
    """Copy a file's bytes to a new place; the SHA-256 of what was read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while chunk := read.read(CHUNK):
            digest.update(chunk)
            written.write(chunk)
    return digest.hexdigest()


def file_hash(path: Path, instead: Mapping[tuple[int, int], bytes] | None = None) -> str:
    """SHA-256 of a file, with other bytes than its own at some places [start, stop)."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for (start, stop), data in sorted((instead or {}).items()):
            _feed(file, digest, start - file.tell())
            digest.update(data)
            file.seek(stop)
        _feed(file, digest, None)
    return digest.hexdigest()


def _feed(file: BinaryIO, digest: "hashlib._Hash", count: int | None) -> None:
    while count is None or count > 0:
        chunk = file.read(CHUNK if count is None else min(CHUNK, count))
        if not chunk:
            return
        digest.update(chunk)
        count = None if count is None else count - len(chunk)


def overwrite(path: Path, start: int, data: bytes) -> None:
    """Put bytes in the place of others in a file."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def weights_in(checkpoint: Stored) -> list[Path]:
    """The files that a checkpoint's weights are read from, and their index."""
    return [*checkpoint.files, *([checkpoint.index] if checkpoint.index else [])]
