"""Progress of long work: the library calls a function, the command line draws a bar."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (units done since the last call, units in all)."""


def silent(done: int, total: int) -> None:
    """No progress shown."""
