"""Patches on disk: an edited checkpoint that plain transformers loads, and the way back to the
base, bit for bit.

The edited folder is the base's, file by file; in copies of its weight files the bytes of the
tensors that the patch touches are replaced, in the dtype, the form and the place that they had. So
names, shards, dtypes, tensors that no model class knows, tokenizer, templates, code and settings
stay. The original bits, and a hash of every file of the base, are kept for the way back (`undo`).
What was written is read back (`readback`) before the folder gets its name.

A model that has no folder (made in memory, or changed there since it was opened) is saved by
transformers first; pickled weights are written as safetensors.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from loci.files import write_aside
from loci.model import Model, Weights
from loci.model.stored import Stored, bytes_of, stored
from loci.patches.carried import (
    KEPT,
    Files,
    copy_hashed,
    file_hash,
    files_of,
    overwrite,
    weights_in,
)
from loci.patches.model_files import save_model, write_unpickled
from loci.patches.patch import UNDO, Patch
from loci.patches.readback import check_bytes, check_model, edited_logits, same_weights
from loci.patches.restoring import put_back, taken_off
from loci.patches.sums import Rewritten, sums
from loci.patches.undo import read_undo, write_undo
from loci.patches.wider import write_wider


@dataclass(frozen=True)
class Applied:
    """The folder that `apply_to_folder` wrote."""

    files: int
    """How many files of the base went along."""
    rounding: dict[str, float] = field(default_factory=dict)
    """By weight: ‖W' − (W + Δ)‖ / ‖Δ‖, what rounding to the stored dtype makes of the change."""
    kept: tuple[str, ...] = ()
    """The base's weights in other forms, and undo data of earlier patches: in `loci-undo.files`,
    for a revert.
    """
    left_out: tuple[str, ...] = ()
    """Folders that are not carried over."""
    unpickled: bool = False
    """Whether pickled weights were written as safetensors."""

    @property
    def other_weights(self) -> list[str]:
        """The base's weights in other forms, which are not edited."""
        return [name for name in self.kept if name.split("/")[0] not in (UNDO, KEPT)]

    def to_dict(self) -> dict[str, Any]:
        return {
            "files": self.files,
            "rounding": self.rounding,
            "kept": list(self.kept),
            "left_out": list(self.left_out),
            "unpickled": self.unpickled,
        }


def apply_to_folder(patch: Patch, model: Model, folder: str | Path) -> Applied:
    """Write the edited model to a new folder, and read it back. The model in memory is as before
    afterwards.

    Raises `PatchError` on another base than the patch's, and where a sum is not finite in the dtype
    it is stored in; `OutputError` where it cannot be written, or does not read back as meant.
    Nothing is left then.
    """
    patch.check_base(model)
    folder = Path(folder)
    source = _own_files(model)
    plan = (
        _planned(patch, model, source) if source else None
    )  # refused before anything is written, where that can be known
    with write_aside(folder, folder=True) as aside:
        aside.mkdir()
        laid = _lay(model, aside, source, folder)
        plan = plan.moved(laid.weights) if plan else _planned(patch, model, laid.weights)
        changes, wanted, kept = plan.changes, plan.wanted, [*laid.kept]
        if patch.neurons:
            moved = [*weights_in(laid.weights), aside / "config.json"]
            kept += [
                _keep(aside, path)
                for path in moved
                if path.relative_to(aside).as_posix() in laid.files
            ]
            wanted = write_wider(patch, model, laid.weights, changes, aside)
            changes = []
        for change in changes:
            overwrite(change.stored.file, change.stored.start, bytes_of(change.after))
        originals = {change.stored.name: change.before for change in changes}
        written = [
            name
            for name in _names(aside)
            if name not in laid.files and not name.startswith(f"{KEPT}/")
        ]
        write_undo(aside, patch, originals, laid.files, kept, written)
        check_bytes(aside, laid.files, kept, changes)
        check_model(aside, model, wanted, plan.logits, plan.ids)
    rounding = {name: error for change in plan.changes for name, error in change.rounding.items()}
    return Applied(
        len(laid.files), rounding, tuple(sorted(laid.kept)), laid.left_out, laid.unpickled
    )


