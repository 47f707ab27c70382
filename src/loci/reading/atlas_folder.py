"""An atlas's folder: which files it has, whose they are, and whether they are whole.

provenance.json       whose atlas, and of every table its size and its hash; written last
survey.safetensors    the pass over the text, while the atlas is built
shards/               the same in parts, where workers make it
source.txt            what the text is, in words, while the atlas is built
.loci-building        the lock of the process that builds it
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NotRequired

from annotated_types import Interval
from typing_extensions import TypedDict

from loci.asides import ROOM
from loci.errors import ModelError, OutputError
from loci.files import check_writable, exclusive, made_folder, write_aside
from loci.validate import brief, is_folder, is_there, named, read_json, read_text, typed

SCHEMA = "loci.atlas/1"
PROVENANCE, CHECKPOINT, SHARDS, SOURCE, LOCK = (
    "provenance.json",
    "survey.safetensors",
    "shards",
    "source.txt",
    ".loci-building",
)
TABLES = ("neurons", "values", "triggers", "histograms", "texts")
COLUMNS = {
    "neurons": {
        "number": (
            "layer neuron cosine key_norm value_norm threshold firing_rate mean max q90 q99 cluster"
        ),
        "true or false": "dead always_on agrees",
        "list": "nearest nearest_cosine",
    },
    "values": {"number": "layer neuron rank token_id score", "text": "word side token"},
    "triggers": {
        "number": "layer neuron rank text position activation",
        "text": "word before token after",
    },
    "histograms": {"number": "layer neuron", "list": "counts"},
    "texts": {"number": "text", "text": "content"},
}
"""The columns that are read of each table, by their kind."""
HASHED = 2**28
"""Bytes of tables that are hashed on opening; of larger ones the sizes are compared."""


class TableFile(TypedDict):
    """A table as it was written."""

    bytes: Annotated[int, Interval(ge=0)]
    sha256: str


class Provenance(TypedDict):
    """Whose atlas, of which text, with which settings."""

    schema: str
    model: str
    weights: str
    bos: bool
    layers: Annotated[int, Interval(ge=1, le=10_000)]
    d_mlp: Annotated[int, Interval(ge=1, le=10**8)]
    text: str
    texts: Annotated[int, Interval(ge=1, le=10**12)]
    tokens: Annotated[int, Interval(ge=1, le=10**15)]
    triggers: Annotated[int, Interval(ge=1, le=10_000)]
    histogram_of: str
    clusters: Annotated[int, Interval(ge=1, le=10_000)]
    projection: str
    files: NotRequired[dict[str, TableFile]]


@contextmanager
def building(folder: Path, source: str) -> Iterator[bool]:
    """Hold a folder while an atlas is built in it: false where a build was killed behind its
    last file, and nothing is left to do.

    Raises `OutputError` for a folder with another atlas, with files that are no atlas, or in which
    another process builds. After an error the folder is as it was, but for the pass over the text
    where that had a checkpoint.
    """
    with made_folder(folder):
        check_writable(folder / PROVENANCE)
        with exclusive(
            folder / LOCK,
            f"{named(folder)}: another process is building an atlas there; name a new folder, or "
            "wait",
        ):
            if _finished(folder):
                yield False
                return
            _check_strangers(folder)
            _note(folder, source)
            try:
                yield True
            except BaseException:
                if not any((folder / name).exists() for name in (CHECKPOINT, SHARDS)):
                    (folder / SOURCE).unlink(missing_ok=True)
                raise


def finish(folder: Path, provenance: dict[str, Any]) -> None:
    """Write the provenance, with what the tables are, and remove what served the building."""
    files = {name: _described(folder / f"{name}.parquet") for name in TABLES}
    with write_aside(folder / PROVENANCE) as aside:
        aside.write_text(json_line({**provenance, "files": files}), encoding="utf-8")
    _remove_scaffold(folder)


def json_line(document: dict[str, Any]) -> str:
    import json

    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _finished(folder: Path) -> bool:
    """Whether a build was killed between its last file and the removal of what served it.

    Raises `OutputError` for a whole atlas.
    """
    if not (folder / PROVENANCE).exists():
        return False
    if not any((folder / name).exists() for name in (CHECKPOINT, SHARDS, SOURCE)):
        raise OutputError(
            f"{named(folder)}: there is a finished atlas in it; name a new folder, or delete it"
        )
    _remove_scaffold(folder)
    return True


def _remove_scaffold(folder: Path) -> None:
    shutil.rmtree(folder / SHARDS, ignore_errors=True)
    for name in (CHECKPOINT, SOURCE):
        (folder / name).unlink(missing_ok=True)


def _check_strangers(folder: Path) -> None:
    own = {CHECKPOINT, SHARDS, SOURCE, LOCK, *(f"{name}.parquet" for name in TABLES)}
    strange = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in own and not ROOM.fullmatch(path.name)
    )
    if strange:
        raise OutputError(
            f"{named(folder)}: there are other files in it ({', '.join(map(named, strange[:3]))}); "
            "name a new folder"
        )


def _note(folder: Path, source: str) -> None:
    """Say whose half-built atlas this is; another text's is refused where there is a pass over
    it to lose."""
    note = folder / SOURCE
    if note.exists() and any((folder / name).exists() for name in (CHECKPOINT, SHARDS)):
        earlier = read_text(note, OutputError)
        if earlier != source:
            raise OutputError(
                f"{named(folder)}: a half-built atlas of another text is in it ({earlier}); name a "
                "new folder"
            )
    with write_aside(note) as aside:
        aside.write_text(source, encoding="utf-8")


def read_provenance(folder: Path) -> dict[str, Any]:
    """The provenance of a finished atlas whose tables are all there and as they were written.

    Raises `ModelError`.
    """
    path = folder / PROVENANCE
    if not is_there(path):
        half = any(is_there(folder / name) for name in (CHECKPOINT, SHARDS))
        raise ModelError(
            f"{named(folder)}: the atlas is half-built; build it again with the same text and it "
            "goes on"
            if half
            else f"{named(folder)}: there is no atlas"
        )
    document = read_json(path, ModelError)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ModelError(f"{named(folder)}: {PROVENANCE} is not that of an atlas")
    typed(Provenance, document, named(path), ModelError)
    missing = [name for name in TABLES if not is_there(folder / f"{name}.parquet")]
    if missing:
        raise ModelError(
            f"{named(folder)}: the atlas lacks {', '.join(missing)}.parquet; build it again"
        )
    _check_tables(folder, document.get("files"))
    return document


def _check_tables(folder: Path, files: dict[str, TableFile] | None) -> None:
    if files is None:
        return
    total = sum(record["bytes"] for record in files.values())
    for name in TABLES:
        path = folder / f"{name}.parquet"
        if name not in files:
            raise ModelError(f"{named(folder / PROVENANCE)}: files.{name} is missing")
        if is_folder(path) or path.stat().st_size != files[name]["bytes"]:
            raise ModelError(
                f"{named(path)}: the table is broken ({files[name]['bytes']:,} bytes were "
                "written); build it again"
            )
        if total <= HASHED and _described(path)["sha256"] != files[name]["sha256"]:
            raise ModelError(
                f"{named(path)}: the table is broken (not what was written); build it again"
            )


def _described(path: Path) -> TableFile:
    try:
        with path.open("rb") as file:
            return {
                "bytes": path.stat().st_size,
                "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
            }
    except OSError as error:
        raise ModelError(f"{named(path)}: cannot be read ({error.strerror})") from None


def check_columns(name: str, present: dict[str, str], folder: Path) -> None:
    """Raise `ModelError` where a table lacks a column that is read, or has one of another kind.

    `present`: DuckDB's types by column.
    """
    for kind, columns in COLUMNS[name].items():
        for column in columns.split():
            if column not in present or _kind(present[column]) != kind:
                there = f"of type {brief(present[column])}" if column in present else "not there"
                raise ModelError(
                    f"{named(folder / f'{name}.parquet')}: {column}: expected {kind}, {there}; "
                    "build the atlas again"
                )


def _kind(type_: str) -> str:
    if type_.endswith("[]"):
        return "list"
    return {"VARCHAR": "text", "BOOLEAN": "true or false"}.get(
        type_, "number" if type_ in NUMBERS else "something else"
    )


NUMBERS = {
    "BIGINT",
    "INTEGER",
    "SMALLINT",
    "TINYINT",
    "UBIGINT",
    "UINTEGER",
    "USMALLINT",
    "UTINYINT",
    "DOUBLE",
    "FLOAT",
}
