"""Writing so that nothing good is lost: aside first, then renamed into place."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loci.errors import OutputError


@contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """A path beside `path` to write a file or a folder to; it becomes `path` only if the block ends well.

    A file that was there before is replaced; a folder is replaced only where it is empty. Raises `OutputError` where the place
    cannot be written; what was there before then stays as it was.
    """
    path = Path(path)
    check_writable(path)
    room = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield room / path.name
        (room / path.name).replace(path)
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
