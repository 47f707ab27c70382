"""An edit is a value: low-rank changes of named weights, the facts they are for, and the base they were made on.

    W ← W + left · right        left [out, r], right [r, in]

A patch is a safetensors file with a JSON header. It changes a model only inside `with patch.applied(model)`, after which every bit
is back, or on disk by `apply_to_folder`. On another base than its own it is refused.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from loci.errors import FactError, PatchError
from loci.facts import Fact
from loci.files import write_aside
from loci.model import Model

SCHEMA = "loci.patch/1"


class Factors(NamedTuple):
    """A low-rank change of one weight."""

    left: Float[Tensor, "out r"]
    right: Float[Tensor, "r in"]

    @property
    def delta(self) -> Float[Tensor, "out in"]:
        """The dense change, summed in float64."""
        return self.left.double() @ self.right.double()

    @property
    def rank(self) -> int:
        return self.left.shape[1]


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

    @property
    def id(self) -> str:
        """A short name for the content: the first 12 hex digits of its SHA-256."""
        digest = hashlib.sha256(self._header().encode())
        for name in sorted(self.factors):
            for factor in self.factors[name]:
                digest.update(factor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    @property
    def layers(self) -> list[int]:
        return sorted({int(name.partition(".")[2]) for name in self.factors})

    def check_base(self, model: Model) -> None:
        """Raise `PatchError` unless the model's weights are those that the patch was made on."""
        found = model.fingerprint
        if found != self.base:
            raise PatchError(
                f"the patch was made on {self.base_name!r} with weights {short(self.base)}; {model.name!r} has {short(found)}: "
                "not the same base"
            )

    @contextmanager
    def applied(self, model: Model) -> Iterator[Model]:
        """The model with the patch in its weights, inside the block; after it every bit is as before, whatever happened."""
        self.check_base(model)
        before = {name: model.weight(name).clone() for name in self.factors}
        try:
            self.add_to(model)
            yield model
        finally:
            for name, weight in before.items():
                model.weight(name).copy_(weight)

    @torch.no_grad()
    def add_to(self, model: Model, sign: int = 1) -> None:
        """Add the changes to the model's weights, in place: summed in float64, rounded once to the weight's dtype."""
        for name, factors in self.factors.items():
            weight = model.weight(name)
            if weight.shape != factors.delta.shape:
                raise PatchError(f"{name} is {tuple(weight.shape)} in this model and {tuple(factors.delta.shape)} in the patch")
            weight.copy_(weight.double() + sign * factors.delta.to(weight.device))

    def save(self, path: str | Path) -> None:
        """Write the patch, aside first: an interrupted write leaves no broken file."""
        tensors = {f"{name}.{side}": t.contiguous() for name, f in self.factors.items() for side, t in f._asdict().items()}
        with write_aside(path) as aside:
            aside.write_bytes(save(tensors, metadata={"loci": self._header()}))

    def to_dict(self) -> dict[str, Any]:
        """Everything but the numbers in the factors."""
        changes = {
            name: {"rank": f.rank, "shape": list(f.delta.shape), "norm": float(f.delta.norm())} for name, f in self.factors.items()
        }
        return {**json.loads(self._header()), "id": self.id, "weights": changes}

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
    names = sorted({name.rpartition(".")[0] for name in tensors})
    factors = {name: Factors(tensors[f"{name}.left"], tensors[f"{name}.right"]) for name in names}
    for name, (left, right) in factors.items():
        if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
            raise PatchError(f"the factors of {name} do not fit: {tuple(left.shape)} · {tuple(right.shape)}")
        if not (left.isfinite().all() and right.isfinite().all()):
            raise PatchError(f"the factors of {name} hold NaN or infinite numbers")
    lists = ("paraphrases", "neighbours", "held_out")
    plain: list[dict[str, Any]] = [{k: tuple(v) if k in lists else v for k, v in fact.items()} for fact in header["facts"]]
    facts = tuple(Fact(**fields) for fields in plain)
    return Patch(header["method"], header["base"], header["base_name"], factors, facts, header["numbers"])


def short(fingerprint: str) -> str:
    """The first digits of a fingerprint, enough for people."""
    return fingerprint[:19]
