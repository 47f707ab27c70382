"""Parts that all verbs share: progress on stderr, one JSON document on stdout, results written,
facts asked for.
"""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loci.cli.console import console
from loci.cli.net import doing
from loci.cli.terminal import clean, is_unicode, plain, terminal
from loci.result import jsonable

if TYPE_CHECKING:
    from loci.facts import Fact, FactSet
    from loci.model import Frame, Model
    from loci.progress import Progress

quiet = False
"""Whether this command says nothing on stderr but errors."""
EVERY = 10.0
"""Seconds between two lines of progress where stderr is no terminal."""
LONG = 180.0
"""Work that is likely to take more seconds says so before it begins."""


def emit(document: dict[str, Any]) -> None:
    """The one JSON document; NaN and infinity, which JSON cannot say, become null."""
    text = json.dumps(jsonable(document), ensure_ascii=not is_unicode(), allow_nan=False)
    sys.stdout.write(text.translate(HALVES) + "\n")


HALVES = {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
"""Halves of characters, which no stream takes, as JSON writes them."""


@contextmanager
def status(text: str) -> Iterator[Callable[[str], None]]:
    """A spinner on stderr while something runs; where stderr is no terminal, a line now and then.
    Yields what sets its text.
    """
    screen = terminal(stderr=True)
    with during(text) as at:
        if quiet or not screen.is_terminal:
            with _lines(lambda: at[-1]):
                yield lambda said: at.__setitem__(-1, said)
            return
        with screen.status(plain(text)) as spinner:

            def update(said: str) -> None:
                at[-1] = said
                spinner.update(plain(said))

            yield update


@contextmanager
def bar(text: str) -> Iterator["Progress"]:
    """A progress bar on stderr; where stderr is no terminal, a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    screen, seen = terminal(stderr=True), [0, 0]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    shows = screen.is_terminal and not quiet
    with during(text), Bar(*columns, console=screen, transient=True, disable=not shows) as shown:
        task = shown.add_task(text, total=None)

        def progress(done: int, total: int) -> None:
            seen[0], seen[1] = seen[0] + done, total
            shown.update(task, advance=done, total=total)

        def at() -> str:
            return f"{text}: {seen[0]:,} of {seen[1]:,}" if seen[1] else text

        with _lines(at, lambda: seen[0] / max(seen[1], 1), silent=shows):
            yield progress


@contextmanager
def during(text: str) -> Iterator[list[str]]:
    """Remember what is being done; after an error it is known still."""
    doing.append(text)
    yield doing
    doing.pop()


@contextmanager
def _lines(
    text: Callable[[], str], share: Callable[[], float] = lambda: 0.0, silent: bool = False
) -> Iterator[None]:
    """For whoever reads stderr in a file: how far the block is, a line every `EVERY` seconds, none
    if it is done before. From the share that is done follows how long the rest takes.
    """
    ended, started = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(EVERY):
            seconds, done = time.monotonic() - started, share()
            more = f", about {seconds / done - seconds:.0f} s more" if 0 < done < 1 else ""
            with suppress(OSError, ValueError):
                line = f"{clean(text())} ({seconds:.0f} s{more})"
                print(line, file=sys.stderr, flush=True)  # noqa: T201

    teller = threading.Thread(target=tell, daemon=True)
    if not (silent or quiet):
        teller.start()
    try:
        yield
    finally:
        ended.set()


def note(text: str) -> None:
    """A line on stderr, which --quiet leaves out."""
    if not quiet:
        terminal(stderr=True).print(plain(text), soft_wrap=True)


def takes(seconds: float) -> None:
    """Before work that is likely to be `LONG`: about how long it takes, as it was measured on one
    core, with the embedded model where one is asked.
    """
    if seconds > LONG:
        note(f"this takes about {seconds / 60:.0f} min of one core (a larger model: more)")


def check_out(path: Path | None) -> None:
    """Refuse a bad `--out` before the work, not after it."""
    if path is None:
        return
    from loci.figures import check_ending, check_image
    from loci.files import check_writable

    check_ending(path)
    check_writable(path)
    check_image(path)


def check_new(path: Path | None, *endings: str) -> None:
    """Refuse before the work what else is written: a wrong ending, or a place that cannot be
    written; a folder without endings.
    """
    if path is None:
        return
    from loci.errors import OutputError
    from loci.files import check_writable

    if endings and path.suffix not in endings:
        raise OutputError(f"{path}: it is written as {' or '.join(endings)}; let the name end so")
    check_writable(path, folder=not endings)


def written(path: object) -> None:
    """Say what was written."""
    note(f"written: {path}")


def save(result: Any, path: Path | None) -> None:
    """Write the result where `--out` says."""
    if path is None:
        return
    from loci.report import save as write

    write(result, path)
    written(path)


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
    from loci.text import read_texts, sample_text

    return list(read_texts(path)) if path else sample_text(model, tokens)


def fact_from(
    model: "Model",
    text: str,
    subject: str | None,
    occurrence: int | None = None,
    answer: str | None = None,
    frame: "Frame | None" = None,
    *,
    warns: bool = True,
) -> "Fact":
    """The fact that a prompt asks for, inside a frame, with `answer`, or else with the model's own,
    for which it is asked only then.
    """
    from loci.model import fact_from as given
    from loci.model import own_answer

    fact = given(model, text, subject, occurrence, answer or "?", hint="say --subject")
    if frame:
        fact = in_frame(model, fact, frame)
    if answer is not None:
        return fact
    own = own_answer(model, fact.text)
    warn(own.warning if warns else None)
    return replace(fact, answer=own.text, answer_rule=own.rule)


def in_frame(model: "Model", fact: "Fact", frame: "Frame") -> "Fact":
    """A fact inside a frame; shots are embedded facts that are asked in the same words, where it
    has no relation.
    """
    from loci.errors import FactError
    from loci.facts import known_facts

    pool = list(known_facts()) if frame.shots else []
    if frame.shots and fact.relation is None:
        alike = next(
            (one for one in pool if fact.prompt in (one.prompt, *one.paraphrases, *one.held_out)),
            None,
        )
        if alike is None:
            raise FactError(
                f"shots are other facts of the relation of {fact.text!r}, which no known fact has:"
                " put them in a file, --facts"
            )
        fact = replace(fact, relation=alike.relation)
    return frame.facts(model, [fact], pool)[0]


def answer_from(model: "Model", prompt: str, answer: str | None) -> str:
    """The answer as given, or else the model's own answer to the prompt."""
    from loci.model import own_answer

    if answer is not None:
        return answer
    own = own_answer(model, prompt)
    warn(own.warning)
    return own.text


def warn(text: str | None) -> None:
    """A warning on stderr, if there is one."""
    if text:
        note(f"note: {text}")


def filled(prompt: str, subject: str | None) -> str:
    """A prompt with the subject in the place of its `{}`, or as it is where the subject stands in
    it.
    """
    from loci.errors import FactError

    if not prompt.strip():
        raise FactError("the prompt is empty")
    if subject is None:
        return prompt
    if not subject.strip():
        raise FactError("the subject is empty")
    if "{}" in prompt:
        return prompt.replace("{}", subject, 1)
    if subject not in prompt:
        raise FactError(f"the subject {subject!r} does not stand in the prompt {prompt!r}")
    return prompt


def world_of(path: Path | None) -> "FactSet":
    """The facts of a file, then the known facts that it does not hold:
    where neighbours come from.
    """
    from loci.facts import FactSet, known_facts, load_facts

    if path is None:
        return known_facts()
    given = load_facts(path)
    return FactSet([*given, *(fact for fact in known_facts() if given.same(fact) is None)])


def tell(document: dict[str, Any], line: str, json: bool, notes: Sequence[str] = ()) -> None:
    if json:
        emit(document)
    else:
        for text in (line, *notes):
            console.print(plain(text))
