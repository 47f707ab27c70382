"""Text files, streamed one text at a time.

.txt has a text in each line, .jsonl a "text" in each line, .parquet and datasets on disk a column
"text".
"""

from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

from loci.errors import ModelError
from loci.validate import (
    begins,
    brief,
    files_below,
    is_folder,
    is_there,
    named,
    one_line,
    parse_json,
)

COLUMN = "text"


def read_texts(path: str | Path) -> Iterator[str]:
    """The texts of a file or of a dataset's folder, one after the other; empty ones are left out.

    Memory: one row group at most. Raises `ModelError` for a file that cannot be read, has no texts,
    or a line without one.
    """
    path = Path(path)
    readers = {".txt": _lines, ".jsonl": _json_lines, ".parquet": _parquet}
    if not is_there(path):
        raise ModelError(f"{named(path)}: there is no such file")
    folder = is_folder(path)
    if not folder and path.suffix not in readers:
        raise ModelError(
            f"{named(path)}: text ends in {', '.join(readers)}, or is a folder with .arrow or"
            " .parquet files"
        )
    if not folder:
        begins(path, b"", ModelError)
    texts = (
        text for text in (_folder(path) if folder else readers[path.suffix](path)) if text.strip()
    )
    first = next(texts, None)
    if first is None:
        raise ModelError(f"{path}: there is no text in it")
    return chain([first], texts)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as lines:
            yield from (line.rstrip("\n") for line in lines)
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read as text in UTF-8 ({error})") from None


def _json_lines(path: Path) -> Iterator[str]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{named(path)}, line {number}"
        row = parse_json(line, where, ModelError, infinite=True)
        text = row.get(COLUMN) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise ModelError(f'{where}: expected an object with a "{COLUMN}"')
        yield text


def _parquet(path: Path) -> Iterator[str]:
    parquet = _arrow("pyarrow.parquet")
    yield from _column(path, lambda: parquet.ParquetFile(path).iter_batches(columns=[COLUMN]))


def _folder(path: Path) -> Iterator[str]:
    """A dataset on disk: its shards in order of their names."""
    ipc = _arrow("pyarrow.ipc")
    for shard in files_below(path, (".arrow", ".parquet"), ModelError):
        yield from (
            _parquet(shard)
            if shard.suffix == ".parquet"
            else _column(shard, lambda shard=shard: ipc.open_stream(shard))
        )


def _column(path: Path, batches: Any) -> Iterator[str]:
    try:
        for batch in batches():
            for text in batch.column(COLUMN).to_pylist():
                if text is not None and not isinstance(text, str):
                    raise ModelError(
                        f'{named(path)}: the column "{COLUMN}" holds {brief(text)} where text'
                        " should be"
                    )
                yield text or ""
    except ModelError:
        raise
    except Exception as error:  # whatever pyarrow makes of a broken file
        raise ModelError(
            f'{named(path)}: no column "{COLUMN}" can be read from it ({one_line(str(error))})'
        ) from error


def _arrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise ModelError("reading this needs loci-lm[tables]") from None
