"""Rooms to write in: folders beside a target, locked while their process lives, then tidied."""

import os
import re
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

LOCKS = fcntl is not None
"""Whether this system can lock files."""
PREFIX = ".loci-aside-"

ROOM = re.compile(r"\.loci-aside-(\d+)-\w+")

OWNER = "owner"

MAGIC = b"Loci is writing beside this file; the folder is removed when its process has ended.\n"

YOUNG = 60.0
"""Seconds in which a room without an owner may yet be about to get one."""


@contextmanager
def room_in(parent: Path) -> Iterator[Path]:
    """A folder of one's own to write in, gone after the block; first those of processes that were
    killed are removed.
    """
    tidy(parent)
    room = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    try:
        lock = _own(room)
        try:
            yield room
        finally:
            _remove_room(room)
            os.close(lock)
    finally:
        _remove_room(room)


def _own(room: Path) -> int:
    """Put the owner's file into a room: locked before it has its name, so that a room with an owner
    is in use or left behind.
    """
    new = room / f"{OWNER}.new"
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(handle, MAGIC)
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks: nothing is tidied there
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    new.rename(room / OWNER)
    return handle


def _remove_room(room: Path) -> None:
    """All in it, the owner's file last: killed in between, the rest is still known as one's own."""
    with suppress(OSError):
        for part in room.iterdir():
            if part.name == OWNER:
                continue
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)
        (room / OWNER).unlink(missing_ok=True)
        room.rmdir()


def tidy(folder: Path) -> None:
    """Remove the rooms that killed processes left in a folder, and nothing else; what cannot be
    removed stays.
    """
    if fcntl is None:
        return
    with suppress(OSError, ValueError):
        for room in [entry for entry in folder.iterdir() if ROOM.fullmatch(entry.name)]:
            if not room.is_symlink():
                with suppress(OSError):
                    _tidy_room(room)


def _tidy_room(room: Path) -> None:
    there = {part.name for part in room.iterdir()}
    if OWNER in there:
        handle = os.open(room / OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if os.read(handle, len(MAGIC) + 1) == MAGIC:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_room(room)
        finally:
            os.close(handle)
    elif there <= {f"{OWNER}.new"} and (_gone(room) or time.time() - room.stat().st_mtime > YOUNG):
        _remove_room(room)  # killed before it had an owner, or after


def _gone(room: Path) -> bool:
    """Whether the process that a room names has ended."""
    match = ROOM.fullmatch(room.name)
    try:
        os.kill(int(match[1]) if match else 0, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    return False


def locked(path: Path, busy: str) -> int:
    """An open handle of the lock file, locked; again where its owner removed it in between."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise OutputError(busy) from None
        except OSError:  # a file system without locks
            return handle
        os.close(handle)
