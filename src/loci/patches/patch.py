"""An edit is a value: low-rank changes of named weights, the facts they are for, and the base they were made on.

    W ← W + left · right        left [out, r], right [r, in]

and, where a method adds any, neurons beside an MLP (`neurons`). A patch is a safetensors file with a JSON header. It changes a model only inside `with patch.applied(model)`, after which every bit
is back, or on disk by `apply_to_folder`. On another base than its own it is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loci.errors import FactError, PatchError
from loci.facts import Fact
from loci.files import write_aside
from loci.model import Model, Weights
from loci.patches.factors import Factors
from loci.patches.neurons import Neurons, beside

SCHEMA = "loci.patch/1"
UNDO = "loci-undo.safetensors"
"""The file of an edited folder that keeps the original bits of what was changed, and which patch it was."""

_on: WeakKeyDictionary[Model, list[str]] = WeakKeyDictionary()
"""Patches that are on a model now, from the first to the last: for messages alone, the fingerprint decides."""


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
    """What the method measured: layer, losses, norms, condition, seconds."""
    neurons: Mapping[int, Neurons] = field(default_factory=dict)
    """Neurons added to the MLPs of some layers."""

    @property
    def id(self) -> str:
        """A short name for the content: the first 12 hex digits of its SHA-256."""
        digest = hashlib.sha256(self._header().encode())
        for name in sorted(self.factors):
            for factor in self.factors[name]:
                digest.update(factor.contiguous().numpy().tobytes())
        for layer in sorted(self.neurons):
            for part in self.neurons[layer]:
                digest.update(part.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    @property
    def layers(self) -> list[int]:
        return sorted({*self.neurons, *(int(name.partition(".")[2]) for name in self.factors)})

    @property
    def parents(self) -> list[dict[str, Any]]:
        """What the patch was made from, where that was patches: id, method, numbers, and theirs in turn."""
        found: list[dict[str, Any]] = self.numbers.get("parents", [])
        return found

    def check_base(self, model: Weights) -> None:
        """Raise `PatchError` unless the model's weights are those that the patch was made on; say so where it has the patch already."""
        found = model.fingerprint
        if found == self.base:
            return
        made = f"the patch was made on {self.base_name!r} with weights {short(self.base)}; {model.name!r} has {short(found)}: "
        on = patches_on(model)
        if self.id in on:
            raise PatchError(f"{made}it has this patch already")
        raise PatchError(f"{made}not the same base{f' (it has the patch {on[-1]})' if on else ''}")

    def check_factors_only(self, done: str) -> None:
        """Raise `PatchError` where the patch adds neurons, which what is to be done with it knows nothing of."""
        if self.neurons:
            raise PatchError(
                f"patch {self.id} adds neurons, and only changes of weights that are there can be {done}: apply it instead"
            )

    @contextmanager
    def applied(self, model: Model) -> Iterator[Model]:
        """The model with the patch in its weights, inside the block; after it every bit is as before, whatever happened."""
        self.check_base(model)
        before = {name: model.weight(name).clone() for name in self.factors}
        on = _on.setdefault(model, [])
        on.append(self.id)
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
        """Add the changes to the model's weights, in place: summed in float64, rounded once to the weight's dtype."""
        for name, factors in self.factors.items():
            weight = model.weight(name)
            if weight.shape != factors.shape:
                raise PatchError(f"{name} is {tuple(weight.shape)} in this model and {factors.shape} in the patch")
            weight.copy_(weight.double() + sign * factors.delta.to(weight.device))

    def save(self, path: str | Path) -> None:
        """Write the patch, aside first: an interrupted write leaves no broken file."""
        parts: dict[str, Factors | Neurons] = {**self.factors, **{f"neurons.{layer}": part for layer, part in self.neurons.items()}}
        tensors = {f"{name}.{side}": t.contiguous() for name, part in parts.items() for side, t in part._asdict().items()}
        with write_aside(path) as aside:
            aside.write_bytes(save(tensors, metadata={"loci": self._header()}))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the numbers in the factors."""
        changes = {name: {"rank": f.rank, "shape": list(f.shape), "norm": f.norm} for name, f in self.factors.items()}
        added = {"neurons": {str(layer): part.size for layer, part in self.neurons.items()}} if self.neurons else {}
        return {**json.loads(self._header()), "id": self.id, "weights": changes, **added}

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


def load_patch(path: str | Path) -> Patch:
    """Read a patch. Raises `PatchError` for a file that is missing, truncated, or something else."""
    path = Path(path)
    if not path.is_file():
        raise PatchError(f"there is no patch file {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("loci")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except (SafetensorError, OSError) as error:
        raise PatchError(f"{path}: not a whole safetensors file ({error}); it may be truncated") from None
    if header is None:
        raise PatchError(f"{path}: a safetensors file, but no patch of Loci")
    try:
        return _from_header(json.loads(header), tensors)
    except (KeyError, TypeError, ValueError, FactError) as error:
        raise PatchError(f"{path}: a patch with a broken header ({type(error).__name__}: {error})") from None
    except PatchError as error:
        raise PatchError(f"{path}: {error}") from None


def _from_header(header: dict[str, Any], tensors: dict[str, Tensor]) -> Patch:
    if header["schema"] != SCHEMA:
        raise PatchError(f"a patch of schema {header['schema']!r}; this version reads {SCHEMA!r}")
    parts = sorted({name.rpartition(".")[0] for name in tensors})
    layers = {name: int(name.removeprefix("neurons.")) for name in parts if name.startswith("neurons.")}
    neurons = {at: Neurons(*(tensors[f"{name}.{part}"] for part in Neurons._fields)) for name, at in layers.items()}
    for at, part in neurons.items():
        part.check(f"neurons.{at}")
    names = [name for name in parts if name not in layers]
    factors = {name: Factors(tensors[f"{name}.left"], tensors[f"{name}.right"]) for name in names}
    for name, (left, right) in factors.items():
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise PatchError(f"the factors of {name} do not fit: {tuple(left.shape)} · {tuple(right.shape)}")
        if not (left.isfinite().all() and right.isfinite().all()):
            raise PatchError(f"the factors of {name} hold NaN or infinite numbers")
    facts = tuple(map(Fact.from_dict, header["facts"]))
    return Patch(header["method"], header["base"], header["base_name"], factors, facts, header["numbers"], neurons)


def patches_on(model: Weights) -> list[str]:
    """Ids of the patches that are known to be on a model: by `applied`, or by what its folder says."""
    undo = Path(model.name) / UNDO
    try:
        with safe_open(undo, framework="pt") as file:
            said = (file.metadata() or {}).get("patch")
    except (SafetensorError, OSError):
        said = None
    return [*([said] if said else []), *(_on.get(model, []) if isinstance(model, Model) else [])]


def lineage(*patches: Patch) -> list[dict[str, Any]]:
    """What a patch that is made from others keeps of them, for its numbers."""
    return [{"id": patch.id, "method": patch.method, "numbers": dict(patch.numbers)} for patch in patches]


def short(fingerprint: str) -> str:
    """The first digits of a fingerprint, enough for people."""
    return fingerprint[:19]
