"""The way back: what an edited folder keeps of its base, in `loci-undo.safetensors` and in the
folder `loci-undo.files`.

    original/NAME   a stored tensor as it was: dtype, shape and bits
    metadata.patch  id of the patch that is on the model
    metadata.loci   JSON: schema, base (fingerprint), files (SHA-256 of every file of the base),
                    kept, written

Older files hold `W_down.3` and the like, [out, in], and `metadata.patch` alone.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from annotated_types import Predicate
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from typing_extensions import TypedDict

from loci.errors import PatchError
from loci.patches.patch import UNDO, Patch
from loci.patches.reader import FINGERPRINT, read_tensors
from loci.validate import named, parse_json, typed

SCHEMA = "loci.undo/1"
ORIGINAL = "original/"
SHA256 = 64


def _inside(text: str) -> bool:
    path = PurePosixPath(text)
    return (
        bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\0" not in text
    )


Name = Annotated[str, Predicate(_inside)]


class UndoHeader(TypedDict):
    """The header of an undo file: the base as a whole."""

    schema: str
    base: Annotated[str, Predicate(lambda text: FINGERPRINT.fullmatch(text) is not None)]
    files: dict[Name, Annotated[str, Predicate(lambda text: len(text) == SHA256)]]
    kept: list[Name]
    written: list[Name]


@dataclass(frozen=True)
class Undo:
    """An edited folder's memory of its base."""

    patch: str
    originals: Mapping[str, Tensor]
    """By the names of stored tensors; in older files by a patch's names."""
    header: UndoHeader | None
    """None in older files."""


def write_undo(
    folder: Path,
    patch: Patch,
    originals: Mapping[str, Tensor],
    files: Mapping[str, str],
    kept: Iterable[str],
    written: Iterable[str],
) -> None:
    """Write the undo data of a patch into a folder."""
    header: UndoHeader = {
        "schema": SCHEMA,
        "base": patch.base,
        "files": dict(files),
        "kept": sorted(kept),
        "written": sorted(written),
    }
    tensors = {f"{ORIGINAL}{name}": tensor.contiguous() for name, tensor in originals.items()}
    (folder / UNDO).write_bytes(
        save(tensors, metadata={"patch": patch.id, "loci": json.dumps(header, sort_keys=True)})
    )


def read_undo(folder: Path) -> Undo | None:
    """The undo data of a folder; None where there are none. Raises `PatchError` where they are
    broken.
    """
    path = folder / UNDO
    if not path.exists():
        return None
    tensors, undo_header = read_tensors(path, "undo")
    with safe_open(path, framework="pt") as file:
        patch = (file.metadata() or {}).get("patch", "")
    if undo_header is None:
        return Undo(patch, tensors, None)
    where = named(path)
    document = parse_json(undo_header, f"{where}: header", PatchError)
    header = typed(UndoHeader, document, f"{where}: header", PatchError)
    if header["schema"] != SCHEMA:
        raise PatchError(
            f"{where}: undo data of schema {header['schema']!r}; this version reads {SCHEMA!r}"
        )
    strange = [name for name in tensors if not name.startswith(ORIGINAL)]
    if strange:
        raise PatchError(f"{where}: {strange[0]!r} is no part of undo data")
    return Undo(
        patch, {name.removeprefix(ORIGINAL): tensor for name, tensor in tensors.items()}, header
    )
