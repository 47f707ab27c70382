"""The one reader of patch files: nothing gets past it that a verb could not use.

Factors may be float64, float32, float16 or bfloat16; the narrow ones are widened to float32,
exactly. Refused, each in one line that names the file and the field: other dtypes, rank 0, shapes
that do not fit, numbers that are not finite, tensors that no patch has, unknown schemas, wrong
types in the header.
"""

import re
import stat
from pathlib import Path
from typing import Annotated, Any

import torch
from annotated_types import Predicate
from safetensors import SafetensorError, safe_open
from torch import Tensor
from typing_extensions import TypedDict

from loci.errors import FactError, ModelError, PatchError
from loci.facts import Fact
from loci.model.stored import FLOATS, WORDS, read_header
from loci.patches.factors import Factors
from loci.patches.neurons import AddedNeurons
from loci.patches.patch import SCHEMA, Patch
from loci.validate import brief, kind_of, named, parse_json, reason, typed

PART = re.compile(r"(W_up|W_gate|W_down|neurons)\.(0|[1-9][0-9]{0,5})")
FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")
RAW = ("U8",)

LARGEST = 1e150
"""Of a change's entries: norms of larger ones are beyond float64."""


class Parent(TypedDict):
    """A patch that another was made from."""

    id: str
    method: str
    numbers: dict[str, Any]


class Numbers(TypedDict, total=False):
    """The entries of a patch's numbers that verbs read; there may be any others."""

    parents: list[Parent]
    error: dict[str, float]
    interaction: dict[str, dict[str, list[list[float]]]]
    dropped: list[dict[str, Any]]
    left_out: list[str]


class PatchHeader(TypedDict):
    """A patch without its tensors."""

    method: str
    base: Annotated[str, Predicate(lambda text: FINGERPRINT.fullmatch(text) is not None)]
    base_name: str
    facts: list[dict[str, Any]]
    numbers: dict[str, Any]


def load_patch(path: str | Path) -> Patch:
    """Read a patch. Raises `PatchError` for a file that is missing, truncated,
    or something else.

        loci.load_patch("jordan.safetensors").facts
    """
    path = Path(path)
    tensors, header = read_tensors(path, "patch")
    if header is None:
        raise PatchError(f"{named(path)}: a safetensors file, but no patch of Loci")
    return _patch(
        parse_json(header, f"{named(path)}: header", PatchError, infinite=True),
        tensors,
        named(path),
    )


def read_tensors(
    path: Path, kind: str, *, raw: bool = False
) -> tuple[dict[str, Tensor], str | None]:
    """The tensors of a safetensors file of floating-point numbers (`raw`: of bytes), and what its
    metadata say under `loci`.

    The dtypes are looked at before any value. Raises `PatchError`.
    """
    _check_regular(path, kind)
    try:
        entries, _ = read_header(path)
        with safe_open(path, framework="pt") as file:
            odd = {
                name: str(entry["dtype"])
                for name, entry in entries.items()
                if name != "__metadata__" and entry["dtype"] not in (RAW if raw else FLOATS)
            }
            for name, code in odd.items():
                holds = "bytes" if raw else "float32, float64, float16 or bfloat16 numbers"
                raise PatchError(
                    f"{named(path)}: {name} is {WORDS.get(code, code)}, and a {kind} holds {holds}"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, ModelError) as error:
        raise PatchError(
            f"{named(path)}: not a whole safetensors file ({_reason(error)}); it may be truncated"
        ) from None
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise PatchError(f"{named(path)}: {name} holds NaN or infinite numbers")
    return tensors, metadata.get("loci")


def _check_regular(path: Path, kind: str) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise PatchError(f"there is no {kind} file {named(path)!r}") from None
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        raise PatchError(f"{named(path)}: cannot be read ({why})") from None
    if not stat.S_ISREG(mode):
        raise PatchError(f"{named(path)}: not a regular file ({kind_of(mode)})")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[-200:]


def _patch(document: Any, tensors: dict[str, Tensor], where: str) -> Patch:
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise PatchError(
            f"{where}: a patch of schema {brief(schema)}; this version reads {SCHEMA!r}"
        )
    header = typed(PatchHeader, document, f"{where}: broken header", PatchError)
    numbers = typed(Numbers, header["numbers"], f"{where}: broken header: numbers", PatchError)
    facts = _facts(header["facts"], f"{where}: broken header: facts")
    for dropped in _facts(numbers.get("dropped", []), f"{where}: broken header: numbers.dropped"):
        if dropped.new_answer is None:
            raise PatchError(f"{where}: broken header: numbers.dropped: a fact without new_answer")
    factors, neurons = _parts(tensors, where)
    patch = Patch(
        header["method"],
        header["base"],
        header["base_name"],
        factors,
        facts,
        header["numbers"],
        neurons,
    )
    try:
        _ = patch.report
    except PatchError as error:
        raise PatchError(f"{where}: broken header: numbers.report: {error}") from None
    return patch


def _facts(plain: list[dict[str, Any]], where: str) -> tuple[Fact, ...]:
    facts = []
    for i, each in enumerate(plain):
        try:
            facts.append(Fact.from_dict(each))
        except FactError as error:
            raise PatchError(f"{where}.{i}: {error}") from None
    return tuple(facts)


def _parts(
    tensors: dict[str, Tensor], where: str
) -> tuple[dict[str, Factors], dict[int, AddedNeurons]]:
    """Factors by weight and neurons by layer; each tensor is one side of one of them."""
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, side = name.rpartition(".")
        match = PART.fullmatch(part)
        if match is None or side not in _sides(match[1]):
            raise PatchError(f"{where}: {brief(name)} is no part of a patch, as W_down.3.left is")
        groups.setdefault(part, {})[side] = (
            tensor if tensor.dtype == torch.float64 else tensor.float()
        )
    factors, neurons = {}, {}
    for part, sides in sorted(groups.items()):
        stem, _, layer = part.partition(".")
        lacking = [side for side in _sides(stem) if side not in sides]
        if lacking:
            raise PatchError(f"{where}: {part}.{lacking[0]} is missing")
        if stem == "neurons":
            neurons[int(layer)] = _checked_neurons(AddedNeurons(**sides), part, where)
        else:
            factors[part] = _checked(Factors(**sides), part, where)
    if not (factors or neurons):
        raise PatchError(f"{where}: a patch that changes nothing: there are no factors in it")
    return factors, neurons


def _sides(stem: str) -> tuple[str, ...]:
    return AddedNeurons._fields if stem == "neurons" else Factors._fields


def _checked(factors: Factors, name: str, where: str) -> Factors:
    left, right = factors
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise PatchError(
            f"{where}: the factors of {name} do not fit: {tuple(left.shape)} · {tuple(right.shape)}"
        )
    if not (left.numel() and right.numel()):
        raise PatchError(
            f"{where}: the factors of {name} are empty ({tuple(left.shape)} ·"
            f" {tuple(right.shape)}): a rank is 1 or more"
        )
    return factors


def _checked_neurons(neurons: AddedNeurons, name: str, where: str) -> AddedNeurons:
    try:
        neurons.check(name)
    except PatchError as error:
        raise PatchError(f"{where}: {error}") from None
    if not neurons.up.numel():
        raise PatchError(f"{where}: {name} adds no neuron")
    return neurons
