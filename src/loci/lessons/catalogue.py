"""The list of the lessons, read from their files without running them."""

import ast
from dataclasses import dataclass
from pathlib import Path

from loci.errors import LociError

FOLDER = Path(__file__).parent / "notebooks"


@dataclass(frozen=True)
class Lesson:
    """One lesson: its number, title and first sentence, and its file."""

    number: int
    """0 for a reader's own copy whose name begins with none."""
    title: str
    summary: str
    path: Path

    @property
    def name(self) -> str:
        """The name of the file without its number: `store_a_fact`."""
        return self.path.stem.partition("_")[2]

    @property
    def called(self) -> str:
        """`lesson 3`, or the file of a reader's own copy."""
        return f"lesson {self.number}" if self.number else self.path.name


def read_lesson(path: Path) -> Lesson:
    """A lesson by its file, which may be a reader's own copy.

    Raises: `LociError` for a file that is no Python.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) else ""
        raise LociError(f"{path}{line}: this is no Python: {error.args[0]}") from None
    title, _, rest = (ast.get_docstring(tree) or "").partition("\n")
    number = path.stem.partition("_")[0]
    return Lesson(
        int(number) if number.isdigit() else 0, title.strip(), " ".join(rest.split()), path
    )


LESSONS: tuple[Lesson, ...] = tuple(read_lesson(path) for path in sorted(FOLDER.glob("*.py")))


def lesson(which: str) -> Lesson:
    """A lesson by its number or its name.

    Raises: `LociError` for another word.
    """
    for entry in LESSONS:
        if which in (str(entry.number), entry.name, entry.path.name):
            return entry
    there = ", ".join(f"{entry.number} {entry.name}" for entry in LESSONS)
    raise LociError(f"there is no lesson {which!r}: {there}")
