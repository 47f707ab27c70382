"""The one way in for what comes from outside: files, JSON, and records of stated types.

    document = read_json(path, FactError)
        # a whole, finite, shallow JSON document, or one line that says what is wrong
    record = typed(Record, document, path, FactError)
        # its fields, of the types that the class `Record` states

What is wrong is raised as the caller's own subclass of `LociError`: file, field, what was expected,
what stands there. Types are annotations: a `TypedDict` (of `typing_extensions`) whose fields may
say ranges, as in `Annotated[int, Interval(ge=1, le=10**6)]` (`annotated_types`). pydantic checks
them, strictly ("6" and 6.0 are no int), and is imported when the first record is checked.
"""

import json
import math
import os
import re
import stat
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from loci.errors import LociError

T = TypeVar("T")
Failure = type[LociError]

DOCUMENT = 2**26
"""Most bytes of a JSON document that is not a set of facts."""
DATA = 2**31
"""Most bytes of a file of facts or text that is read as a whole."""
DEPTH = 100
"""Most lists and objects inside each other: what is deeper is no record of anything, and code that
recurses would fall over it.
"""
DIGITS = 40
"""Most digits of an integer: tokenizers state a length of 31."""
LEVELS, ENTRIES = 2, 5_000
"""How deep a folder of data is searched, and how many files are looked at on the way."""
SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_bytes(path: str | Path, failure: Failure, most: int = DOCUMENT) -> bytes:
    """All bytes of a regular file. Raises `failure` for what is missing, a folder, a device or a
    pipe, unreadable, or larger.
    """
    data = _beginning(path, failure, most + 1)
    if len(data) > most:
        raise failure(f"{named(path)}: larger than {most:,} bytes, the most that is read here")
    return data


def begins(path: str | Path, with_: bytes, failure: Failure) -> bool:
    """Whether a regular file begins so. Raises `failure` for what `read_bytes` refuses."""
    return _beginning(path, failure, len(with_)) == with_


def _beginning(path: str | Path, failure: Failure, count: int) -> bytes:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise failure(f"{named(path)}: not a regular file ({kind_of(mode)})")
            return file.read(count)
    except OSError as error:
        raise failure(f"{named(path)}: cannot be read ({reason(error)})") from None
    except ValueError as error:  # a path with a NUL, or with half a character
        raise failure(f"{named(path)}: no path ({error})") from None


def is_folder(path: str | Path) -> bool:
    """Whether there is a folder; False too for what can be no path, which reading it then says."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116  Path.is_dir raises for a name that is too long
    except (OSError, ValueError):
        return False


def is_there(path: str | Path) -> bool:
    """Whether there is anything; False too for what can be no path."""
    try:
        os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return False
    return True


def files_below(folder: Path, endings: tuple[str, ...], failure: Failure) -> list[Path]:
    """The files with these endings in a folder and in `LEVELS` levels of folders below it, in the
    order of their paths.

    What is hidden, linked folders, and folders that may not be read are left out. Raises `failure`
    where there are more than `ENTRIES` files to look at: the root of a disk is no folder of data.
    """
    files: list[Path] = []
    seen, level = 0, [folder]
    for _ in range(LEVELS + 1):
        below: list[Path] = []
        for place in level:
            try:
                entries = sorted(place.iterdir())
            except OSError as error:
                if place is folder:
                    raise failure(f"{named(place)}: cannot be read ({reason(error)})") from None
                continue
            seen += len(entries)
            if seen > ENTRIES:
                raise failure(
                    f"{named(folder)}: more than {ENTRIES:,} files below it: name the folder that"
                    " holds the data"
                )
            for entry in entries:
                if (
                    entry.suffix in endings
                    and not is_folder(entry)
                    and not entry.name.startswith(".")
                ):
                    files.append(entry)
                elif is_folder(entry) and not entry.is_symlink() and not entry.name.startswith("."):
                    below.append(entry)
        level = below
    return sorted(files)


def _without_waiting(path: str, flags: int) -> int:
    """Open; a pipe that nobody writes to does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(path: str | Path, failure: Failure, most: int = DOCUMENT) -> str:
    """A file of UTF-8, with or without a byte-order mark. Raises `failure`, with the line of the
    first byte that is none.
    """
    data = read_bytes(path, failure, most)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise failure(
            f"{named(path)}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x})"
        ) from None


