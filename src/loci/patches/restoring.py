"""A patch taken off a folder: by its undo data, file by file; or, of older folders and without such
data, by sums and the fingerprint.
"""

from pathlib import Path

import torch

from loci.errors import PatchError
from loci.files import write_aside
from loci.model import Model, Weights
from loci.model.stored import FLOATS, Stored, bytes_of, stored
from loci.patches.carried import (
    KEPT,
    WEIGHTS,
    copy_hashed,
    file_hash,
    files_of,
    overwrite,
    weights_in,
)
from loci.patches.factors import check_shape, rounded
from loci.patches.model_files import save_model
from loci.patches.neurons import narrowed
from loci.patches.patch import UNDO, Patch, short
from loci.patches.places import patchable, place_of
from loci.patches.readback import reopened
from loci.patches.undo import Undo, UndoHeader


def put_back(patch: Patch, undo: Undo, header: UndoHeader, place: Path, folder: Path) -> list[str]:
    """Write the base to a new folder, by the undo data. The names of files that are not the base's
    any more, weights apart.

    Raises `PatchError` where it was another base, and where the weights do not come out bit for
    bit.
    """
    if header["base"] != patch.base:
        raise _not_the_base(place, header["base"], patch, f" (it has the patch {undo.patch})")
    if undo.patch != patch.id:
        raise PatchError(
            f"{str(place)!r} has the patch {undo.patch}, not {patch.id}: name the file of that one"
        )
    files = _sources(header, place, folder)
    checkpoint = stored(place)
    inside = _checked_places(undo, checkpoint, place)
    with write_aside(folder, folder=True) as aside:
        aside.mkdir()
        for name, path in files.items():
            copy_hashed(path, aside / name)
            for start, data in inside.get(path, ()):
                overwrite(aside / name, start, data)
        changed = [name for name, sha in header["files"].items() if sha != file_hash(aside / name)]
        weights = {
            path.relative_to(place).as_posix()
            for path in (weights_in(checkpoint) if checkpoint else [])
        }
        wrong = [name for name in changed if name in weights or WEIGHTS.fullmatch(Path(name).name)]
        if wrong:
            raise PatchError(
                f"taking the patch off {str(place)!r} does not give its base: {wrong[0]} was"
                " changed since, or is not of the model that this patch was applied to"
            )
    return changed


def _sources(header: UndoHeader, place: Path, folder: Path) -> dict[str, Path]:
    """The base's files by name, with where they lie, and what was added to the folder since. Raises
    `PatchError` for missing weights.
    """
    kept = {name: place / KEPT / name for name in header["kept"]}
    mine = dict(files_of(place, place.glob("*.safetensors*"), folder).carried)
    for name in header["written"]:
        mine.pop(name, None)
    missing = [
        name
        for name in header["files"]
        if name not in mine and not kept.get(name, Path()).is_file()
    ]
    if missing:
        raise PatchError(
            f"{str(place)!r} has lost {missing[0]}, which the base has: it cannot be restored"
        )
    return mine | kept


def _checked_places(
    undo: Undo, checkpoint: Stored | None, place: Path
) -> dict[Path, list[tuple[int, bytes]]]:
    """Where the original bytes go, by file. Raises `PatchError` where the folder has no such
    tensors.
    """
    inside: dict[Path, list[tuple[int, bytes]]] = {}
    for name, original in undo.originals.items():
        tensor = checkpoint.tensors.get(name) if checkpoint else None
        if (
            tensor is None
            or FLOATS.get(tensor.dtype) != original.dtype
            or tensor.shape != tuple(original.shape)
        ):
            raise PatchError(
                f"{place / UNDO}: {name} does not fit the weights beside it: they are of another"
                " model, or were saved again"
            )
        inside.setdefault(tensor.file, []).append((tensor.start, bytes_of(original)))
    return inside


def _not_the_base(place: Path, fingerprint: str, patch: Patch, more: str) -> PatchError:
    return PatchError(
        f"taking the patch off {str(place)!r} gives weights {short(fingerprint)}, its base has"
        f" {short(patch.base)}: not the model that this patch was applied to{more}"
    )


@torch.no_grad()
def taken_off(patch: Patch, edited: Weights, undo: Undo | None, place: Path, folder: Path) -> None:
    """Write the base to a new folder without a record of its files: original weights where they are
    known, else sums.

    Raises `PatchError` unless the result has the base's fingerprint.
    """
    more = "" if undo else f"; {UNDO} is missing, and rounding hides the original bits"
    if patch.neurons:
        _cut(patch, edited, undo, place, folder, more)
        return
    checkpoint = stored(place)
    if checkpoint is None:
        raise PatchError(
            f"{str(place)!r} is no folder with safetensors weights: there is nothing to take the"
            " patch off"
        )
    new = _weights_back(patch, edited, undo, checkpoint)
    with write_aside(folder, folder=True) as aside:
        aside.mkdir()
        for name, path in files_of(place, weights_in(checkpoint), folder).carried.items():
            copy_hashed(path, aside / name)
        for name, data in new.items():
            tensor = checkpoint.tensors[name]
            overwrite(aside / tensor.file.relative_to(place), tensor.start, data)
        result = reopened(aside, edited).fingerprint
        if result != patch.base:
            raise _not_the_base(place, result, patch, more)


def _weights_back(
    patch: Patch, edited: Weights, undo: Undo | None, checkpoint: Stored
) -> dict[str, bytes]:
    """New bytes of stored tensors: with original values in the places of named weights, or with the
    changes subtracted.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name in undo.originals if undo else patch.factors:
        if not patchable(name):
            raise PatchError(f"{checkpoint.folder / UNDO}: {name!r} is no weight of a patch")
        place = place_of(edited, name)
        home = checkpoint.find(place.parameter, edited.parameter(place.parameter))
        if home is None:
            raise PatchError(
                f"no tensor in {checkpoint.folder} holds the numbers of {place.parameter}: the"
                " folder was changed meanwhile"
            )
        whole = tensors.setdefault(home.name, home.read())
        rows = (whole.T if place.transposed else whole)[place.start : place.stop]
        if undo:
            if undo.originals[name].shape != rows.shape:
                raise PatchError(
                    f"{checkpoint.folder / UNDO}: {name} is"
                    f" {tuple(undo.originals[name].shape)}, and in the model {tuple(rows.shape)}"
                )
            rows.copy_(undo.originals[name])
        else:
            check_shape(name, rows.shape, patch.factors[name])
            rows.copy_(
                rounded(
                    rows.double() - patch.factors[name].delta,
                    rows.dtype,
                    f"{name} with the change taken off",
                )
            )
    return {name: bytes_of(tensor) for name, tensor in tensors.items()}


def _cut(
    patch: Patch, edited: Weights, undo: Undo | None, place: Path, folder: Path, more: str
) -> None:
    """The base without its added neurons, in a copy that transformers saves."""
    if not isinstance(edited, Model):
        raise PatchError(
            f"{str(place)!r} has added neurons and no record of its base: open it as a model, not"
            " as weights"
        )
    size = max(part.size for part in patch.neurons.values())
    cut = narrowed(edited, size, patch.base) if size < edited.d_mlp else edited
    for name, original in (undo.originals if undo else {}).items():
        cut.weight(name).copy_(original)
    if not undo:
        patch.add_to(cut, sign=-1)
    if cut.fingerprint != patch.base:
        raise _not_the_base(place, cut.fingerprint, patch, more)
    with write_aside(folder, folder=True) as aside:
        save_model(cut, aside)
