"""README and docs run as they are printed: every page top to bottom, in one folder of its own.

    python scripts/run_docs.py                   everything (`make docs`); log in build/docs.log
    python scripts/run_docs.py --up-to 60        steps that state at most a minute
    python scripts/run_docs.py --up-to 0         steps that state no time: the test suite's run
    python scripts/run_docs.py --write PAGE …    run pages, and write their outputs into them
    python scripts/run_docs.py --results         the measurements of docs/results/ too (hours)

Blocks marked `sh` and `python` are run. A block marked `output N` after one of them holds what its
last command prints on stdout, the first N lines of it; `--write` fills it in. A run fails where
less than SHARED of an output's words are printed; numbers may differ from machine to machine.

Not run: blocks marked `text` or not marked, which need a model, a file or a program that is not
here. Their `loci` commands are checked for names, options and values, as are those of `--help`.

What takes longer than QUICK seconds states so in the page, as in

    loci audit --edits 50          # 8 min: a method on seeded edits
    # 20 s                         (the first line of a Python block)

A shorter run leaves out steps that state a longer time, and those that read a file of such a step.
The whole run fails where a command fails, states no time and takes longer, or takes far more than
it states. Seconds are processor time of one core. Setting up (`make`, `pip` …) is not run.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from doc_faults import faults
from doc_pages import PAGES, RESULTS, ROOT, SETUP, Step, outputs, steps, words

QUICK = 8.0
"""Seconds of one core that a command may take without stating so."""
SLACK = 2.0
"""A command may take so many times what it states: machines differ."""
SHARED = 0.7
"""Share of the words of a printed output that an actual one has to have."""
WIDTH = "100"
"""Columns of the terminal that outputs are printed for."""


@dataclass
class Ran:
    """The outcome of a step."""

    step: Step
    status: int
    seconds: float
    printed: str
    """Its stdout."""
    errors: str
    """Its stderr: progress, warnings, errors."""
    wrong: list[str] = field(default_factory=list)


def run(
    page: Path, *, up_to: float, tell: Callable[[Ran], None] = lambda _: None
) -> tuple[list[Ran], list[Step]]:
    """Run a page's steps in a folder of its own: (steps that were run, steps left out)."""
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
        shutil.copytree(ROOT / "examples", Path(folder) / "examples")
        for path in (ROOT / "examples").iterdir():
            shutil.copy(path, folder)
        try:
            os.chdir(folder)
            Opening.open = once  # type: ignore[method-assign]
            os.environ["COLUMNS"] = WIDTH
            for step in steps(page):
                if _left(step, missing, up_to):
                    left_out.append(step)
                    continue
                ran.append(_run(step, names))
                tell(ran[-1])
        finally:
            os.chdir(here)
            Opening.open = real  # type: ignore[method-assign]
            os.environ.pop("COLUMNS", None)
            if columns is not None:
                os.environ["COLUMNS"] = columns
    return ran, left_out


def _left(step: Step, missing: set[str], up_to: float) -> bool:
    """Whether a shorter run leaves a step out: it states a longer time, or reads such a step's
    file.
    """
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
    printed, errors = io.StringIO(), io.StringIO()
    before = time.process_time() + sum(os.times()[2:4])
    status = 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        if step.kind == "python":
            try:
                exec(compile(step.text, step.where, "exec"), names)
            except Exception:  # noqa: BLE001 a page's own
                status = 1
                traceback.print_exc()
        else:
            for command in words(step):
                status = status or _call(command, printed, errors)
    seconds = time.process_time() + sum(os.times()[2:4]) - before
    result = Ran(step, status, seconds, printed.getvalue(), errors.getvalue())
    result.wrong += _wrong(result)
    return result


def _wrong(done: Ran) -> list[str]:
    step, wrong = done.step, []
    if done.status:
        wrong.append(f"status {done.status}: {(done.errors or done.printed).strip()[-300:]}")
    limit = QUICK if step.seconds is None else SLACK * step.seconds + QUICK
    if done.seconds > limit:
        stated = "states no time" if step.seconds is None else f"states {step.seconds:.0f} s"
        wrong.append(f"took {done.seconds:.0f} s of one core and {stated}")
    if step.output and step.output.words:
        expected = step.output.words
        shared = {word for word in expected if word in done.printed}
        if len(shared) < SHARED * len(expected):
            lost = ", ".join(sorted(expected - shared)[:12])
            wrong.append(f"its printed output has words that it does not print: {lost}")
    return wrong


def _call(command: list[str], printed: io.StringIO, errors: io.StringIO) -> int:
    if command[0] in SETUP:
        return 0
    if command[0] == "cd":
        os.chdir(command[1])
        return 0
    if command[0] != "loci":
        line = [sys.executable, *command[1:]] if command[0] == "python" else command
        place = ROOT if command[0] == "python" and command[1] == "-m" else None
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=place)
        printed.write(done.stdout)
        errors.write(done.stderr)
        return done.returncode
    from loci.cli.app import main

    sys.argv = command
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def write(page: Path, ran: list[Ran]) -> None:
    """Put the outputs of a run into a page, in place of those that it prints."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for done in reversed(ran):
        output = done.step.output
        if output is not None and not done.status:
            lines[output.first : output.first + len(output.lines)] = output.shown(done.printed)
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main_() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", type=Path, help="README.md, docs/…; all by default")
    parser.add_argument("--up-to", type=float, default=float("inf"), help="seconds stated at most")
    parser.add_argument("--write", action="store_true", help="write outputs into the pages")
    parser.add_argument("--results", action="store_true", help="docs/results/ too: hours")
    parser.add_argument("--log", type=Path, default=ROOT / "build" / "docs.log")
    given = parser.parse_args()
    given.log.parent.mkdir(exist_ok=True)
    bad = 0
    with given.log.open("w", encoding="utf-8") as log:

        def tell(done: Ran) -> None:
            first = done.step.text.splitlines()[0]
            state = "WRONG" if done.wrong else "ok   "
            line = f"{done.seconds:7.1f} s  {state} {done.step.where}: {first}"
            print(line, *done.wrong, sep="\n           ", flush=True)
            wrong = "; ".join(done.wrong)
            log.write(f"{line}\n{done.printed}\n{done.errors}\n{wrong}\n\n")
            log.flush()

        every = [*PAGES, *(RESULTS if given.results else ())]
        for page in [path.resolve() for path in given.pages] or every:
            for fault in faults(page):
                print(f"           WRONG {fault}")
                bad += 1
            ran, left_out = run(page, up_to=given.up_to, tell=tell)
            if given.write:
                write(page, ran)
            bad += sum(bool(done.wrong) for done in ran)
            seconds = sum(done.seconds for done in ran)
            counts = f"{len(ran)} run, {len(left_out)} left out"
            print(f"{page.name}: {counts}, {seconds:.0f} s", flush=True)
    print(f"log: {given.log}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main_())
