"""Patches in the files that llama.cpp and Ollama run: a new GGUF file with the edit in its weights,
and the way back, bit for bit.

    W' = round(W + Δ)  W dequantised from the file, Δ = left · right, the sum in float64, rounded
                       once to the type that is written

Untouched tensors and all metadata are the base's, byte for byte. The undo file beside the new one
keeps the bytes that the edited tensors had. What was written is read back before it gets its name:
with the original bytes thought back in their places its SHA-256 is the base's, and the facts are
asked with the weights as they were written, in that precision.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from loci.errors import OutputError, PatchError
from loci.files import write_aside
from loci.model import Model, score_answers
from loci.model.gguf import Header, read_header
from loci.model.gguf.rewriting import (
    TYPES,
    WRITTEN,
    Replaced,
    encoded,
    matrix,
    padded,
    pieces,
    tensor_of,
    with_padding,
)
from loci.patches.factors import check_shape
from loci.patches.gguf_undo import SCHEMA, GgufUndo, file_hash, undo_of, write_file
from loci.patches.patch import Patch
from loci.patches.places import place_of
from loci.patches.readback import holding
from loci.patches.undo import ORIGINAL
from loci.stats import Estimate, share
from loci.validate import named


@dataclass(frozen=True)
class AppliedGguf:
    """The file that `apply_to_gguf` wrote."""

    stored_as: str
    """ggml type of the edited tensors."""
    tensors: dict[str, str]
    """Edited tensors by GGUF name, each with the type that it had."""
    rounding: dict[str, float]
    """By weight: ‖W' − (W + Δ)‖ / ‖Δ‖, what rounding to the type makes of the change."""
    said: Estimate
    """Share of the facts whose new answer is given with the weights as written."""
    failed: tuple[str, ...]
    """Prompts of those that are not."""
    undo: Path
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "as": self.stored_as,
            "tensors": self.tensors,
            "rounding": self.rounding,
            "said": self.said.to_dict(),
            "failed": list(self.failed),
            "undo": str(self.undo),
            "bytes": self.bytes,
        }


def written_type(name: str) -> str:
    """The ggml type of that name, in any case. Raises `PatchError` for one that cannot be
    written.
    """
    kind = name.upper()
    if kind not in WRITTEN:
        why = (
            "K-quants and the like are written by llama-quantize alone"
            if kind in TYPES or "_K" in kind
            else "no such type"
        )
        raise PatchError(
            f"edited tensors cannot be written as {name} ({why}): {', '.join(WRITTEN)} can"
        )
    return kind


def apply_to_gguf(
    patch: Patch, model: Model, source: str | Path, path: str | Path, *, stored_as: str = "F16"
) -> AppliedGguf:
    """Write a GGUF file with the patch in its weights, an undo file beside it, and read it back.

    `model` is the model as opened from the GGUF file `source`; it is as before afterwards.
    `stored_as`: the type of edited tensors.
    Raises `PatchError` on another base than the patch's, for added neurons, for a type that cannot
    be written and for a file of several parts; `OutputError` where it cannot be written, or does
    not read back as meant. Nothing is left then.
    Cost: three readings and one writing of the file, and one forward pass over the facts.
    """
    kind = written_type(stored_as)
    patch.check_factors_only("written to a GGUF file")
    patch.check_base(model)
    source, path = Path(source), Path(path)
    if path.exists() and path.samefile(source):
        raise PatchError(
            f"{named(path)} is the base itself, which stays as it is: name another file"
        )
    header = read_header(source)
    changes = _changes(patch, model, header, kind)
    _check_room(path, header, changes)
    base_sha = file_hash(pieces(header, {}))
    with write_aside(path) as aside, write_aside(undo_of(path)) as aside_undo:
        edited_sha = write_file(
            aside, pieces(header, {name: change.new for name, change in changes.items()})
        )
        undo_header: GgufUndo = {
            "schema": SCHEMA,
            "base": patch.base,
            "base_sha256": base_sha,
            "edited_sha256": edited_sha,
            "types": {name: change.old.type for name, change in changes.items()},
        }
        originals = {
            f"{ORIGINAL}{name}": _tensor(change.old.data) for name, change in changes.items()
        }
        aside_undo.write_bytes(
            save(
                originals,
                metadata={"patch": patch.id, "loci": json.dumps(undo_header, sort_keys=True)},
            )
        )
        written = read_header(aside)
        back = pieces(written, {name: change.old for name, change in changes.items()})
        if file_hash(pieces(written, {})) != edited_sha or file_hash(back) != base_sha:
            raise OutputError(
                f"on reading it back, {named(path)} is not what was to be written: nothing is left"
                " of it; try again"
            )
        weights = {
            change.weight: matrix(tensor_of(written, change.parameter), written)
            for change in changes.values()
        }
        answers = _answers(patch, model, weights)
    return AppliedGguf(
        kind,
        undo_header["types"],
        {change.weight: change.rounding(weights[change.weight]) for change in changes.values()},
        share([given for _, given in answers]),
        tuple(text for text, given in answers if not given),
        undo_of(path),
        path.stat().st_size,
    )


