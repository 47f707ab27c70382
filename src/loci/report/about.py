"""What each kind of result is, in words: the question, how to read its figure, and what came out.

One entry a kind; `about(result)` finds it. The entries stand in the modules `about_*`. A verdict is
graded (good, mixed, bad) only where it can be: a trace has nothing to pass or fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loci.result import Result
from loci.stats import Estimate

Graded = tuple[str, str]


@dataclass(frozen=True)
class About:
    """The words of one kind of result."""

    kind: str
    """What it is, in two or three words: the line above the heading."""
    question: str
    reading: str
    """How to read the figure."""
    verdict: Callable[[Any], Graded | str] = lambda _: ""
    heading: Callable[[Any], str] = lambda _: ""
    """Where the figure has no title of its own."""


_ENTRIES: dict[str, About] = {}
"""By the name of the class, with its room."""


def entry(
    name: str, kind: str, question: str, reading: str, verdict: Any = "", heading: Any = ""
) -> None:
    """Say what a kind of result is: `name` is its module below `loci` and its class."""
    said = verdict if callable(verdict) else lambda _: verdict
    titled = heading if callable(heading) else lambda _: heading
    _ENTRIES[name] = About(kind, question, reading, said, titled)


def key(kind: type) -> str:
    """A class by its room and name, as in "locating.Trace"; one from elsewhere by its module."""
    where = kind.__module__.split(".")
    return (
        f"{where[1] if where[0] == 'loci' and len(where) > 1 else kind.__module__}.{kind.__name__}"
    )


def about(result: Any) -> About:
    """The words for a result; of a kind without an entry, its docstring's first line."""
    found = _ENTRIES.get(key(type(result)))
    if found is not None:
        return found
    first = (type(result).__doc__ or "").strip().split("\n")[0]
    told = " ".join(result.summary()) if isinstance(result, Result) else ""
    return About(type(result).__name__, first, "", lambda _: told)


def judged(result: Any) -> Graded:
    """(words, grade) of a result's verdict."""
    said = about(result).verdict(result)
    return (said, "") if isinstance(said, str) else said


def pct(estimate: Estimate) -> str:
    """A share with its interval, in words' company."""
    return estimate.told(".0%") if estimate.n else "not measured"


def graded(share: float, good: float, mixed: float) -> str:
    return "good" if share >= good else "mixed" if share >= mixed else "bad"
