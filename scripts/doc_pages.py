"""Pages of documentation as data: their steps, and the outputs they print."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
"""Pages that are run as they are printed."""
RESULTS = tuple(sorted((ROOT / "docs" / "results").glob("*.md")))
"""Pages of measurements: read and checked, and run only where `--results` says so (hours)."""
STATED = re.compile(r"^#\s*(?:about )?([\d.]+) (s|min)\b")
FILES = re.compile(r"\.(csv|jsonl?|safetensors|parquet|html|txt|png|svg)$")
SETUP = ("make", "source", "pip", "python3", "git")
WRITES = ("-o", "--out", "--save", "--patch", "--resume", "--cases", "--models", "--vectors")
"""Options whose value a command writes (`--patch` only of `write install`)."""


@dataclass
class Output:
    """A printed output: the lines of a block ```` ```output N ````, N the lines to keep at most."""

    first: int
    """Index of its first line in the page, from 0."""
    lines: list[str]
    limit: int | None

    @property
    def words(self) -> set[str]:
        """Words of three letters and more: what an output keeps on every machine."""
        return set(re.findall(r"[^\W\d_]{3,}", "\n".join(self.lines)))

    def shown(self, text: str) -> list[str]:
        """The lines of an actual output as the page shows them."""
        lines = [line.rstrip() for line in text.strip("\n").splitlines()]
        if self.limit is not None and len(lines) > self.limit:
            lines = [*lines[: self.limit], "…"]
        return lines


@dataclass
class Step:
    """One command, or one Python block."""

    page: str
    line: int
    kind: str
    text: str
    seconds: float | None
    """The time it states, or None: it is quick."""
    output: Output | None = None

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


def steps(page: Path) -> list[Step]:
    """The steps of a page, in order.

    A trailing comment belongs to its command; a comment on a line of its own is no step. A block
    marked `output` holds what the step before it prints.
    """
    result: list[Step] = []
    name, kind, start, lines = str(page.relative_to(ROOT)), "", 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```") and kind:
            if kind.split()[0] == "output":
                limit = int(kind.split()[1]) if " " in kind else None
                result[-1].output = Output(start - 1, lines, limit)
            result += _of_block(name, kind, start, lines)
            kind = ""
        elif line.startswith("```"):
            kind, start, lines = line[3:].strip() or "text", number + 1, []
        elif kind:
            lines.append(line)
    return result


def _of_block(page: str, kind: str, start: int, lines: list[str]) -> Iterator[Step]:
    if kind == "python":
        stated = _stated(lines[0] if lines else "")
        yield Step(page, start, kind, "\n".join(lines) + "\n", stated)
    elif kind == "sh":
        for number, line in enumerate(lines, start=start):
            command, comment = split(line)
            if command:
                yield Step(page, number, kind, command, _stated(comment))


def split(line: str) -> tuple[str, str]:
    """A command and its comment; a # inside quotes is neither."""
    quote = ""
    for index, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and (index == 0 or line[index - 1].isspace()):
            return line[:index].strip(), line[index:].strip()
    return line.strip(), ""


def _stated(comment: str) -> float | None:
    match = STATED.match(comment.strip())
    return float(match[1]) * (60 if match[2] == "min" else 1) if match else None


def words(step: Step) -> list[list[str]]:
    """The commands of a line, as words."""
    return [shlex.split(part) for part in step.text.split(" && ")]


def outputs(command: list[str]) -> list[str]:
    """Files and folders that a command writes."""
    if command[0] in ("cp", "mkdir"):
        return [command[-1]]
    if command[0] != "loci":
        return []
    options = [
        option for option in WRITES if option != "--patch" or command[1:3] == ["write", "install"]
    ]
    left = [b for a, b in pairwise(command) if a in options]
    if command[1:2] == ["demo"]:
        folder = left[0] if left else "loci-demo"
        left += [folder, f"{folder}/report.html", f"{folder}/edit.safetensors"]
    return left
