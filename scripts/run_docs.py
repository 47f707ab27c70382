"""README and docs run as they are printed: every page top to bottom, in one folder of its own beside the examples.

    python scripts/run_docs.py                   everything (`make docs`); the log goes to build/docs.log
    python scripts/run_docs.py --up-to 60        what states at most a minute
    python scripts/run_docs.py --up-to 0         what states no time, and so takes less than QUICK seconds of one core: the test suite's run

Blocks marked `sh` and `python` are run. What takes longer than QUICK seconds says so in the page, as in

    loci audit --edits 50          # 8 min: a method on seeded edits
    # 20 s                         (the first line of a Python block)

so that whoever reads it knows, and a shorter run reads the same words: it leaves out what states a longer time and what needs a file that
was left out, and nothing else. The whole run fails where a command fails, states no time and takes longer, or takes far more than it states.
Seconds are processor time of one core. Setting up (`make`, `source`, `pip`) is looked at and not run.
"""

import argparse
import ast
import builtins
import contextlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
QUICK = 8.0
"""Seconds of one core that a command may take without saying so."""
SLACK = 2.0
"""A command may take so many times what it states: machines differ."""
STATED = re.compile(r"^#\s*(?:about )?([\d.]+) (s|min)\b")
FILES = re.compile(r"\.(csv|jsonl?|safetensors|parquet|html|txt|png|svg)$")
SETUP = ("make", "source", "pip", "python3", "git")
WRITES = ("-o", "--out", "--save", "--patch", "--resume", "--cases", "--models")
"""Options whose value a command writes (`--patch` only of `write install`)."""


@dataclass
class Step:
    """One command, or one Python block."""

    page: str
    line: int
    kind: str
    text: str
    seconds: float | None
    """What it states, or None: it is quick."""

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Ran:
    """What became of a step."""

    step: Step
    status: int
    seconds: float
    said: str
    wrong: list[str] = field(default_factory=list)


def steps(page: Path) -> list[Step]:
    """The steps of a page, in order. A trailing comment belongs to its command; a comment on a line of its own says nothing here."""
    found: list[Step] = []
    name, kind, start, lines = str(page.relative_to(ROOT)), "", 0, list[str]()
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("```") and kind:
            found += _of_block(name, kind, start, lines)
            kind = ""
        elif line.startswith("```"):
            kind, start, lines = line[3:].strip() or "text", number + 1, []
        elif kind:
            lines.append(line)
    return found


def _of_block(page: str, kind: str, start: int, lines: list[str]) -> Iterator[Step]:
    if kind == "python":
        yield Step(page, start, kind, "\n".join(lines) + "\n", _stated(lines[0] if lines else ""))
    elif kind == "sh":
        for number, line in enumerate(lines, start=start):
            command, comment = _split(line)
            if command:
                yield Step(page, number, kind, command, _stated(comment))


def _split(line: str) -> tuple[str, str]:
    """A command and its comment; a # inside quotes is neither."""
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at].strip(), line[at:].strip()
    return line.strip(), ""


def _stated(comment: str) -> float | None:
    found = STATED.match(comment.strip())
    return float(found[1]) * (60 if found[2] == "min" else 1) if found else None


def words(step: Step) -> list[list[str]]:
    """The commands of a line, as words."""
    return [shlex.split(part) for part in step.text.split(" && ")]


# what is looked at ---------------------------------------------------------------------------------------------------


def faults(page: Path) -> list[str]:
    """What is wrong with a page without running it: options and values that there are not, files that nobody writes, names unknown."""
    found = list(inline_faults(page))
    there = {"examples", *(f"examples/{path.name}" for path in (ROOT / "examples").iterdir())}
    there |= {path.name for path in (ROOT / "examples").iterdir()}
    code = ""
    for step in steps(page):
        if step.kind == "python":
            found += _syntax(step)
            code += step.text
            there |= set(re.findall(r'"([\w./-]+\.\w+)"', step.text))
            continue
        for command in words(step):
            found += [f"{step.where}: {fault}" for fault in _command(command, there)]
            there |= set(outputs(command))
    return found + [f"{page.name}: no name {name!r} in its Python" for name in _unknown(code)]