def read_json(
    path: str | Path, failure: Failure, most: int = DOCUMENT, *, infinite: bool = False
) -> Any:
    """The document of a JSON file, as `parse_json` takes it."""
    return parse_json(read_text(path, failure, most), named(path), failure, infinite=infinite)


def parse_json(text: str, where: object, failure: Failure, *, infinite: bool = False) -> Any:
    """A JSON document whose strings are text, whose numbers are finite, and which is no deeper than
    `DEPTH`.

    Raises `failure` for what is no JSON, and for a key that stands twice with different values, an
    integer of more than `DIGITS` digits, and (unless `infinite`) NaN and infinity. `where` begins
    the message. Cost: a few times that of `json.loads`.
    """
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_int=_integer)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text.strip() else ""
        raise failure(f"{where}{line}: not JSON ({error.msg}, column {error.colno})") from None
    except RecursionError:
        raise failure(f"{where}: nested more than {DEPTH} deep") from None
    except ValueError as error:
        raise failure(f"{where}: {error}") from None
    _check_tree(document, where, failure, bool(ESCAPED_SURROGATE.search(text)), infinite)
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        for name, value in pairs:
            if repr(entries[name]) != repr(value):
                raise ValueError(f"the key {brief(name)} stands twice in one object")
    return entries


def _integer(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"an integer of {len(text):,} digits")
    return int(text)


def _check_tree(
    document: Any, where: object, failure: Failure, surrogates: bool, infinite: bool
) -> None:
    """Depth, strings and numbers, level by level, without recursion."""
    level, depth = [document], 0
    while level:
        if depth > DEPTH:
            raise failure(f"{where}: nested more than {DEPTH} deep")
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.values()
                if surrogates:
                    below += value.keys()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, float) and not infinite and not math.isfinite(value):
                raise failure(f"{where}: {value} where a finite number should be")
            elif surrogates and isinstance(value, str):
                check_text(value, where, failure)
        level, depth = below, depth + 1


def check_text(text: str, where: object, failure: Failure) -> None:
    """Raise `failure` for half a character (a lone surrogate), which no tokenizer, file or terminal
    takes.
    """
    if SURROGATE.search(text):
        raise failure(f"{where}: {brief(text)} holds half a character (a lone surrogate)")


def typed(kind: type[T], value: Any, where: object, failure: Failure) -> T:
    """`value` as `kind`, if it is one, field by field. Raises `failure`: field, what was expected,
    what stands there.
    """
    from pydantic import ValidationError

    try:
        checked: T = _adapter(cast(Hashable, kind)).validate_python(value, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        expected = _expected(first["type"], first["msg"], first["input"])
        raise failure(f"{where}: {f'{field}: ' if field else ''}{expected}") from None
    return checked


@cache
def _adapter(kind: Hashable) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(cast(Any, kind))


def _expected(kind: str, message: str, value: Any) -> str:
    if kind == "missing":
        return "is missing"
    text = message.removeprefix("Value error, ")
    if text.startswith("Input should be"):
        text = f"expected {text.removeprefix('Input should be ').removeprefix('a valid ')}"
        text = text.replace("dictionary", "object")
    return f"{text}, found {brief(value)}"


def brief(value: object, most: int = 60) -> str:
    """A value for a message: on one line, printable on any terminal, not long."""
    if isinstance(value, (list, dict)) and len(value) > 20:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**most:
        return f"an integer of {int(math.log10(abs(value))) + 1:,} digits"
    try:
        text = (
            ascii(value[: 2 * most])
            if isinstance(value, str) and SURROGATE.search(value)
            else repr(value)
        )
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def one_line(text: str, most: int = 200) -> str:
    """A library's words on one line, printable, and not long."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def named(path: str | Path) -> str:
    """A path for a message: without what a terminal would obey or could not show, and not long."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(path))
    return text if len(text) <= 200 else f"{text[:120]}…{text[-60:]}"


def reason(error: OSError) -> str:
    """Why the system refused, in its own words, without the path."""
    return error.strerror or str(error) or type(error).__name__


def kind_of(mode: int) -> str:
    """The kind of a file, by its mode, in words."""
    kinds = {
        "a folder": stat.S_ISDIR,
        "a device": lambda m: stat.S_ISCHR(m) or stat.S_ISBLK(m),
        "a pipe": stat.S_ISFIFO,
        "a socket": stat.S_ISSOCK,
        "a symbolic link": stat.S_ISLNK,
        "a regular file": stat.S_ISREG,
    }
    return next((name for name, test in kinds.items() if test(mode)), "something else")
