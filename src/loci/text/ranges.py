"""Ranges of a text, by content: what each part of a long pass reads, from wherever it runs.

    for piece in cut("wiki.jsonl", 262_144): ...  # the text from one end to the other, once
    texts = read_range("wiki.jsonl", piece)       # that range alone; .txt and .jsonl: no byte
                                                  before it is read

A piece names a range of bytes of a .txt or .jsonl file, ending at a line, or a range of numbers of
the texts elsewhere; how many texts stand before it; and a hash of what it holds. Texts are the
same, and in the same order, as `read_texts` gives them; but a line that is no text stands here in
its place with its fault, as a text of a long pass should not end it.
"""

import hashlib
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from loci.errors import ModelError
from loci.facts import corpus
from loci.text.files import COLUMN, read_texts
from loci.validate import begins, is_folder, is_there, named, parse_json

LINES = (".txt", ".jsonl")


class Piece(NamedTuple):
    """A range [start, stop) of bytes, or of texts by number."""

    start: int
    stop: int
    first: int
    """Number of its first text."""
    texts: int
    characters: int
    digest: str


class Given(NamedTuple):
    """A text as it stands in its source; `fault`: why it is none."""

    text: str
    place: str
    fault: str | None = None


def cut(path: Path | None, size: int, limit: int | None = None) -> Iterator[Piece]:
    """The text of a file, or the embedded one, in pieces of about `size` characters; no more once
    `limit` of them are reached.

    Cost: the text is read once, a piece at a time. Raises `ModelError` as `read_texts` does, but
    for single lines that are no text.
    """
    first = reached = 0
    for start, stop, given, digest in _blocks(path, size):
        characters = sum(len(item.text) for item in given)
        if given:
            yield Piece(start, stop, first, len(given), characters, digest)
        first, reached = first + len(given), reached + characters
        if limit is not None and reached >= limit:
            break
    if not first:
        raise ModelError(
            f"{'the embedded text' if path is None else named(path)}: there is no text in it"
        )


def read_range(path: Path | None, piece: Piece) -> list[Given]:
    """The texts of a piece. Raises `ModelError` where they are no longer what was cut."""
    where = "the embedded text" if path is None else named(path)
    if path is not None and path.suffix in LINES and not is_folder(path):
        try:
            with path.open("rb") as file:
                file.seek(piece.start)
                data = file.read(piece.stop - piece.start)
        except OSError as error:
            raise ModelError(f"{where}: cannot be read ({error.strerror})") from None
        given, digest = _lines(path, data, piece.start), _digest(data)
    else:
        texts = _READER.read(path, piece.start, piece.stop)
        given, digest = _numbered(texts, piece.start, where), _digest_of(texts)
    if digest != piece.digest:
        raise ModelError(
            f"{where}: the text has changed since the plan was made (texts {piece.first:,} and on):"
            " make a new plan"
        )
    return given


def _blocks(path: Path | None, size: int) -> Iterator[tuple[int, int, list[Given], str]]:
    if path is None or is_folder(path) or path.suffix not in LINES:
        yield from _numbers(path, size)
        return
    if not is_there(path):
        raise ModelError(f"{named(path)}: there is no such file")
    begins(path, b"", ModelError)
    start = 0
    with path.open("rb") as file:
        while data := file.read(size):
            data += file.readline()
            yield start, start + len(data), _lines(path, data, start), _digest(data)
            start += len(data)


def _numbers(path: Path | None, size: int) -> Iterator[tuple[int, int, list[Given], str]]:
    where = "the embedded text" if path is None else named(path)
    texts: list[str] = []
    start = length = 0
    for text in _stream(path):
        texts.append(text)
        length += len(text)
        if length >= size:
            yield start, start + len(texts), _numbered(texts, start, where), _digest_of(texts)
            start, length, texts = start + len(texts), 0, []
    if texts:
        yield start, start + len(texts), _numbered(texts, start, where), _digest_of(texts)


def _stream(path: Path | None) -> Iterator[str]:
    return iter(corpus()) if path is None else read_texts(path)


class _RangeReader:
    """Reads ranges of texts that can only be streamed. Ranges in their order cost one pass over the
    source.
    """

    def __init__(self) -> None:
        self._at: tuple[Path | None, int] | None = None
        self._texts: Iterator[str] = iter(())

    def read(self, path: Path | None, start: int, stop: int) -> list[str]:
        if self._at is None or self._at[0] != path or self._at[1] > start:
            self._at, self._texts = (path, 0), _stream(path)
        skipped = start - self._at[1]
        self._at = None  # until all went well
        texts = list(islice(self._texts, skipped, skipped + stop - start))
        self._at = (path, stop)
        return texts


_READER = _RangeReader()


def _numbered(texts: list[str], start: int, where: str) -> list[Given]:
    return [Given(text, f"{where}, text {start + i + 1}") for i, text in enumerate(texts)]


def _lines(path: Path, data: bytes, start: int) -> list[Given]:
    """The texts of whole lines; blank ones are left out."""
    texts = []
    try:
        lines = list(TextIOWrapper(BytesIO(data), encoding="utf-8"))
    except UnicodeDecodeError:
        lines = [line.decode("utf-8", "surrogateescape") for line in data.splitlines()]
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\n")
        if line.strip():
            place = (
                f"{named(path)}, line {number} behind byte {start:,}"
                if start
                else f"{named(path)}, line {number}"
            )
            item = _json(line, place) if path.suffix == ".jsonl" else Given(line, place)
            if any(0xDC80 <= ord(char) <= 0xDCFF for char in item.text):
                item = Given("", place, "not UTF-8")
            if item.text.strip() or item.fault:
                texts.append(item)
    return texts


def _json(line: str, place: str) -> Given:
    try:
        row = parse_json(line, place, ModelError, infinite=True)
    except ModelError as error:
        return Given("", place, str(error).removeprefix(f"{place}: "))
    text = row.get(COLUMN) if isinstance(row, dict) else None
    return (
        Given(text, place)
        if isinstance(text, str)
        else Given("", place, f'expected an object with a "{COLUMN}"')
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_of(texts: list[str]) -> str:
    """A hash of texts, each with its length."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