def inline_faults(page: Path) -> Iterator[str]:
    """Commands in the text and in tables: `loci …` has to name options that there are; their values may be ellipses."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for said in re.findall(r"`(loci [^`]+)`", text):
        flat = " ".join(said.split())
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
    """Names that Python blocks use, read top to bottom, and nothing has made: by the page's order of lines."""
    made = set(dir(builtins))
    unknown: list[str] = []
    for node in ast.parse(code).body:
        bound = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        bound |= {n.arg for n in ast.walk(node) if isinstance(n, ast.arg)}
        for n in ast.walk(node):
            if isinstance(n, (ast.Import, ast.ImportFrom)):
                bound |= {(alias.asname or alias.name).partition(".")[0] for alias in n.names}
        unknown += [
            n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load) and n.id not in made | bound
        ]
        made |= bound
    return sorted(set(unknown))


def _command(command: list[str], there: set[str]) -> Iterator[str]:
    name = command[0]
    if name == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        yield from (f"no target {target!r} in the Makefile" for target in command[1:] if target not in targets)
    elif name == "python" and len(command) > 1:
        if command[1].endswith(".py") and not (ROOT / command[1]).exists() and command[1] not in there:
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
    """What is wrong with the words behind `loci`; where they are not the `whole` command, only names of commands and options are judged."""
    import click
    import typer.main

    from loci.cli.app import app

    command: Any = typer.main.get_command(app)
    context = click.Context(command, info_name="loci")
    rest = list(arguments)
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        if not rest or rest[0].startswith("-"):
            return None if not whole or rest in (["--help"], ["--version"]) else "which command?"
        chosen = command.get_command(context, rest[0])
        if chosen is None:
            return f"there is no command {rest[0]!r}"
        command, rest = chosen, rest[1:]
        context = click.Context(command, parent=context, info_name=command.name)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        if word.startswith("-") and len(word) > 1 and not word[1:2].isdigit() and word.partition("=")[0] not in known:
            return f"{command.name} has no option {word}"
    if not whole:
        return None
    try:
        command.make_context(command.name, rest, parent=context.parent)
    except Exception as error:  # noqa: BLE001 whatever typer's own click raises
        said = error.format_message() if hasattr(error, "format_message") else str(error)
        return said if "does not exist" not in said else None
    return None


def outputs(command: list[str]) -> list[str]:
    """What a command leaves: files and folders after options that write, and the targets of cp and mkdir."""
    if command[0] in ("cp", "mkdir"):
        return [command[-1]]
    if command[0] != "loci":
        return []
    options = [option for option in WRITES if option != "--patch" or command[1:3] == ["write", "install"]]
    left = [b for a, b in pairwise(command) if a in options]
    if command[1:2] == ["demo"]:
        folder = left[0] if left else "loci-demo"
        left += [folder, f"{folder}/report.html", f"{folder}/edit.safetensors"]
    return left


def inputs(command: list[str]) -> list[str]:
    """What a command reads: words that are files or `./` places, values of --model, and folders named to verbs that take them."""
    left = set(outputs(command))
    found = [word for word in command[2:] if FILES.search(word) and " " not in word and word not in left]
    found += [b for a, b in pairwise(command) if a in ("-m", "--model", "--config") and b != "demo"]
    if command[1:2] == ["atlas"] and command[2] != "build":
        found.append(command[3])
    if command[1:2] == ["forensics"]:
        found += [word for word in command[2:4] if not word.startswith("-") and word != "demo"]
    return [word for word in dict.fromkeys(found) if not _known_name(word)]


def _known_name(word: str) -> bool:
    """A published shape, or a model of a hub, which are no files."""
    from loci.model.census import PUBLISHED

    return word in PUBLISHED or ("/" in word and not word.startswith((".", "/")) and word.count("/") == 1 and "." not in word)


# what is run ---------------------------------------------------------------------------------------------------------


