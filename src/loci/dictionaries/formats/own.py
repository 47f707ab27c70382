"""Loci's own form: one safetensors file with the canonical tensors by their names, and the rest as
JSON in its metadata.
"""

import json
from collections.abc import Mapping
from typing import Any, NotRequired, cast

from typing_extensions import TypedDict

from loci.dictionaries.dictionary import ActivationKind, Dictionary, Normalisation
from loci.dictionaries.tensors import State
from loci.errors import DictionaryError
from loci.validate import brief, parse_json, typed

SCHEMA = "loci.dictionary/1"
NEEDED = ("W_enc", "b_enc", "W_dec", "b_dec")
TENSORS = (*NEEDED, "b_in", "threshold", "gain", "b_gain", "skip")


class DictionaryHeader(TypedDict):
    """The header that is stored beside the tensors."""

    schema: str
    activation: str
    k: int | None
    normalise: str
    transcoder: bool
    point: str | None
    target: str | None
    model: str | None
    fingerprint: str | None
    notes: NotRequired[dict[str, Any]]


def fits(names: set[str], said: Mapping[str, Any]) -> bool:
    return "loci" in said


def read(tensors: State, said: Mapping[str, Any], where: str) -> Dictionary:
    """The dictionary that was written. Raises `DictionaryError` for another schema, and for tensors
    that are not its own.
    """
    document = parse_json(str(said["loci"]), f"{where}: header", DictionaryError)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise DictionaryError(
            f"{where}: a file of schema {brief(schema)}; this version reads {SCHEMA!r}"
        )
    header = typed(DictionaryHeader, document, f"{where}: broken header", DictionaryError)
    wrong = [name for name in NEEDED if name not in tensors] + [
        name for name in tensors if name not in TENSORS
    ]
    if wrong:
        raise DictionaryError(
            f"{where}: {brief(wrong[0])}"
            f" {'is missing' if wrong[0] in NEEDED else 'is no part of a dictionary'}"
        )
    if header["normalise"] not in ("none", "layer_norm", "unit_norm"):
        raise DictionaryError(
            f"{where}: broken header: normalise: expected none, layer_norm or unit_norm"
        )
    parts: dict[str, Any] = dict(tensors)
    return Dictionary(
        **parts,
        activation=cast(ActivationKind, header["activation"]),
        k=header["k"],
        normalise=cast(Normalisation, header["normalise"]),
        transcoder=header["transcoder"],
        point=header["point"],
        target=header["target"],
        model=header["model"],
        fingerprint=header["fingerprint"],
        notes=header.get("notes", {}),
    )


def written(dictionary: Dictionary) -> tuple[State, dict[str, str]]:
    """Tensors and metadata."""
    plain = (
        "activation",
        "k",
        "normalise",
        "transcoder",
        "point",
        "target",
        "model",
        "fingerprint",
    )
    header = {
        "schema": SCHEMA,
        **{name: getattr(dictionary, name) for name in plain},
        "notes": dict(dictionary.notes),
    }
    return dictionary.tensors(), {"loci": json.dumps(header, sort_keys=True)}
