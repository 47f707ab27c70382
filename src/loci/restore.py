"""A result from its JSON document, by the types of its fields.

Not every document holds all of its result: some leave out what is large or can be asked again. So
what was read back is written once more, and where that is not the document, the file is refused.
"""

import json
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from loci.errors import OutputError
from loci.stats import Estimate

T = TypeVar("T")
DTYPES = {"Float": "float32", "Int": "int64", "Bool": "bool"}


class _Lost(Exception):
    """A field that the document does not hold."""


def load(kind: type[T], path: Path) -> T:
    """Read a result of this kind. Raises `OutputError` for a file that is not one, or not the whole
    of one.
    """
    if path.suffix != ".json":
        raise OutputError(f"{path}: a result is read back from .json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise OutputError(f"{path}: not JSON ({error})") from None
    if not isinstance(document, dict) or "schema" not in document:
        raise OutputError(f"{path}: not a result of Loci (no schema)")
    try:
        result: T = _dataclass(kind, document)
        written = plain(result.to_dict())  # type: ignore[attr-defined]
    except (_Lost, NameError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise _refusal(kind, document, path, str(error)) from None
    if written != plain(document):
        raise _refusal(kind, document, path, "what was read is not what was written")
    return result


def _refusal(kind: type, document: dict[str, Any], path: Path, why: str) -> OutputError:
    return OutputError(
        f"{path}: {document['schema']} cannot be read back as {kind.__name__} ({why}); its numbers"
        " are plain JSON"
    )


def plain(value: Any) -> Any:
    """As JSON gives it back: lists for tuples, None for what is no number."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _dataclass(kind: Any, document: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    values = {}
    for field in fields(kind):
        if not field.init:
            continue
        if field.name in document:
            values[field.name] = value_of(hints[field.name], document[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise _Lost(f"it leaves out {field.name}")
    return kind(**values)


def value_of(kind: Any, value: Any) -> Any:
    """A value of a declared type from what JSON made of it."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _any_of(inner, value)
    if hasattr(kind, "array_type"):
        return _tensor(kind, value)
    if origin is Literal or kind is Any:
        return value
    if origin is tuple:
        parts = inner[:1] * len(value) if inner[-1:] == (...,) else inner
        return tuple(value_of(part, item) for part, item in zip(parts, value, strict=True))
    if origin in (list, Sequence) or (origin is not None and issubclass(origin, Sequence)):
        return [value_of(inner[0], item) for item in value]
    if origin is not None and issubclass(origin, Mapping):
        return {value_of(inner[0], key): value_of(inner[1], item) for key, item in value.items()}
    if kind is Estimate:
        given: dict[str, Any] = {
            name: math.nan if value[name] is None else value[name] for name in Estimate._fields
        }
        return Estimate(**given)
    if hasattr(kind, "_fields"):
        given = (
            dict(value) if isinstance(value, dict) else dict(zip(kind._fields, value, strict=True))
        )
        hints = get_type_hints(kind)
        return kind(**{name: value_of(hints[name], given[name]) for name in kind._fields})
    if is_dataclass(kind):
        return _dataclass(kind, value)
    return _scalar(kind, value)


def _any_of(kinds: Sequence[Any], value: Any) -> Any:
    if value is None and type(None) in kinds:
        return None
    for kind in kinds:
        try:
            return value_of(kind, value)
        except (TypeError, ValueError, KeyError, _Lost):
            continue
    raise _Lost(f"{value!r} has none of the types expected")


def _scalar(kind: Any, value: Any) -> Any:
    if kind is float:
        return math.nan if value is None else float(value)
    if kind is int and isinstance(value, str):
        return int(value)
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _tensor(kind: Any, value: Any) -> Any:
    import numpy as np

    array = np.asarray(
        _numbers(value), dtype=DTYPES.get(kind.__name__.partition("[")[0], "float32")
    )
    if kind.array_type is np.ndarray:
        return array
    import torch

    return torch.from_numpy(array)


def _numbers(value: Any) -> Any:
    return (
        [_numbers(item) for item in value]
        if isinstance(value, list)
        else math.nan
        if value is None
        else value
    )
