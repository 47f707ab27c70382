"""The last net: whatever ends a command becomes an exit status and at most one line on stderr.

    0  done                    3    an edit whose facts are not all said, and was written all the
       same
    1  doctor: a check fails   130  stopped by Ctrl-C
    2  what the user can mend  141  whoever read stdout has left

`LOCI_DEBUG=1` shows the traceback before the line.
"""

import _thread
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from loci.cli.streams import on_stdout

MENDABLE, STOPPED, PIPE = 2, 130, 141
LONGEST = 2000
HINT = "LOCI_DEBUG=1 shows the traceback"

doing: list[str] = []
"""The steps under way, innermost last; after an error, the steps in which it happened."""


class Escaped(Exception):
    """Carries an error past what typer would make of it."""


class CtrlC:
    """Raises KeyboardInterrupt, and remembers it: libraries that catch it, as lazy imports do, then
    say something else.
    """

    def __init__(self) -> None:
        self.pressed = self.over = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.over:
            self.pressed = True
            raise KeyboardInterrupt

    @contextmanager
    def watched(self, after: Any = signal.default_int_handler) -> Iterator[None]:
        """Listen for as long as the block runs; where something else listens, or nothing should,
        leave it so.
        """
        mine = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if not mine or threading.current_thread() is not threading.main_thread():
            yield
            return
        hook = sys.unraisablehook
        signal.signal(signal.SIGINT, self)
        sys.unraisablehook = lambda lost: (
            again() if lost.exc_type is KeyboardInterrupt else hook(lost)
        )
        try:
            yield
        finally:
            sys.unraisablehook = hook
            signal.signal(signal.SIGINT, after)


def again() -> None:
    """Raise Ctrl-C anew, in a moment: it fell into a place where Python drops what is raised."""
    threading.Timer(0.01, _thread.interrupt_main).start()


def run(app: Callable[..., Any]) -> None:
    """Run the command line `sys.argv` in this process; ends in SystemExit where the status is not
    0.
    """
    ctrl_c = CtrlC()
    with ctrl_c.watched():
        status = flushed(guarded(lambda: app(prog_name="loci", standalone_mode=False), ctrl_c))
    if status:
        sys.exit(status)


def guarded(job: Callable[[], Any], ctrl_c: CtrlC) -> int:
    """The status of a job; what escapes from it is told."""
    doing.clear()
    try:
        code = job()
    except SystemExit as left:
        code = left.code
    except BaseException as error:  # noqa: BLE001 this is the net
        ctrl_c.over = True
        cause = error.__cause__ if isinstance(error, Escaped) and error.__cause__ else error
        return told(cause, ctrl_c.pressed)
    ctrl_c.over = True
    if code == STOPPED:
        return told(KeyboardInterrupt(), True)
    return code if isinstance(code, int) else 0


def told(error: BaseException, stopped: bool = False) -> int:
    """Say an error in one line; its status."""
    if debugging():
        with suppress(OSError, ValueError):
            traceback.print_exception(error)
    if stopped or isinstance(error, KeyboardInterrupt):
        say("stopped")
        return STOPPED
    if isinstance(error, BrokenPipeError):
        return PIPE
    if type(error).__name__ == "NoArgsIsHelpError":
        return 0
    say(words(error))
    return MENDABLE


def debugging() -> bool:
    return os.environ.get("LOCI_DEBUG", "") not in ("", "0")


def say(text: str) -> None:
    """One line on stderr, in which nothing is a control character."""
    from loci.cli.terminal import clean

    text = clean(text.rstrip())
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} … {text[-LONGEST // 2 :]}"
    with suppress(OSError, ValueError):
        print(f"loci: {text}", file=sys.stderr, flush=True)  # noqa: T201


def words(error: BaseException) -> str:
    """An error in words: the step, the object, and the way out."""
    from loci.errors import LociError

    if isinstance(error, LociError):
        return str(error)
    if hasattr(error, "format_message"):
        return usage(error)
    what = " ".join(str(error).split())
    kind = type(error).__name__
    during = f"{doing[-1]}: " if doing else ""
    if isinstance(error, OSError) and error.strerror:
        place = (
            f"{os.fsdecode(error.filename)}: "
            if isinstance(error.filename, (str, bytes, os.PathLike))
            else ""
        )
        return f"{place or during}{error.strerror}; {HINT}"
    if isinstance(error, MemoryError) or "OutOfMemory" in kind or "can't allocate memory" in what:
        return (
            f"{during}there is not enough memory; try less at once, or a smaller model ({kind};"
            f" {HINT})"
        )
    if isinstance(error, RecursionError):
        return f"{during}something is nested too deeply ({HINT})"
    if kind in ("LinAlgError", "_LinAlgError"):
        return f"{during}the linear algebra has no solution here: {what[:300]} ({HINT})"
    if not what:
        return f"{during}{kind} ({HINT})"
    return f"{during}{what[:400]} ({kind}; {HINT})"


def usage(error: Any) -> str:
    """A wrong word on the command line, after the option that it was said to."""
    said = " ".join(error.format_message().split())
    for start in ("Invalid value for ", "Invalid value: "):
        said = said.removeprefix(start)
    said = said.replace("Input should be ", "should be ").replace("Value error, ", "").rstrip(".")
    said = re.sub(r"^'(-[^:]*)':", lambda option: option[1].replace("'", "") + ":", said)
    context = getattr(error, "ctx", None)
    return f"{said} (see {context.command_path} --help)" if context is not None else said


def flushed(status: int) -> int:
    """The status, with what was printed really out; a stdout that takes nothing is left, so that
    the end is silent.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError) as error:
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if status == 0 or status == PIPE:
            return told(error if isinstance(error, BrokenPipeError) else on_stdout(error))
    return status
