"""What is wrong with a page of documentation, found without running it.

Commands, options and values have to exist, files have to be written before they are read, names in
Python have to be made before they are used, links have to lead somewhere.
"""

import ast
import builtins
import re
import shlex
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from doc_pages import FILES, ROOT, SETUP, Step, outputs, split, steps, words


def faults(page: Path) -> list[str]:
    """Faults of a page that show without running it."""
    result = [*inline_faults(page), *link_faults(page), *example_faults(page)]
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


def example_faults(page: Path) -> Iterator[str]:
    """Commands that stand in a block which is not run, as they need a model or a program that is
    not here: their options and values have to exist.
    """
    shown = page.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```(?:text)?\n(.*?)^ *```$", shown, flags=re.S | re.M):
        for line in re.sub(r"\\\n *", "", block).splitlines():
            command = split(line.strip())[0].partition(" > ")[0]
            if command.startswith("loci "):
                fault = parse(_words(command)[1:], whole=True)
                if fault:
                    yield f"{page.name}: {command}: {fault}"


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


@cache
def _app() -> Any:
    """The whole command line; it takes a quarter of a second to make."""
    import typer.main

    from loci.cli.app import app

    return typer.main.get_command(app)


def parse(arguments: list[str], *, whole: bool) -> str | None:
    """The fault of the words behind `loci`, or None.

    Where they are not the `whole` command, only names of commands and options are judged.
    """
    import click

    command: Any = _app()
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
