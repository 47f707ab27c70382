"""The command as a process of its own."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

from loci.cli.net import CtrlC, debugging, flushed, guarded


def entry() -> NoReturn:
    """The command as a process: streams made safe first, then everything is imported."""
    ctrl_c = CtrlC()
    with ctrl_c.watched(
        after=signal.SIG_IGN
    ):  # once all is said, nothing interrupts the tidying up
        status = flushed(guarded(_whole, ctrl_c))
    sys.exit(status)


def _check_folder() -> None:
    """A folder that was deleted while a shell stands in it: libraries that torch loads end the
    process there, each with words of its own.
    """
    from loci.errors import UseError

    try:
        Path.cwd()
    except FileNotFoundError:
        raise UseError("the folder that you are in is gone: cd to one that is there") from None


def _whole() -> Any:
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 for as long as the process lives
    if sys.stdout is None:
        raise OSError("standard output is closed: nothing can be said")
    _check_folder()
    from loci.cli.terminal import prepare

    prepare()
    from loci.cli.app import app

    if not debugging():
        import warnings

        warnings.simplefilter("ignore")
    return app(prog_name="loci", standalone_mode=False)
