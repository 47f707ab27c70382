"""Tables as values: what a result shows of its numbers, whoever draws them.

    Table("By relation", (Column("relation"), Column("known", ".1%")), (("capital", share([1, 0,
    1])),))

A terminal, a page, a notebook and a figure all read the same `Table`.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from loci.stats import Estimate

Cell = str | int | float | bool | Estimate | None
CELLS = (str, int, float, bool, Estimate, type(None))


@dataclass(frozen=True)
class Column:
    """A column's heading, and the format of its numbers. `unit` stands behind the name."""

    name: str
    form: str = ".3g"
    unit: str = ""

    @property
    def heading(self) -> str:
        """The name with its unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    def told(self, cell: Cell) -> str:
        """A cell as text: an estimate with its interval, a whole number with commas, a dash for
        nothing.
        """
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            return "–"
        if isinstance(cell, bool):
            return "yes" if cell else "no"
        if isinstance(cell, Estimate):
            return cell.told(self.form)
        if isinstance(cell, int):
            return f"{cell:,}"
        return format(cell, self.form) if isinstance(cell, float) else str(cell)


@dataclass(frozen=True)
class Table:
    """Rows under columns; the first column names the rows. Raises `ValueError` for a row of another
    width and for what is no cell.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    """Cells are `Cell`s, which is checked as they are made: starred rows are not typed."""
    note: str = ""
    """How to read it, below it."""
    shown: int | None = None
    """Most rows that a terminal shows; a page and a notebook have all."""
    heat: float | None = None
    """Where the numbers are effects that are read by their size: that of the darkest."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")
            for cell in row:
                if not isinstance(cell, CELLS):
                    raise ValueError(f"{type(cell).__name__} is no cell of a table")

    @property
    def headings(self) -> list[str]:
        """The columns' names with their units."""
        return [column.heading for column in self.columns]

    def texts(self) -> list[list[str]]:
        """All cells as text, row by row."""
        return [
            [column.told(cell) for column, cell in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def numeric(self) -> list[int]:
        """The columns, but for the first, that hold numbers in every row."""
        return [
            at
            for at in range(1, len(self.columns))
            if self.rows and all(isinstance(row[at], (int, float, Estimate)) for row in self.rows)
        ]


def columns(*headings: str) -> tuple[Column, ...]:
    """Columns from "name", "name|format" or "name|format|unit"."""
    return tuple(Column(*heading.split("|")) for heading in headings)


NOTHING = re.compile(r"(?<![\w.])[-−](0(?:\.0+)?)(?!\d|[.,]\d|e)")


def unsigned(text: str) -> str:
    """Rounded to nothing has no sign: −0.00 reads 0.00; what is part of another number is left."""
    return NOTHING.sub(r"\1", text)


def sentences(summary: Iterable[str]) -> tuple[str, ...]:
    """A result's summary as it is shown: no empty lines, nothing that rounds to −0.00."""
    return tuple(unsigned(line) for line in summary if line)


def joined(tokens: Iterable[str]) -> str:
    """Tokens in a cell, without the spaces around them; what is nothing but space as a literal."""
    return ", ".join(token.strip() or repr(token) for token in tokens)


def value_of(cell: Any) -> float:
    """The number in a cell; an estimate's value."""
    return float(cell.value if isinstance(cell, Estimate) else cell)
