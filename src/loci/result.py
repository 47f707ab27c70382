"""The protocol of results: each can be plotted, saved, read back, compared, and shown in a
notebook.

    grid = loci.trace(model, "Michael Jordan plays the sport of")
    grid                        # in a notebook: its words, its numbers, its figure
    grid.plot()                 # a plotly figure
    grid.to_frame()             # one long table: pandas where it is installed, else Arrow
    grid.save("grid.html")      # .html, .json, .parquet, .png, .svg
    Trace.load("grid.json") == grid

A result declares

    about       what it is, which question it answers, how its figure is read, which figure it has
    title()     what it is of, in a line
    summary()   what came out, a sentence a line
    grade()     whether that is good, mixed or bad, where it can be judged
    tables()    its numbers, with units and intervals (`loci.tables`)
    to_dict()   all of it as plain fields with a `schema`

Terminal, page, notebook, table and figure are made of these, so a new result is one file. Without a
figure of its own it gets bars of its first table.

A result is a frozen dataclass. What draws and writes stands on higher floors and
is loaded by name when it is asked for, so that a result costs no import of plotly. Two results are
equal where all fields are, tensors entry by entry, and NaN equals NaN.
"""

from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from loci.tables import Table


Grade = Literal["good", "mixed", "bad", ""]
"""The last: there is nothing to judge."""


class About(NamedTuple):
    """The words for a kind of result."""

    kind: str = ""
    """The kind of result, in two or three words."""
    question: str = ""
    """The question that it answers."""
    reading: str = ""
    """How to read the figure."""
    figure: str = ""
    """The function that draws it, by its module in `loci.figures`: "trace.trace_figure"."""


def graded(share: float, good: float, mixed: float) -> Grade:
    """A share's grade, by the least that is good and the least that is mixed."""
    return "good" if share >= good else "mixed" if share >= mixed else "bad"


class Result:
    """The base of all results. A subclass is a frozen dataclass with `to_dict()`."""

    about: ClassVar[About] = About()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Comparison, hash and short repr stand in the class itself, where `dataclass` leaves them
        alone.
        """
        super().__init_subclass__(**kwargs)
        for name in ("__eq__", "__hash__", "__repr__"):
            if name not in cls.__dict__:
                setattr(cls, name, Result.__dict__[name])

    def to_dict(self) -> dict[str, Any]:
        """Plain fields with a `schema`, as `--json` prints them."""
        raise NotImplementedError

    def title(self) -> str:
        """The subject of the result, in a line; empty where the summary says it."""
        return ""

    def summary(self) -> tuple[str, ...]:
        """The findings, a sentence a line."""
        return ()

    def grade(self) -> Grade:
        """Whether that is good; nothing where it cannot be judged."""
        return ""

    def tables(self) -> "tuple[Table, ...]":
        """The numbers that people read, with their units and intervals."""
        return ()

    def draw(self) -> "go.Figure | None":
        """The result's own figure, where bars of its first table are not the best one."""
        if not self.about.figure:
            return None
        module, _, name = self.about.figure.partition(".")
        figure: go.Figure = getattr(import_module(f"loci.figures.{module}"), name)(self)
        return figure

    def plot(self) -> "go.Figure":
        """The figure of the result. Raises `UseError` where there is none."""
        figure: go.Figure = import_module("loci.figures").plot(self)
        return figure

    def save(self, path: str | Path) -> None:
        """Write the result by the ending of `path`: .html a report, .json and .parquet its numbers,
        .png and .svg its figure.

        Raises `OutputError` for another ending, and where an image cannot be made.
        """
        import_module("loci.report").save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The way back from `save` to .json. Raises `OutputError` where the file is another
        result's, or does not hold all of it.
        """
        result: Self = import_module("loci.restore").load(cls, Path(path))
        return result

    def to_frame(self) -> Any:
        """One long table: a row for every number, with its place. A pandas DataFrame where pandas
        is installed, else an Arrow table.

        Raises `OutputError` where neither is.
        """
        return import_module("loci.figures.tables").frame(self.to_dict())

    def _repr_html_(self) -> str:
        html: str = import_module("loci.report").notebook(self)
        return html

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        compared = [field.name for field in fields(self) if field.compare]  # type: ignore[arg-type]
        return all(same(getattr(self, name), getattr(other, name)) for name in compared)

    def __hash__(self) -> int:
        named = ((field.name, getattr(self, field.name)) for field in fields(self) if field.compare)  # type: ignore[arg-type]
        return hash(
            (
                type(self),
                *((name, value) for name, value in named if isinstance(value, (str, bool, int))),
            )
        )

    def __repr__(self) -> str:
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        shown = ", ".join(f"{name}={brief(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({shown})"


def same(first: Any, second: Any) -> bool:
    """Whether two values are equal: arrays entry by entry, containers part by part, NaN equal to
    NaN.
    """
    if first is second:
        return True
    if hasattr(first, "tolist") and hasattr(second, "tolist"):
        return (
            first.shape == second.shape
            and first.dtype == second.dtype
            and same(first.tolist(), second.tolist())
        )
    if isinstance(first, float) and isinstance(second, float):
        return first == second or (first != first and second != second)
    if type(first) is not type(second):
        return bool(first == second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(
            same(value, second[key]) for key, value in first.items()
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(
            same(a, b) for a, b in zip(first, second, strict=True)
        )
    if is_dataclass(first) and not isinstance(first, type):
        return all(
            same(getattr(first, field.name), getattr(second, field.name)) for field in fields(first)
        )
    return bool(first == second)


def brief(value: Any) -> str:
    """A value on a line: arrays by their shape, long containers by their length."""
    if hasattr(value, "shape"):
        return f"<{' × '.join(map(str, value.shape)) or 'scalar'}>"
    if isinstance(value, dict):
        shown = ", ".join(f"{key!r}: {brief(item)}" for key, item in list(value.items())[:6])
        return f"{{{shown}{', …' * (len(value) > 6)}}}"
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return (
            repr(value)
            if len(value) <= 4 and all(isinstance(item, (str, int)) for item in value)
            else f"<{len(value)}>"
        )
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:119]}…"


def jsonable(value: Any) -> Any:
    """A document as JSON can say it: NaN and infinity become null, keys text, tuples lists."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {
            key if isinstance(key, str) else str(key): jsonable(item) for key, item in value.items()
        }
    return [jsonable(item) for item in value] if isinstance(value, (list, tuple)) else value
