"""Writing so that nothing good is lost: aside first, then to the disk, then renamed into place.

Killed at any moment, or out of room, what was there before is there still, whole; after the rename
the new one is. A rename within one folder is atomic (POSIX); `fsync` before it makes the content
safe from a crash of the machine, `fsync` of the folder the name.

    .loci-aside-PID-RANDOM/     beside the target: the room of one write
        owner                   a line that nobody else writes, locked as long as its process lives
        NAME                    what is being written

The next write into that folder removes the rooms whose lock has fallen, and nothing else. Only
regular files and empty folders are replaced, never a device, a pipe or a socket; a symbolic link is
followed; the mode of what was there is kept.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from loci.asides import LOCKS, locked, room_in, tidy
from loci.errors import OutputError
from loci.validate import kind_of, named, reason

NO_ROOM = (
    "No space left",
    "Disk quota exceeded",
    "File too large",
    "os error 28",
    "os error 27",
    "os error 122",
)
"""A full disk in the words of libraries that have no error class for it."""


@contextmanager
def write_aside(path: str | Path, *, folder: bool = False) -> Iterator[Path]:
    """A path beside `path` to write a file (or a `folder`) to; it becomes `path` only if the block
    ends well.

    A file that was there before is replaced and its mode kept; a folder is replaced only where it
    is empty. Raises `OutputError` where the place cannot be written; what was there before then
    stays as it was, and parent folders that were made go again.
    """
    with _as_output_error(path):
        tidy(Path(path).parent)
        target = _target(path, folder)
        made = _make_parents(target.parent)
    try:
        with _as_output_error(path), room_in(target.parent) as room:
            yield room / target.name
            _like(target, room / target.name)
            _to_disk(room / target.name)
            (room / target.name).replace(target)
            _sync(target.parent)
    except BaseException:
        _remove_empty(made)
        raise


def check_writable(path: str | Path, *, folder: bool = False) -> None:
    """Refuse early, before long work, what `write_aside` would refuse late: tried for real, and
    nothing is left behind.
    """
    with _as_output_error(path):
        tidy(Path(path).parent)
        target = _target(path, folder)
        made = _make_parents(target.parent)
        try:
            with room_in(target.parent) as room:
                (room / target.name).touch()
        finally:
            _remove_empty(made)


@contextmanager
def made_folder(path: str | Path) -> Iterator[Path]:
    """The folder, made where it is missing; what was made goes again after an error, where it is
    empty. Raises `OutputError`.
    """
    folder = Path(path)
    with _as_output_error(path):
        made = _make_parents(folder)
        if not folder.is_dir():
            raise OutputError(f"{named(path)}: there is a file of this name; name a new folder")
    try:
        yield folder
    except BaseException:
        _remove_empty(made)
        raise


@contextmanager
def exclusive(path: str | Path, busy: str) -> Iterator[None]:
    """Hold the lock file `path` in the block. Raises `OutputError` with `busy` where another
    process holds it.

    The lock falls with the process, however that ends; the file of one that was killed is taken
    over, and removed at the end.
    """
    path = Path(path)
    if not LOCKS:
        yield
        return
    with _as_output_error(path):
        handle = locked(path, busy)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a regular file, whole or not at all. Raises `OutputError`."""
    with _as_output_error(path):
        handle = os.open(
            path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666
        )
        try:
            mode = os.fstat(handle).st_mode
            if not stat.S_ISREG(mode):
                raise OutputError(
                    f"{named(path)}: not a regular file ({kind_of(mode)}); name another"
                )
            size, data = os.fstat(handle).st_size, f"{line}\n".encode()
            try:
                while data:
                    data = data[os.write(handle, data) :]
            except OSError:
                os.ftruncate(handle, size)
                raise
        finally:
            os.close(handle)


def cache_folder() -> Path | None:
    """Where what was computed once is kept: `LOCI_CACHE`, `XDG_CACHE_HOME/loci`, or
    `~/.cache/loci`; None where there is no home.

    An empty `LOCI_CACHE` keeps nothing. An empty or relative `HOME` is none: the password file's
    counts then.
    """
    folder = os.environ.get("LOCI_CACHE")
    if folder is not None:
        return Path(folder) if folder else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):  # noqa: PTH117  what is empty is not absolute
        return Path(base) / "loci"
    home = _home()
    return None if home is None else home / ".cache" / "loci"


def _home() -> Path | None:
    folder = os.environ.get("HOME", "") if os.name == "posix" else str(Path.home())
    if not os.path.isabs(folder):  # noqa: PTH117
        try:
            import pwd

            folder = pwd.getpwuid(os.getuid()).pw_dir
        except (ImportError, KeyError):
            return None
    home = Path(folder)
    return home if home.is_absolute() and home.is_dir() else None


def _target(path: str | Path, folder: bool) -> Path:
    """The place itself, behind symbolic links. Raises `OutputError` for what is there and must not
    be replaced.
    """
    target = Path(path)
    if not target.name or target.name == "..":
        raise OutputError(
            f"{named(path)!r}: no name for {'a folder' if folder else 'a file'}; name a new one"
        )
    target = (
        Path(os.path.realpath(target, strict=target.exists())) if target.is_symlink() else target
    )
    try:
        mode = target.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return target
    if stat.S_ISDIR(mode):
        if any(target.iterdir()):
            raise OutputError(f"{named(path)}: there is a folder with files in it; name a new one")
        if not folder:
            raise OutputError(f"{named(path)}: there is a folder of this name; name a file")
    elif not stat.S_ISREG(mode):
        raise OutputError(
            f"{named(path)}: not a regular file ({kind_of(mode)}), which is never replaced; name"
            " another"
        )
    elif folder:
        raise OutputError(f"{named(path)}: there is a file of this name; name a new folder")
    return target


def _make_parents(folder: Path) -> list[Path]:
    """Make the folder and those above it; what was made, the innermost first."""
    made: list[Path] = []
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    try:
        for part in reversed(missing):
            with suppress(FileExistsError):  # another process made it meanwhile
                part.mkdir()
                made.insert(0, part)
    except BaseException:
        _remove_empty(made)
        raise
    return made


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _as_output_error(path: str | Path) -> Iterator[None]:
    """Turns what the system refuses, and a library's words for a full disk, into an `OutputError`
    of one line.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{named(path)}: cannot be written ({reason(error)})") from error
    except Exception as error:
        message = str(error)
        if isinstance(error, ValueError) and (
            "null byte" in message or "surrogates not allowed" in message
        ):
            raise OutputError(f"{named(path)}: cannot be written ({message})") from None
        full = next((words for words in NO_ROOM if words in message), None)
        if full is None:
            raise
        raise OutputError(
            f"{named(path)}: cannot be written"
            f" ({full if 'os error' not in full else 'no space left'})"
        ) from error


def _like(old: Path, new: Path) -> None:
    """The mode (and, where it may be given, the owner) of the file that is about to be replaced."""
    if not old.is_file() or not new.is_file():
        return
    was = old.stat()
    with suppress(OSError, AttributeError):
        if (was.st_uid, was.st_gid) != (new.stat().st_uid, new.stat().st_gid):
            os.chown(new, was.st_uid, was.st_gid)
    new.chmod(stat.S_IMODE(was.st_mode))


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
