"""An edit is a value: low-rank changes of named weights, the facts they are for, and the base they
were made on.

    W ← W + left · right        left [out, r], right [r, in]

and, where a method adds any, neurons beside an MLP (`neurons`). A patch is a safetensors file with
a JSON header. It changes a model only inside `with patch.applied(model)`, after which every bit is
back, or on disk by `apply_to_folder`. On another base than its own it is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from loci.errors import PatchError
from loci.facts import Fact
from loci.files import write_aside
from loci.model import Model, Weights
from loci.model.stored import bytes_of
from loci.patches.factors import Factors, check_shape, rounded
from loci.patches.interaction import strongest
from loci.patches.neurons import AddedNeurons, beside
from loci.patches.report import EditReport

SCHEMA = "loci.patch/1"
UNDO = "loci-undo.safetensors"
"""The file of an edited folder that keeps the original bits of what was changed, and which patch it
was.
"""

_on: WeakKeyDictionary[Model, list[str]] = WeakKeyDictionary()
"""Patches that are on a model now, from the first to the last: for messages alone, the fingerprint
decides.
"""


@dataclass(frozen=True)
class Patch:
    """Changes of weights by name (`W_down.3`), with where they come from."""

    method: str
    base: str
    """Fingerprint of the weights that the patch was made on, and may be applied to."""
    base_name: str
    factors: Mapping[str, Factors]
    facts: tuple[Fact, ...]
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The method's measurements: layer, losses, norms, condition, seconds."""
    neurons: Mapping[int, AddedNeurons] = field(default_factory=dict)
    """Neurons added to the MLPs of some layers."""

    @property
    def id(self) -> str:
        """A short name for the content: the first 12 hex digits of its SHA-256."""
        digest = hashlib.sha256(self._header().encode())
        for name in sorted(self.factors):
            for factor in self.factors[name]:
                digest.update(bytes_of(factor))
        for layer in sorted(self.neurons):
            for part in self.neurons[layer]:
                digest.update(bytes_of(part))
        return digest.hexdigest()[:12]

    @property
    def layers(self) -> list[int]:
        return sorted({*self.neurons, *(int(name.partition(".")[2]) for name in self.factors)})

    @property
    def parents(self) -> list[dict[str, Any]]:
        """The patches that this one was made from: id, method, numbers, and their own parents."""
        parents: list[dict[str, Any]] = self.numbers.get("parents", [])
        return parents

    @property
    def report(self) -> EditReport | None:
        """The report of the edit, its prompts asked again; None where it is not known, as of a
        merged patch.
        """
        plain = self.numbers.get("report")
        return EditReport.from_dict(plain) if plain is not None else None

    def check_base(self, model: Weights) -> None:
        """Raise `PatchError` unless the model's weights are those that the patch was made on; say
        so where it has the patch already.
        """
        fingerprint = model.fingerprint
        if fingerprint == self.base:
            return
        made = (
            f"the patch was made on {self.base_name!r} with weights {short(self.base)};"
            f" {model.name!r} has {short(fingerprint)}: "
        )
        on = patches_on(model)
        if self.id in on:
            raise PatchError(f"{made}it has this patch already")
        raise PatchError(f"{made}not the same base{f' (it has the patch {on[-1]})' if on else ''}")

    def check_factors_only(self, done: str) -> None:
        """Raise `PatchError` where the patch adds neurons, which what is to be done with it knows
        nothing of.
        """
        if self.neurons:
            raise PatchError(
                f"patch {self.id} adds neurons, and only changes of weights that are there can be"
                f" {done}: apply it instead"
            )

    @contextmanager
    def applied(self, model: Model) -> Iterator[Model]:
        """The model with the patch in its weights, inside the block; after it every bit is as
        before, whatever happened.
        """
        self.check_base(model)
        before = {name: model.weight(name).clone() for name in self.factors}
        on = _on.setdefault(model, [])
        on.append(self.id)
        with model.known_fingerprint.restored([model.weight(name) for name in before]):
            try:
                self.add_to(model)
                with beside(model, self.neurons):
                    yield model
            finally:
                for name, weight in before.items():
                    model.weight(name).copy_(weight)
                on.remove(self.id)

    @torch.no_grad()
    def add_to(self, model: Model, sign: int = 1) -> None:
        """Add the changes to the model's weights, in place: summed in float64, rounded once to the
        weight's dtype.

        Raises `PatchError` where a change does not fit, or a sum is not finite in that dtype.
        """
        for name, factors in self.factors.items():
            weight = model.weight(name)
            check_shape(name, weight.shape, factors)
            exact = weight.double() + sign * factors.delta.to(weight.device)
            weight.copy_(
                rounded(
                    exact,
                    weight.dtype,
                    f"{name} with the change {'added' if sign > 0 else 'taken off'}",
                )
            )

    def save(self, path: str | Path) -> None:
        """Write the patch, aside first: an interrupted write leaves no broken file."""
        parts: dict[str, Factors | AddedNeurons] = {
            **self.factors,
            **{f"neurons.{layer}": part for layer, part in self.neurons.items()},
        }
        tensors = {
            f"{name}.{side}": t.contiguous()
            for name, part in parts.items()
            for side, t in part._asdict().items()
        }
        with write_aside(path) as aside:
            aside.write_bytes(save(tensors, metadata={"loci": self._header()}))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the numbers in the factors."""
        changes = {
            name: {"rank": f.rank, "shape": list(f.shape), "norm": f.norm}
            for name, f in self.factors.items()
        }
        added = (
            {"neurons": {str(layer): part.size for layer, part in self.neurons.items()}}
            if self.neurons
            else {}
        )
        most = strongest(self.numbers.get("interaction", {}))
        merged = {"strongest_interaction": most.to_dict()} if most is not None else {}
        return {**json.loads(self._header()), "id": self.id, "weights": changes, **added, **merged}

    def _header(self) -> str:
        return json.dumps(
            {
                "schema": SCHEMA,
                "method": self.method,
                "base": self.base,
                "base_name": self.base_name,
                "facts": [fact.to_dict() for fact in self.facts],
                "numbers": dict(self.numbers),
            },
            sort_keys=True,
            ensure_ascii=False,
        )


def patches_on(model: Weights) -> list[str]:
    """Ids of the patches that are known to be on a model: by `applied`,
    or by what its folder says.
    """
    undo = Path(model.name) / UNDO
    try:
        with safe_open(undo, framework="pt") as file:
            patch_id = (file.metadata() or {}).get("patch")
    except (SafetensorError, OSError):
        patch_id = None
    return [
        *([patch_id] if patch_id else []),
        *(_on.get(model, []) if isinstance(model, Model) else []),
    ]


def lineage(*patches: Patch) -> list[dict[str, Any]]:
    """The record of its parents that a patch made from others keeps in its numbers."""
    return [
        {"id": patch.id, "method": patch.method, "numbers": dict(patch.numbers)}
        for patch in patches
    ]


def short(fingerprint: str) -> str:
    """The first digits of a fingerprint, enough for people."""
    return fingerprint[:19]


class Applicable(Protocol):
    """A change of a model that holds inside a block: a patch, or anything like it."""

    def applied(self, model: Model) -> AbstractContextManager[Any]:
        """The model with it, inside the block."""
        ...


@contextmanager
def applied(model: Model, change: Applicable | None) -> Iterator[Model]:
    """The model with a change on for a block, or as it is where there is none."""
    if change is None:
        yield model
        return
    with change.applied(model):
        yield model
