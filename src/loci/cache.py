"""Results that Loci has computed once and keeps on disk: shown, cleared, and held below a size.

    CACHE/gguf     models of GGUF files, as folders  CACHE/texts    what models sampled
    CACHE/moments  second moments of keys            CACHE/surveys
                   passes by workers that have not ended

Nothing else in the folder is ever touched. Everything can be made again. `LOCI_CACHE_LIMIT` says
how many GB are kept (50 by default, 0 for no limit): what was not used for longest goes first, and
nothing goes that was used within the last hour.
"""

import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loci.asides import ROOM
from loci.errors import OutputError
from loci.files import cache_folder

KINDS = {
    "gguf": "models of GGUF files",
    "moments": "second moments of keys, which edits need",
    "texts": "what models sampled",
    "surveys": "passes by workers that have not ended",
}
LIMIT = 50.0
"""GB that are kept where nothing else is said."""
IN_USE = 3600.0
"""Seconds after its last use in which an entry is never removed to make room."""


@dataclass(frozen=True)
class Entry:
    """One file or folder of the cache."""

    kind: str
    path: Path
    bytes: int
    used: float
    """Seconds since 1970."""


def entries(folder: Path | None = None) -> list[Entry]:
    """All that is kept, the least recently used first. Cost: a look at every file."""
    base = folder if folder is not None else cache_folder()
    entries: list[Entry] = []
    if base is None:
        return entries
    for kind in KINDS:
        with suppress(OSError):  # not there
            for path in (base / kind).iterdir():
                with suppress(OSError):  # gone meanwhile
                    if not ROOM.fullmatch(path.name):
                        entries.append(Entry(kind, path, _size(path), path.lstat().st_mtime))
    return sorted(entries, key=lambda entry: (entry.used, entry.path))


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(_size(part) for part in path.iterdir())
    return path.lstat().st_size


def limit_bytes() -> int | None:
    """How much is kept; None where there is no limit. Raises `OutputError` for a `LOCI_CACHE_LIMIT`
    that is no number.
    """
    setting = os.environ.get("LOCI_CACHE_LIMIT", "").strip()
    try:
        gigabytes = float(setting) if setting else LIMIT
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < 1e9:
        raise OutputError(
            f"LOCI_CACHE_LIMIT={setting!r}: expected a number of GB, or 0 for no limit"
        )
    return round(gigabytes * 1e9) if gigabytes else None


def mark_used(path: Path) -> None:
    """Note that an entry is in use; where that cannot be noted, it only goes sooner."""
    with suppress(OSError):
        os.utime(path)


def trim() -> list[Entry]:
    """Remove what was not used for longest until the rest is below the limit. Returns: what went. A
    bad limit removes nothing.
    """
    try:
        most = limit_bytes()
    except OutputError:
        return []
    there = entries() if most is not None else []
    total, gone = sum(entry.bytes for entry in there), list[Entry]()
    for entry in there:
        if most is None or total <= most or time.time() - entry.used < IN_USE:
            break
        total -= entry.bytes
        gone += remove([entry])
    return gone


def remove(chosen: Iterable[Entry]) -> list[Entry]:
    """Remove entries. Returns: those that are gone."""
    gone = []
    for entry in chosen:
        if entry.path.is_dir() and not entry.path.is_symlink():
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            with suppress(OSError):
                entry.path.unlink()
        if not entry.path.exists() and not entry.path.is_symlink():
            gone.append(entry)
    return gone


def summary(there: Iterable[Entry]) -> list[dict[str, Any]]:
    """Entries and bytes of each kind."""
    by_kind: dict[str, list[Entry]] = {kind: [] for kind in KINDS}
    for entry in there:
        by_kind[entry.kind].append(entry)
    return [
        {
            "kind": kind,
            "what": KINDS[kind],
            "entries": len(entries),
            "bytes": sum(entry.bytes for entry in entries),
        }
        for kind, entries in by_kind.items()
    ]
