"""Answers of an atlas: neurons that a word leads to, neurons of a kind, rows of a question in
SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from loci.result import About, Result
from loci.tables import Cell, Column, Table

ERASES = -0.3
"""From this key·value cosine down a neuron counts as an eraser: five standard deviations of
random vectors of 256 dimensions."""
KINDS = {
    "eraser": (f"cosine <= {ERASES}", "cosine", f"key·value cosine at most {ERASES}"),
    "dead": ("dead", "cosine", "above 0 at no token"),
    "always-on": ("always_on", "mean DESC", "above 0 at every token"),
}
"""Kinds of neurons: what SQL asks for, how they are ordered, and the rule in words."""


@dataclass(frozen=True)
class WordNeurons(Result):
    """Neurons that a word leads to, the strongest first: those whose values promote it, and
    those it fires."""

    about: ClassVar[About] = About(
        "neurons of a word", "Which neurons promote a word, and which fire at it?"
    )

    model: str
    word: str
    promoted_by: tuple[dict[str, Any], ...]
    fires: tuple[dict[str, Any], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(row["name"] for row in (*self.promoted_by, *self.fires)))

    def title(self) -> str:
        return f"{self.word} in {self.model}"

    def tables(self) -> tuple[Table, ...]:
        asked = (("promoted by", self.promoted_by), ("fires", self.fires))
        return tuple(_of_rows(title, rows) for title, rows in asked)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.atlas_find/1",
            "model": self.model,
            "word": self.word,
            "promoted_by": list(self.promoted_by),
            "fires": list(self.fires),
        }


@dataclass(frozen=True)
class NeuronKind(Result):
    """Neurons of one kind, with their number and the first of them."""

    about: ClassVar[About] = About(
        "neurons of a kind", "Which neurons are dead, always on, or erase what fires them?"
    )

    model: str
    kind: str
    rule: str
    count: int
    neurons: tuple[dict[str, Any], ...]

    def title(self) -> str:
        return f"{self.count:,} {self.kind} neurons in {self.model}: {self.rule}"

    def tables(self) -> tuple[Table, ...]:
        return (_of_rows("", self.neurons),)

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "loci.atlas_kind/1", **vars(self), "neurons": list(self.neurons)}


@dataclass(frozen=True)
class QueryRows(Result):
    """The answer to a question in SQL."""

    about: ClassVar[About] = About("an answer of the atlas", "What does the query give?")

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(tuple(map(_cell, row)) for row in self.rows)
        return (Table("", tuple(Column(name, ".4g") for name in self.columns), rows, shown=200),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.atlas_query/1",
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
        }


def _of_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Neurons by name, with what the atlas says of each."""
    names = [
        name for name in (rows[0] if rows else {"name": ""}) if name not in ("layer", "neuron")
    ]
    cells = tuple(tuple(_cell(row[name]) for name in names) for row in rows)
    note = "" if rows else "none"
    return Table(title, tuple(Column(name, ".4g") for name in names), cells, note=note, shown=200)


def _cell(value: Any) -> Cell:
    return value if isinstance(value, (str, float, bool)) or value is None else str(value)
