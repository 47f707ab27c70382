"""A patch taken off a GGUF file again: the original bytes from the undo file beside it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from annotated_types import Predicate
from typing_extensions import TypedDict

from loci.errors import PatchError
from loci.files import write_aside
from loci.model.gguf import read_header
from loci.model.gguf.rewriting import (
    TYPES,
    Replaced,
    pieces,
)
from loci.patches.patch import Patch, short
from loci.patches.reader import FINGERPRINT, read_tensors
from loci.patches.undo import ORIGINAL, SHA256
from loci.validate import named, parse_json, typed

Sha = Annotated[str, Predicate(lambda text: len(text) == SHA256)]


SCHEMA = "loci.gguf_undo/1"
SUFFIX = ".loci-undo.safetensors"
"""The suffix of the undo file, behind the edited file's name."""


class GgufUndo(TypedDict):
    """The header of an undo file, beside the original bytes."""

    schema: str
    base: Annotated[str, Predicate(lambda text: FINGERPRINT.fullmatch(text) is not None)]
    base_sha256: Sha
    edited_sha256: Sha
    types: dict[str, str]
    """ggml type of each edited tensor, as it was."""


def revert_gguf(patch: Patch, edited: str | Path, path: str | Path) -> None:
    """Take a patch off an edited GGUF file: the base, bit for bit, as a new file.

    Raises `PatchError` where the undo file is missing or of another patch, and where the edited
    file was changed since; nothing is written then. Cost: two readings of the file and one writing.
    """
    edited, path = Path(edited), Path(path)
    undo_header, patch_id, originals = _read_undo(edited)
    if patch_id != patch.id:
        raise PatchError(
            f"{named(edited)} has the patch {patch_id}, not {patch.id}: name the file of that one"
        )
    if undo_header["base"] != patch.base:
        raise PatchError(
            f"{undo_of(edited)}: undo data for the base {short(undo_header['base'])}; the patch has"
            f" {short(patch.base)}"
        )
    if path.exists() and path.samefile(edited):
        raise PatchError(
            f"{named(path)} is the edited file itself, which stays as it is: name another file"
        )
    header = read_header(edited)
    if file_hash(pieces(header, {})) != undo_header["edited_sha256"]:
        raise PatchError(
            f"{named(edited)} was changed since the patch was applied: it cannot be taken off bit"
            " for bit"
        )
    replaced = {
        name: Replaced(undo_header["types"][name], data) for name, data in originals.items()
    }
    with write_aside(path) as aside:
        if write_file(aside, pieces(header, replaced)) != undo_header["base_sha256"]:
            raise PatchError(
                f"taking the patch off {named(edited)} does not give its base: {undo_of(edited)} is"
                " damaged"
            )


def _read_undo(edited: Path) -> tuple[GgufUndo, str, dict[str, bytes]]:
    from safetensors import safe_open

    place = undo_of(edited)
    if not place.is_file():
        raise PatchError(
            f"{named(edited)}: there is no {place.name} beside it, which keeps the original bytes:"
            " nothing can be taken off"
        )
    tensors, header = read_tensors(place, "undo file", raw=True)
    undo_header = typed(
        GgufUndo,
        parse_json(header or "", f"{named(place)}: header", PatchError),
        f"{named(place)}: header",
        PatchError,
    )
    if undo_header["schema"] != SCHEMA:
        raise PatchError(
            f"{named(place)}: undo data of schema {undo_header['schema']!r}; this version"
            f" reads {SCHEMA!r}"
        )
    originals = {
        name.removeprefix(ORIGINAL): tensor.numpy().tobytes() for name, tensor in tensors.items()
    }
    if originals.keys() != undo_header["types"].keys() or not set(
        undo_header["types"].values()
    ) <= set(TYPES):
        raise PatchError(f"{named(place)}: its header and its tensors do not fit")
    with safe_open(place, framework="pt") as file:
        return undo_header, (file.metadata() or {}).get("patch", ""), originals


def file_hash(blocks: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def undo_of(path: str | Path) -> Path:
    """Where the undo file of an edited GGUF file lies."""
    path = Path(path)
    return path.with_name(f"{path.name}{SUFFIX}")


def write_file(path: Path, blocks: Iterable[bytes]) -> str:
    """Write the bytes; their SHA-256."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for block in blocks:
            digest.update(block)
            file.write(block)
    return digest.hexdigest()
