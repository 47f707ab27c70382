"""Contents of two checkpoints beside the parameters that are compared: tensors that no model class
knows, and files.

A value head, a mask, a generation setting or a template may be on one side alone, or differ, where
every weight is equal.
"""

import filecmp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from loci.model import Weights
from loci.model.stored import FLOATS, Stored, StoredTensor, stored
from loci.patches.carried import KEPT, files_of, weights_in

SHOWN = 5


@dataclass(frozen=True)
class Sides:
    """Names on one side only, and those on both that are not the same."""

    only_first: tuple[str, ...] = ()
    only_second: tuple[str, ...] = ()
    differ: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.only_first or self.only_second or self.differ)


@dataclass(frozen=True)
class Extras:
    """Contents beside the model's parameters that are not the same on both sides."""

    tensors: Sides = Sides()
    """Tensors that the model class does not know."""
    files: Sides = Sides()
    """All files but the weights'."""

    def __bool__(self) -> bool:
        return bool(self.tensors or self.files)

    def to_dict(self) -> dict[str, Any]:
        plain: dict[str, dict[str, Sequence[str]]] = asdict(self)
        return {
            kind: {side: list(names) for side, names in sides.items()}
            for kind, sides in plain.items()
        }

    def lines(self, first: str, second: str) -> list[str]:
        """One for each kind and side, with the first names."""
        lines = []
        for kind, sides in (("tensors of no model class", self.tensors), ("files", self.files)):
            for where, names in (
                (f"only in {first}", sides.only_first),
                (f"only in {second}", sides.only_second),
                ("not the same", sides.differ),
            ):
                if names:
                    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                    lines.append(f"{kind} {where}: {', '.join(names[:SHOWN])}{more}")
        return lines


def extras_of(first: Weights, second: Weights) -> Extras:
    """Compare two checkpoints beside their parameters; nothing is said of models that were not
    opened from files.

    Cost: one reading of the files, weights apart, and of the tensors that are no parameters.
    """
    first_stored, second_stored = _stored(first), _stored(second)
    if first_stored is None or second_stored is None:
        return Extras()
    tensors = _extra(first, first_stored), _extra(second, second_stored)
    files = _files(first_stored), _files(second_stored)
    return Extras(
        _sides(*tensors, lambda name: _content(tensors[0][name]) == _content(tensors[1][name])),
        _sides(*files, lambda name: filecmp.cmp(files[0][name], files[1][name], shallow=False)),
    )


def _stored(weights: Weights) -> Stored | None:
    return stored(weights.source.folder, pickle=weights.source.pickle) if weights.source else None


def _extra(weights: Weights, checkpoint: Stored) -> dict[str, StoredTensor]:
    """Tensors that transformers does not know, and those of other numbers than weights (masks,
    positions), which it may pass over.
    """
    unknown = set(weights.source.unknown) if weights.source else set()
    odd = [name for name, tensor in checkpoint.tensors.items() if tensor.dtype not in FLOATS]
    return {
        name: checkpoint.tensors[name]
        for name in dict.fromkeys([*unknown, *odd])
        if name in checkpoint.tensors
    }


def _content(tensor: StoredTensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape, bytes(tensor.read_bytes())


def _files(checkpoint: Stored) -> dict[str, Path]:
    """All but those of the weights, and but what a patch keeps of its base."""
    files = files_of(checkpoint.folder, weights_in(checkpoint), checkpoint.folder, strict=False)
    weights = {path.relative_to(checkpoint.folder).as_posix() for path in weights_in(checkpoint)}
    both = {**files.carried, **files.kept}
    return {
        name: path
        for name, path in both.items()
        if name not in weights and not name.startswith(f"{KEPT}/")
    }


def _sides(
    first: Mapping[str, Any], second: Mapping[str, Any], equal: Callable[[str], bool]
) -> Sides:
    return Sides(
        tuple(sorted(first.keys() - second.keys())),
        tuple(sorted(second.keys() - first.keys())),
        tuple(name for name in sorted(first.keys() & second.keys()) if not equal(name)),
    )
