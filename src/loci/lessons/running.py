"""Run a lesson without marimo: cell by cell, from the top, in one namespace.

A lesson's file has marimo's form: `with app.setup:`, then functions marked `@app.cell`. Their
bodies run in the order of the file; the last expression of a body is what the cell shows. `mo`
stands for what lessons use of marimo: `md`, and settings whose values can be given (`values`).
"""

import ast
import os
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from inspect import cleandoc
from types import SimpleNamespace
from typing import Any

from loci.errors import LociError
from loci.lessons.catalogue import Lesson
from loci.lessons.exercises import Exercise

QUICK = "LOCI_LESSONS_QUICK"
"""Set to 1: lessons compute with the smaller of two sizes. Tests do so."""


@dataclass(frozen=True)
class Text:
    """Words of a lesson, as Markdown."""

    markdown: str


@dataclass
class Choice:
    """Something to change: a number between two, or one of several words."""

    value: Any
    label: str
    start: float | None = None
    stop: float | None = None
    options: tuple[str, ...] = ()

    def set(self, word: str) -> None:
        """Take a value that was given as a word.

        Raises: `LociError` for a value that cannot be chosen.
        """
        if self.options:
            if word not in self.options:
                raise LociError(f"{self.label}: {word!r} is none of {', '.join(self.options)}")
            self.value = word
            return
        try:
            number = float(word)
        except ValueError:
            raise LociError(f"{self.label}: {word!r} is no number") from None
        low, high = float(self.start or 0), float(self.stop or 0)
        if not low <= number <= high:
            raise LociError(f"{self.label}: {word} is outside {low:g} … {high:g}")
        self.value = type(self.value)(number)


@dataclass
class Ran:
    """A lesson that was run: what its cells show, and the names that they made."""

    lesson: Lesson
    shown: list[Any] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)

    @property
    def exercises(self) -> list[Exercise]:
        return [value for value in self.shown if isinstance(value, Exercise)]

    @property
    def choices(self) -> dict[str, Choice]:
        """Settings that can be changed, by name."""
        return {name: value for name, value in self.names.items() if isinstance(value, Choice)}


def size(full: int, quick: int) -> int:
    """`full`, or `quick` where LOCI_LESSONS_QUICK is set to 1."""
    return quick if os.environ.get(QUICK) == "1" else full


def run(entry: Lesson, values: Mapping[str, str] | None = None) -> Ran:
    """Run a whole lesson.

    Args:
        entry: the lesson.
        values: {name of a setting: its value as a word}.

    Returns: `Ran`.
    Raises: `LociError` for a setting that there is not, or a value that cannot be chosen.
    """
    ran = Ran(entry)
    for value in steps(ran, values or {}):
        ran.shown.append(value)
    return ran


def steps(ran: Ran, values: Mapping[str, str]) -> Iterator[Any]:
    """The values of a lesson's cells, one after another, as they are run."""
    left = dict(values)
    ran.names |= {"__name__": "lesson", "mo": _marimo()}
    tree = ast.parse(ran.lesson.path.read_text(encoding="utf-8"))
    for node in tree.body:
        body = _cell(node)
        if body is None:
            continue
        value = _execute(body, ran)
        for name, choice in ran.choices.items():
            if name in left:
                choice.set(left.pop(name))
        if value is not None:
            yield value
    if left:
        there = ", ".join(ran.choices) or "none"
        raise LociError(f"{ran.lesson.called} has no setting {next(iter(left))!r}: {there}")


def _cell(node: ast.stmt) -> list[ast.stmt] | None:
    """The statements of a cell; None for what is no cell."""
    if isinstance(node, ast.With) and _is(node.items[0].context_expr, "setup"):
        return [line for line in node.body if not _imports_marimo(line)]
    if isinstance(node, ast.FunctionDef):
        if any(_is(mark, "cell") for mark in node.decorator_list):
            return [line for line in node.body if not isinstance(line, ast.Return)]
        if any(_is(mark, "function") for mark in node.decorator_list):
            node.decorator_list = []
            return [node]
    return None


def _is(node: ast.expr, name: str) -> bool:
    """Whether an expression is app.NAME, or a call of it."""
    node = node.func if isinstance(node, ast.Call) else node
    return isinstance(node, ast.Attribute) and node.attr == name


def _imports_marimo(line: ast.stmt) -> bool:
    return isinstance(line, ast.Import) and any(name.name == "marimo" for name in line.names)


def _execute(body: list[ast.stmt], ran: Ran) -> Any:
    """Run a cell's statements; the value of the last one, where it is an expression.

    Raises: `LociError` with file and line where the cell fails: readers write into lessons.
    """
    where = str(ran.lesson.path)
    last = body[-1] if body and isinstance(body[-1], ast.Expr) else None
    first = body[:-1] if last else body
    try:
        exec(compile(ast.Module(first, []), where, "exec"), ran.names)
        if last is None:
            return None
        return eval(compile(ast.Expression(last.value), where, "eval"), ran.names)
    except LociError:
        raise
    except Exception as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == where]
        line = f":{lines[-1]}" if lines else ""
        raise LociError(f"{where}{line}: {type(error).__name__}: {error}") from error


def _marimo() -> SimpleNamespace:
    """The part of marimo that lessons use."""

    def slider(
        start: float, stop: float, step: float = 1, value: float | None = None, label: str = ""
    ) -> Choice:
        return Choice(start if value is None else value, label, start, stop)

    def dropdown(options: list[str], value: str | None = None, label: str = "") -> Choice:
        return Choice(options[0] if value is None else value, label, options=tuple(options))

    def md(markdown: str) -> Text:
        return Text(cleandoc(markdown))

    return SimpleNamespace(md=md, ui=SimpleNamespace(slider=slider, dropdown=dropdown))
