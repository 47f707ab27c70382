"""loci lessons: nine lessons that run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loci.cli.common import emit, note, status
from loci.cli.console import console
from loci.cli.options import JSON, words
from loci.cli.terminal import plain
from loci.errors import LociError, OutputError

if TYPE_CHECKING:
    from loci.lessons import Lesson

EXTRA = "this needs marimo: pip install 'loci-lm[lessons]'"


def run(
    which: Annotated[
        str | None, typer.Argument(help="its number or its name; none: the list", metavar="WORD")
    ] = None,
    values: Annotated[
        list[str] | None, words("change a setting of the lesson, as in --set cosine=0.3", "--set")
    ] = None,
    browse: Annotated[
        bool, typer.Option("--open", help="open it in the browser, to change it (needs marimo)")
    ] = False,
    copy: Annotated[
        Path | None, typer.Option("--copy", help="write a copy of its file, to work in")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="run it, and write it as a page: .html")
    ] = None,
    json: JSON = False,
) -> None:
    """Nine lessons: what a fact in a model is, where it is, how to change it, how to tell.

    A lesson runs in the terminal, in the browser (`--open`), or into a page (`--out`). Exercises
    have a check and a hidden solution: copy a lesson, write the answers into the copy, and run
    that.

    Examples:

        loci lessons

        loci lessons 1

        loci lessons 1 --set cosine=0.3

        loci lessons superposition --out superposition.html

        loci lessons 6 --copy edit.py
    """
    from loci.lessons import LESSONS, lesson

    if which is None:
        if browse or copy or out or values:
            raise LociError("which lesson? loci lessons lists them")
        _listed(LESSONS, json)
        return
    entry = _own(Path(which)) or lesson(which)
    if copy is not None:
        _copied(entry, copy)
        return
    if browse:
        _browsed(entry)
        return
    _shown(entry, _settings(values or []), out, json)


def _listed(lessons: "tuple[Lesson, ...]", json: bool) -> None:
    if json:
        listed = [
            {"number": e.number, "name": e.name, "title": e.title, "summary": e.summary}
            for e in lessons
        ]
        emit({"schema": "loci.lessons/1", "lessons": listed})
        return
    for entry in lessons:
        console.print(f"[bold]{entry.number}  {plain(entry.title)}[/]  [dim]{entry.name}[/]")
        console.print(f"   {plain(entry.summary)}")
    console.print("\nloci lessons 1 runs the first; --open opens it in the browser")


def _own(path: Path) -> "Lesson | None":
    """A reader's own copy of a lesson."""
    from loci.lessons.catalogue import read_lesson

    return read_lesson(path) if path.suffix == ".py" and path.is_file() else None


def _settings(given: list[str]) -> dict[str, str]:
    settings = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name.strip():
            raise LociError(f"--set {word}: expected NAME=VALUE")
        settings[name.strip()] = value.strip()
    return settings


def _copied(entry: "Lesson", place: Path) -> None:
    if place.suffix != ".py":
        raise OutputError(f"{place}: a lesson is a .py file")
    if place.exists():
        raise OutputError(f"{place} is there already, and is left as it is")
    try:
        shutil.copyfile(entry.path, place)
    except OSError as error:
        raise OutputError(f"cannot write {place}: {error.strerror}") from None
    note(f"{place}: write your answers into it, then run: loci lessons {place}")


def _browsed(entry: "Lesson") -> None:
    """Open a copy that may be changed; marimo serves it on this machine alone."""
    from importlib.util import find_spec

    if find_spec("marimo") is None:
        raise LociError(EXTRA)
    copy = entry.path
    if entry.path.parent.name == "notebooks":
        copy = Path(entry.path.name)
        if not copy.exists():
            _copied(entry, copy)
    environment = {**os.environ, "MARIMO_SKIP_UPDATE_CHECK": "1"}
    command = [sys.executable, "-m", "marimo", "edit", str(copy)]
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)


def _shown(entry: "Lesson", values: dict[str, str], out: Path | None, json: bool) -> None:
    from loci.files import check_writable, write_aside
    from loci.lessons.page import page
    from loci.lessons.running import Ran, steps

    if out is not None:
        if out.suffix != ".html":
            raise OutputError(f"{out}: a lesson's page is a .html file")
        check_writable(out)
    ran = Ran(entry)
    with status(entry.called):
        for value in steps(ran, values):
            ran.shown.append(value)
            if out is None and not json:
                _print(value, ran)
    if out is None and not json and ran.exercises and entry.path.parent.name == "notebooks":
        console.print(
            f"\n[dim]your answers: loci lessons {entry.number} --copy my_lesson.py, write them in"
            " place of None, then loci lessons my_lesson.py; with pictures: --open or --out[/]"
        )
    if out is not None:
        with write_aside(out) as file:
            file.write_text(page(ran), encoding="utf-8")
        note(f"written: {out}")
    if json:
        exercises = [
            {"question": e.question, "right": e.right, "verdict": e.verdict} for e in ran.exercises
        ]
        settings = {name: choice.value for name, choice in ran.choices.items()}
        emit(
            {
                "schema": "loci.lesson/1",
                "number": entry.number,
                "title": entry.title,
                "settings": settings,
                "exercises": exercises,
            }
        )


def _print(value: Any, ran: Any) -> None:
    """Print the value of a lesson's cell in the terminal."""
    import plotly.graph_objects as go
    from rich.markdown import Markdown

    from loci.lessons.exercises import Exercise
    from loci.lessons.page import setting
    from loci.lessons.running import Choice, Text

    if isinstance(value, Text):
        console.print(Markdown(value.markdown))
    elif isinstance(value, Exercise):
        console.print(f"\n[bold]Exercise.[/] {plain(value.question)}")
        console.print(f"  {plain(value.verdict)}", style="green" if value.right else "dim")
    elif isinstance(value, Choice):
        name = next((n for n, c in ran.choices.items() if c is value), "")
        console.print(f"\n[dim]setting: {plain(setting(name, value))}[/]")
    elif isinstance(value, go.Figure):
        title = str((value.layout.meta or {}).get("title") or "a picture")
        console.print(f"[dim]▦ {plain(title)}: shown by --out and --open[/]")
    else:
        console.print(plain(str(value)))