@dataclass(frozen=True)
class _Change:
    """One tensor of the file, before and after."""

    weight: str
    """The patch's name for it."""
    parameter: str
    exact: Tensor
    size: float
    """‖Δ‖."""
    old: Replaced
    new: Replaced

    def rounding(self, written: Tensor) -> float:
        return float((written.double() - self.exact).norm()) / (self.size or 1.0)


@torch.no_grad()
def _changes(patch: Patch, model: Model, header: Header, kind: str) -> dict[str, _Change]:
    """By GGUF name. Raises `PatchError` where the file does not hold the model's numbers."""
    changes = {}
    for name, factors in patch.factors.items():
        parameter = place_of(model, name).parameter
        tensor = tensor_of(header, parameter)
        values = matrix(tensor, header)
        check_shape(name, values.shape, factors)
        if not torch.equal(values, model.weight(name).float().cpu()):
            raise PatchError(
                f"{header.path}: {tensor.name} does not hold the numbers of {name} that the model"
                " has: open this file as it is"
            )
        exact = values.double() + factors.delta.cpu()
        data = padded(encoded(exact, kind, f"{name} with the change added"), header)
        old = Replaced(tensor.type, with_padding(tensor, header))
        changes[tensor.name] = _Change(
            name, parameter, exact, factors.norm, old, Replaced(kind, data)
        )
    return changes


def _check_room(path: Path, header: Header, changes: Mapping[str, _Change]) -> None:
    """Refuse before the work what the disk cannot hold."""
    size = header.size + sum(len(change.new.data) for change in changes.values())
    place = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    free = shutil.disk_usage(place).free if place else size
    if free < size:
        raise OutputError(
            f"{named(path)}: cannot be written (it takes {size / 1e6:,.0f} MB, and"
            f" {free / 1e6:,.0f} MB are free)"
        )


def _answers(patch: Patch, model: Model, weights: Mapping[str, Tensor]) -> list[tuple[str, bool]]:
    """For each fact of the patch its prompt, and whether the model with these weights gives its new
    answer (or an alias).
    """
    facts = [fact for fact in patch.facts if fact.new_answer is not None]
    asked = [
        (i, word)
        for i, fact in enumerate(facts)
        for word in (fact.new_answer or "", *fact.new_aliases)
    ]
    parameters = {}
    for name, values in weights.items():
        place = place_of(model, name)
        parameters[place.parameter] = values.T if place.transposed else values
    with holding(model, parameters, {}):
        scores = score_answers(model, [(facts[i].text, word) for i, word in asked])
    given = {i for (i, _), score in zip(asked, scores, strict=True) if score.said}
    return [(fact.text, i in given) for i, fact in enumerate(facts)]


def _tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
