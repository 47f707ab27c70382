"""Writing so that nothing good is lost: aside first, then to the disk, then renamed into place.

Killed at any moment, or out of room, what was there before is there still, whole; after the rename the new one is. A rename within one
folder is atomic (POSIX); `fsync` before it makes the content safe from a crash of the machine, `fsync` of the folder the name.
"""

import glob
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loci.errors import OutputError

try:
    import fcntl
except ImportError:  # no such locks on this system: what a killed process left is not tidied away
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
YOUNG = 60.0
"""Seconds in which a room without an owner may yet be about to get one."""


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; it becomes `path` only if the block ends well.

    A file that was there before is replaced; a folder is replaced only where it is empty. Raises `OutputError` where the place
    cannot be written; what was there before then stays as it was.
    """
    path = Path(path)
    check_writable(path)
    _tidy(path)
    room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with _owned(room):
            yield room / path.name
            _to_disk(room / path.name)
            (room / path.name).replace(path)
            _sync(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(room, ignore_errors=True)


def check_writable(path: str | Path) -> None:
    """Refuse early, before long work: the folder above `path` is made where it is missing and must take new files."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"{path}: there is a folder with files in it; name a new one")


def _to_disk(path: Path) -> None:
    """All bytes of a file, or of a folder's files, on the disk and not only on their way."""
    for part in (*path.rglob("*"), path):
        _sync(part)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _owned(room: Path) -> Iterator[None]:
    """Hold a lock in the room while it is in use; it falls with the process, however that ends."""
    with (room / LOCK).open("w") as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _tidy(path: Path) -> None:
    """Remove the rooms that killed processes left beside `path`."""
    if fcntl is None:
        return
    for room in path.parent.glob(f".{glob.escape(path.name)}.*"):
        with suppress(OSError), (room / LOCK).open() as lock:
            if time.time() - room.stat().st_mtime > YOUNG:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(room)