@dataclass(frozen=True)
class _Plan:
    """The weights to write, and the logits that the model will then have."""

    changes: list[Rewritten]
    wanted: dict[str, Tensor]
    """By the model's names, in its dtype."""
    logits: list[Tensor]
    ids: list[Tensor]

    def moved(self, weights: Stored) -> "_Plan":
        """The same for a copy of the files."""
        return replace(
            self,
            changes=[
                replace(change, stored=weights.tensors[change.stored.name])
                for change in self.changes
            ],
        )


def _planned(patch: Patch, model: Model, weights: Stored) -> _Plan:
    changes = sums(patch, model, weights)
    wanted = {
        change.parameter: change.after.to(model.parameter(change.parameter).dtype)
        for change in changes
    }
    return _Plan(changes, wanted, *edited_logits(model, patch, wanted))


class _Laid(NamedTuple):
    """The base in its new place."""

    weights: Stored
    files: dict[str, str]
    """SHA-256 of each of the base's files."""
    kept: list[str] = []  # noqa: RUF012  never changed
    left_out: tuple[str, ...] = ()
    unpickled: bool = False


def _own_files(model: Model) -> Stored | None:
    """The safetensors that a model was opened from, if its weights are those still."""
    checkpoint = stored(model.source.folder) if model.source else None
    return checkpoint if checkpoint and same_weights(model, checkpoint.folder) else None


def _lay(model: Model, aside: Path, source: Stored | None, folder: Path) -> _Laid:
    """The base's files in a new folder, as they are; of a model without files, as transformers
    saves them.
    """
    if source:
        files = files_of(source.folder, weights_in(source), folder)
        hashes, kept = _copied(files, aside)
        return _Laid(_stored(aside), hashes, kept, files.left_out)
    pickled = (
        stored(model.source.folder, pickle=True) if model.source and model.source.pickle else None
    )
    if pickled and not pickled.safe:
        files = files_of(pickled.folder, weights_in(pickled), folder)
        own = {path.relative_to(pickled.folder).as_posix() for path in weights_in(pickled)}
        files = replace(
            files,
            carried={name: path for name, path in files.carried.items() if name not in own},
            kept={**files.kept, **{name: files.carried[name] for name in own}},
        )
        hashes, kept = _copied(files, aside)
        write_unpickled(pickled, aside)
        if same_weights(model, aside):
            return _Laid(_stored(aside), hashes, kept, files.left_out, True)
        shutil.rmtree(aside)
        aside.mkdir()
    save_model(model, aside)
    return _Laid(_stored(aside), {name: file_hash(aside / name) for name in _names(aside)})


def _stored(folder: Path) -> Stored:
    checkpoint = stored(folder)
    assert checkpoint is not None
    return checkpoint


def _copied(files: Files, aside: Path) -> tuple[dict[str, str], list[str]]:
    hashes = {name: copy_hashed(path, aside / name) for name, path in files.carried.items()}
    hashes |= {name: copy_hashed(path, aside / KEPT / name) for name, path in files.kept.items()}
    return hashes, list(files.kept)


def _keep(folder: Path, path: Path) -> str:
    """Take a file out of the folder, to those that are kept; its name."""
    name = path.relative_to(folder)
    (folder / KEPT / name).parent.mkdir(parents=True, exist_ok=True)
    path.replace(folder / KEPT / name)
    return name.as_posix()


def _names(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def revert_to_folder(
    patch: Patch,
    edited: Weights | Callable[[], Weights],
    edited_folder: str | Path,
    folder: str | Path,
) -> list[str]:
    """Undo the patch in an edited folder and write the base to a new one.

    With the undo data that `apply_to_folder` leaves, every file of the base is there again, bit for
    bit. `edited` is the edited model's weights, or opens them: that is done only for folders
    without such data, where the fingerprint says whether it is the base.
    Returns the names of files that were changed since the patch was applied, weights apart; these
    are carried over as they are.
    Raises `PatchError` unless the weights are the base's, bit for bit.
    """
    place, folder = Path(edited_folder), Path(folder)
    undo = read_undo(place)
    if undo is not None and undo.header is not None:
        return put_back(patch, undo, undo.header, place, folder)
    taken_off(patch, edited if isinstance(edited, Weights) else edited(), undo, place, folder)
    return []
