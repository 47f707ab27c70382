"""Pages of documentation as data: their steps, the outputs they print, and what is wrong with them.

A page is read without being run: commands, options and values have to exist, files have to be
written before they are read, and names in Python have to be made before they are used.
"""

import ast
import builtins
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

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
            command, comment = _split(line)
            if command:
                yield Step(page, number, kind, command, _stated(comment))


def _split(line: str) -> tuple[str, str]:
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


def faults(page: Path) -> list[str]:
    """Faults of a page that show without running it."""
    result = [*inline_faults(page), *link_faults(page)]
    there = {"examples", *(f"examples/{path.name}" for path in (ROOT / "examples").iterdir())}
    there |= {path.name for path in (ROOT / "examples").iterdir()}
    code = ""
    for step in steps(page):
        if step.kind == "python":
            result += _syntax(step)
            code += step.text
            there |= set(re.findall(r'"([\w./-]+\.\w+)"', step.text))
            continue
        for command in words(step):
            result += [f"{step.where}: {fault}" for fault in _command(command, there)]
            there |= set(outputs(command))
    return result + [f"{page.name}: no name {name!r} in its Python" for name in _unknown(code)]


def link_faults(page: Path) -> Iterator[str]:
    """Links to files and headings of this repository that there are not."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        if ":" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{page.name}: no file {path}"
        elif heading and target.suffix == ".md" and heading not in anchors(target):
            yield f"{page.name}: no heading #{heading} in {target.name}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def inline_faults(page: Path) -> Iterator[str]:
    """Commands in running text and tables: `loci …` has to name options that there are.

    Values may be ellipses there.
    """
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    for printed in re.findall(r"`(loci [^`]+)`", text):
        flat = " ".join(printed.split())
        if "|" in flat and '"' not in flat:
            continue  # several commands in one: a|b|c
        fault = parse(_words(flat)[1:], whole=False)
        if fault:
            yield f"{page.name}: `{flat}`: {fault}"


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _syntax(step: Step) -> list[str]:
    try:
        ast.parse(step.text)
    except SyntaxError as error:
        return [f"{step.where}: {error}"]
    return []


def _unknown(code: str) -> list[str]:
    """Names that Python blocks use, read top to bottom, before anything has made them."""
    made = set(dir(builtins))
    unknown: list[str] = []
    for node in ast.parse(code).body:
        bound = {
            n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        }
        named = (ast.FunctionDef, ast.ClassDef)
        bound |= {n.name for n in ast.walk(node) if isinstance(n, named)}
        bound |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        for n in ast.walk(node):
            if isinstance(n, (ast.Import, ast.ImportFrom)):
                bound |= {(alias.asname or alias.name).partition(".")[0] for alias in n.names}
        loaded = (
            n for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
        )
        unknown += [n.id for n in loaded if n.id not in made | bound]
        made |= bound
    return sorted(set(unknown))


def _command(command: list[str], there: set[str]) -> Iterator[str]:
    name = command[0]
    if name == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        yield from (
            f"no target {target!r} in the Makefile"
            for target in command[1:]
            if target not in targets
        )
    elif name == "python" and len(command) > 1:
        if (
            command[1].endswith(".py")
            and not (ROOT / command[1]).exists()
            and command[1] not in there
        ):
            yield f"no file {command[1]}"
    elif name == "loci":
        fault = parse(command[1:], whole=True)
        if fault:
            yield fault
        for word in inputs(command):
            if word not in there and not (ROOT / word).exists():
                yield f"nothing has written {word!r} before"
    elif name not in (*SETUP, "cp", "cd", "mkdir"):
        yield f"what is {name!r}?"


def parse(arguments: list[str], *, whole: bool) -> str | None:
    """The fault of the words behind `loci`, or None.

    Where they are not the `whole` command, only names of commands and options are judged.
    """
    import click
    import typer.main

    from loci.cli.app import app

    command: Any = typer.main.get_command(app)
    context = click.Context(command, info_name="loci")
    rest = list(arguments)
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        if not rest or rest[0].startswith("-"):
            return None if not whole or rest in (["--help"], ["--version"]) else "which command?"
        length = 2 if command.get_command(context, " ".join(rest[:2])) else 1
        chosen = command.get_command(context, " ".join(rest[:length]))
        if chosen is None:
            return f"there is no command {rest[0]!r}"
        command, rest = chosen, rest[length:]
        context = click.Context(command, parent=context, info_name=command.name)
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for word in rest:
        option = word.startswith("-") and len(word) > 1 and not word[1:2].isdigit()
        if option and word.partition("=")[0] not in known:
            return f"{command.name} has no option {word}"
    if not whole:
        return None
    try:
        command.make_context(command.name, rest, parent=context.parent)
    except Exception as error:  # noqa: BLE001 whatever typer's own click raises
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        return message if "does not exist" not in message else None
    return None


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


def inputs(command: list[str]) -> list[str]:
    """Files and folders that a command reads."""
    left = set(outputs(command))
    files = [word for word in command[2:] if FILES.search(word) and " " not in word]
    result = [word for word in files if word not in left]
    result += [
        b for a, b in pairwise(command) if a in ("-m", "--model", "--config") and b != "demo"
    ]
    if command[1:2] == ["atlas"] and command[2] != "build":
        result.append(command[3])
    if command[1:2] == ["forensics"]:
        result += [word for word in command[2:4] if not word.startswith("-") and word != "demo"]
    return [word for word in dict.fromkeys(result) if not _known_name(word)]


def _known_name(word: str) -> bool:
    """Whether a word names a published shape or a model of a hub, and no file."""
    from loci.model.gguf import NAMED
    from loci.model.parameter_counts import PUBLISHED

    hub = word.count("/") == 1 and not word.startswith((".", "/")) and "." not in word
    return word in PUBLISHED or word in NAMED or hub