def run(page: Path, *, up_to: float, tell: Callable[[Ran], None] = lambda _: None) -> tuple[list[Ran], list[Step]]:
    """Run a page's steps in a folder of its own: (what was run, what was left out)."""
    from loci.cli.opening import Opening

    ran: list[Ran] = []
    left_out: list[Step] = []
    missing: set[str] = set()
    names: dict[str, Any] = {"__name__": "docs"}
    here, opened, real = Path.cwd(), dict[Any, Any](), Opening.open
    columns = os.environ.get("COLUMNS")

    def once(opening: Opening) -> Any:
        if opening != Opening():
            return real(opening)
        if opening not in opened:
            opened[opening] = real(opening)
        return opened[opening]

    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        shutil.copytree(ROOT / "examples", room / "examples")
        for path in (ROOT / "examples").iterdir():
            shutil.copy(path, room)
        try:
            os.chdir(room)
            Opening.open = once  # type: ignore[method-assign]
            os.environ["COLUMNS"] = "100"
            for step in steps(page):
                if _left(step, missing, up_to):
                    left_out.append(step)
                    continue
                ran.append(_run(step, names))
                tell(ran[-1])
        finally:
            os.chdir(here)
            Opening.open = real  # type: ignore[method-assign]
            if columns is None:
                os.environ.pop("COLUMNS", None)
            else:
                os.environ["COLUMNS"] = columns
    return ran, left_out


def _left(step: Step, missing: set[str], up_to: float) -> bool:
    """Whether a shorter run leaves a step out: it states a longer time, or reads what such a step would have written."""
    long = (step.seconds or 0.0) > up_to
    if step.kind == "python":
        reads = set(re.findall(r'"([\w./-]+)"', step.text))
        return long or bool(reads & missing)
    commands = words(step)
    left = long or any(missing & set(command) for command in commands)
    if left:
        missing |= {name for command in commands for name in outputs(command)}
    return left


def _run(step: Step, names: dict[str, Any]) -> Ran:
    said = io.StringIO()
    before = time.process_time() + sum(os.times()[2:4])
    status = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        if step.kind == "python":
            try:
                exec(compile(step.text, step.where, "exec"), names)
            except Exception:  # noqa: BLE001 a page's own
                status = 1
                traceback.print_exc()
        else:
            for command in words(step):
                status = status or _call(command, said)
    seconds = time.process_time() + sum(os.times()[2:4]) - before
    result = Ran(step, status, seconds, said.getvalue())
    if status:
        result.wrong.append(f"status {status}: {said.getvalue().strip()[-300:]}")
    limit = QUICK if step.seconds is None else SLACK * step.seconds + QUICK
    if seconds > limit:
        stated = "states no time" if step.seconds is None else f"states {step.seconds:.0f} s"
        result.wrong.append(f"took {seconds:.0f} s of one core and {stated}")
    return result


def _call(command: list[str], said: io.StringIO) -> int:
    if command[0] in SETUP:
        return 0
    if command[0] == "cd":
        os.chdir(command[1])
        return 0
    if command[0] != "loci":
        line = [sys.executable, *command[1:]] if command[0] == "python" else command
        place = ROOT if command[0] == "python" and command[1] == "-m" else None
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=place)
        said.write(done.stdout + done.stderr)
        return done.returncode
    from loci.cli import common
    from loci.cli.app import main

    sys.argv = command
    if hasattr(common.console, "_width"):
        common.console.file = sys.stdout
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def main_() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, help="README.md, docs/…; all by default")
    parser.add_argument("--up-to", type=float, default=float("inf"), help="seconds: leave out what states more")
    parser.add_argument("--log", type=Path, default=ROOT / "build" / "docs.log")
    given = parser.parse_args()
    given.log.parent.mkdir(exist_ok=True)
    bad = 0
    with given.log.open("w", encoding="utf-8") as log:

        def tell(done: Ran) -> None:
            first = done.step.text.splitlines()[0]
            line = f"{done.seconds:7.1f} s  {'WRONG' if done.wrong else 'ok   '} {done.step.where}: {first}"
            print(line, *done.wrong, sep="\n           ", flush=True)
            log.write(f"{line}\n{done.said}\n{'; '.join(done.wrong)}\n\n")
            log.flush()

        for page in [path.resolve() for path in given.pages] or PAGES:
            for fault in faults(page):
                print(f"           WRONG {fault}")
                bad += 1
            ran, left_out = run(page, up_to=given.up_to, tell=tell)
            bad += sum(bool(done.wrong) for done in ran)
            print(f"{page.name}: {len(ran)} run, {len(left_out)} left out, {sum(done.seconds for done in ran):.0f} s", flush=True)
    print(f"log: {given.log}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main_())
