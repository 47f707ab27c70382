"""Text to run a model on: files, streamed; and where the user has none, the embedded text, always in the same order.

.txt has a text in each line, .jsonl a "text" in each line, .parquet and datasets on disk a column "text".
"""

import random
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from heapq import nlargest
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from loci.errors import ModelError
from loci.facts import corpus
from loci.model import Model
from loci.model.generation import generate
from loci.validate import begins, brief, files_below, is_folder, is_there, named, one_line, parse_json

COLUMN = "text"


def read_texts(path: str | Path) -> Iterator[str]:
    """The texts of a file or of a dataset's folder, one after the other; empty ones are left out.

    Memory: one row group at most. Raises `ModelError` for a file that cannot be read, has no texts, or a line without one.
    """
    path = Path(path)
    readers = {".txt": _lines, ".jsonl": _json_lines, ".parquet": _parquet}
    if not is_there(path):
        raise ModelError(f"{named(path)}: there is no such file")
    folder = is_folder(path)
    if not folder and path.suffix not in readers:
        raise ModelError(f"{named(path)}: text ends in {', '.join(readers)}, or is a folder with .arrow or .parquet files")
    if not folder:
        begins(path, b"", ModelError)
    texts = (text for text in (_folder(path) if folder else readers[path.suffix](path)) if text.strip())
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
        yield from _parquet(shard) if shard.suffix == ".parquet" else _column(shard, lambda shard=shard: ipc.open_stream(shard))


def _column(path: Path, batches: Any) -> Iterator[str]:
    try:
        for batch in batches():
            for text in batch.column(COLUMN).to_pylist():
                if text is not None and not isinstance(text, str):
                    raise ModelError(f'{named(path)}: the column "{COLUMN}" holds {brief(text)} where text should be')
                yield text or ""
    except ModelError:
        raise
    except Exception as error:  # whatever pyarrow makes of a broken file
        raise ModelError(f'{named(path)}: no column "{COLUMN}" can be read from it ({one_line(str(error))})') from error


def _arrow(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise ModelError("reading this needs loci-lm[tables]") from None


@cache
def _sentences() -> tuple[str, ...]:
    """The embedded text in one seeded order."""
    sentences = corpus()
    random.Random(0).shuffle(sentences)
    return tuple(sentences)


def sample_text(model: Model, tokens: int) -> list[str]:
    """As many sentences of the embedded text as hold `tokens` tokens of this model; always the same ones, in a shuffled order."""
    chosen: list[str] = []
    count = 0
    for sentence in _sentences():
        if count >= tokens:
            break
        chosen.append(sentence)
        count += len(model.tokenize(sentence))
    return chosen


@torch.no_grad()
def own_texts(model: Model, count: int, *, length: int = 64, seed: int = 0) -> list[str]:
    """`count` texts that the model samples itself, each of at most `length` tokens: what it takes text to be, where there is none.

    Raises `ModelError` for a model without a BOS to begin with.
    """
    if not model.with_bos:
        raise ModelError(f"{model.name!r} has no BOS to begin a text of its own with: give a text")
    begin = model.ids([model.tokenize("a").ids[:1]])
    texts: list[str] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while len(texts) < count:
            rows = begin.expand(min(64, count - len(texts)), -1)
            made = generate(model, rows, length, sample=True)
            texts += [str(model.tokenizer.decode(row, skip_special_tokens=True)) for row in made]
    return texts


def sentences(count: int) -> list[str]:
    """The first `count` sentences of the embedded text, in its shuffled order."""
    return list(_sentences()[:count])


def beginnings(count: int, seed: int = 0) -> list[str]:
    """`count` different beginnings of sentences of the embedded text, one to six words each: what may stand before a subject."""
    rng = random.Random(seed)
    found: dict[str, None] = {}
    for sentence in _sentences():
        if len(found) >= count:
            break
        found.setdefault(" ".join(sentence.split()[: rng.randint(1, 6)]))
    return list(found)


@cache
def openings(count: int) -> list[str]:
    """The beginnings of sentences of the embedded text, of at most eight words, that the most different words follow: before a subject."""
    next_words: dict[str, set[str]] = defaultdict(set)
    for sentence in sentences(15_000):
        words = sentence.split()
        for n in range(1, min(len(words), 9)):
            next_words[" ".join(words[:n])].add(words[n])
    return nlargest(count, next_words, key=lambda opening: len(next_words[opening]))
