"""Any result as one long table: a row for every number or record of its document, with its place in
it.

    part     the field, as in "grids.mlp"
    i, j, k  where it stands in lists (what these count is as in the JSON: layer and token in a
             grid)
    value    the number, or its estimate with low, high and n; records have their own columns
             instead

What is said once (schema, model, prompt, seed …) stands in the file's metadata under "loci", as
JSON.
"""

import csv
import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from loci.errors import OutputError
from loci.files import write_aside

AXES = ("i", "j", "k")
Row = dict[str, Any]


def rows(document: dict[str, Any]) -> list[Row]:
    """The rows of a result's document; single values at its top are left to the metadata."""
    return [
        row
        for part, value in document.items()
        if isinstance(value, (list, dict))
        for row in _rows(part, value, ())
    ]


def _rows(part: str, value: Any, at: tuple[int, ...]) -> Iterator[Row]:
    here = {"part": part, **dict(zip(AXES, at, strict=False))}
    if isinstance(value, dict):
        whole = bool(at) or "value" in value
        plain = {
            key: item for key, item in value.items() if whole and not isinstance(item, (dict, list))
        }
        if plain:
            yield {**here, **plain}
        for key in (key for key in value if key not in plain):
            yield from _rows(f"{part}.{key}", value[key], at)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _rows(part, item, (*at, index))
    elif isinstance(value, (bool, int, float)):
        yield {**here, "value": float(value)}
    elif value is not None:
        yield {**here, "text": str(value)}


def _columns(found: list[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in found for name in row))


def write_table(document: dict[str, Any], path: Path) -> None:
    """Write a document's table as .parquet or .csv, which has no metadata. Raises `OutputError` for
    another ending.
    """
    check_table(path)
    with write_aside(path) as aside:
        if path.suffix == ".parquet":
            write_parquet(document, aside)
            return
        flat = rows(document)
        with aside.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _columns(flat))
            writer.writeheader()
            writer.writerows(flat)


def check_table(path: Path) -> None:
    """Raise `OutputError` for an ending that is no table's."""
    if path.suffix not in (".parquet", ".csv"):
        raise OutputError(f"{path}: the ending says what is written: .parquet or .csv")


def frame(document: dict[str, Any]) -> Any:
    """A document's table in memory: a pandas DataFrame (what is said once in `.attrs`) where pandas
    is installed, else an Arrow table.

    Raises `OutputError` where neither is.
    """
    flat = rows(document)
    try:
        pandas = import_module("pandas")
    except ImportError:
        return _arrow(document, OutputError("a table in memory needs pandas, or loci-lm[tables]"))[
            0
        ]
    made = pandas.DataFrame(flat, columns=_columns(flat))
    made.attrs["loci"] = said_once(document)
    return made


def said_once(document: dict[str, Any]) -> dict[str, Any]:
    """The single values at the top of a document."""
    return {key: value for key, value in document.items() if not isinstance(value, (list, dict))}


def write_parquet(document: dict[str, Any], path: Path) -> None:
    """Write a document's table. Raises `OutputError` where pyarrow is missing."""
    table, parquet = _arrow(document, OutputError(f"{path.name}: .parquet needs loci-lm[tables]"))
    parquet.write_table(table, path)


def _arrow(document: dict[str, Any], missing: OutputError) -> tuple[Any, Any]:
    """The table with its metadata, and what writes it."""
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise missing from None
    flat = rows(document)
    columns = {name: [row.get(name) for row in flat] for name in _columns(flat)}
    mixed = {
        name
        for name, values in columns.items()
        if len({type(v) for v in values if v is not None} - {int, float}) > 1
    }
    table = arrow.table(
        {
            name: [str(v) if name in mixed and v is not None else v for v in values]
            for name, values in columns.items()
        }
    )
    return table.replace_schema_metadata({"loci": json.dumps(said_once(document))}), parquet
