"""What all verbs share: options, opening a model, progress on stderr, one JSON document on stdout."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from rich.status import Status

    from loci.facts import Fact, FactSet
    from loci.model import Model
    from loci.progress import Progress

SEED = Annotated[int, typer.Option("--seed", help="seed of everything random")]
JSON = Annotated[bool, typer.Option("--json", help="one JSON document on stdout")]
SUBJECT = Annotated[str | None, typer.Option("--subject", "-s", help="the subject, where it is not among the known facts")]
FACTS = Annotated[Path | None, typer.Option("--facts", "-f", help="a fact file, .csv or .jsonl, or a published set, .json")]
TEXT = Annotated[Path | None, typer.Option("--text", help="text to run on: .txt, .jsonl, .parquet or a dataset's folder")]
OUT = Annotated[Path | None, typer.Option("--out", "-o", help="write the result: .html, .png, .svg, .json or .parquet")]

console = Console(highlight=False)


def emit(document: dict[str, Any]) -> None:
    """The one JSON document; NaN and infinity, which JSON cannot say, become null."""
    sys.stdout.write(json.dumps(_plain(document), ensure_ascii=False, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def status(text: str) -> "Status":
    """A spinner on stderr while something runs, for a `with` block; nothing where stderr is no terminal."""
    return Console(stderr=True).status(text)


@contextmanager
def bar(text: str) -> Iterator["Progress"]:
    """A progress bar on stderr; nothing where stderr is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    screen = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=screen, transient=True, disable=not screen.is_terminal) as shown:
        task = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(task, advance=done, total=total)


def check_out(path: Path | None) -> None:
    """Refuse a bad `--out` before the work, not after it."""
    if path is None:
        return
    from loci.figures import check_ending
    from loci.files import check_writable

    check_ending(path)
    check_writable(path)


def save(result: Any, path: Path | None) -> None:
    """Write the result where `--out` says."""
    if path is None:
        return
    from loci.report import save as write

    write(result, path)
    Console(stderr=True, highlight=False).print(f"written: {path}")


def finish(result: Any, out: Path | None = None, json: bool = False) -> None:
    """How a verb ends: the result where `--out` says, and on stdout as one document or in words."""
    save(result, out)
    if json:
        emit(result.to_dict())
        return
    from loci.cli.show import show

    show(result)


def texts_of(model: "Model", path: Path | None, tokens: int) -> list[str]:
    """The texts of a file, or so many tokens of the embedded text."""
    from loci.survey import read_texts, sample_text

    return list(read_texts(path)) if path else sample_text(model, tokens)


def fact_from(model: "Model", text: str, subject: str | None, occurrence: int | None = None, answer: str | None = None) -> "Fact":
    """The fact that a prompt asks for, with `answer`, or else with the model's own, for which it is asked only then."""
    from loci.model import fact_from as given

    return given(model, text, subject, occurrence, answer, how="say --subject")


def world_of(path: Path | None) -> "FactSet":
    """The facts of a file, then the known facts that it does not hold: where neighbours come from."""
    from loci.facts import FactSet, known_facts, load_facts

    if path is None:
        return known_facts()
    given = load_facts(path)
    return FactSet([*given, *(fact for fact in known_facts() if given.same(fact) is None)])
