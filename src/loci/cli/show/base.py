"""`show(result)`: the form of a result by its type, and the pieces that forms share."""

import math
from collections.abc import Sequence
from functools import singledispatch

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from loci import tables
from loci.cli.console import console
from loci.cli.terminal import plain
from loci.result import Result

BLUE = "#2f7fd6"
SHADES = ("grey50", "default", BLUE, f"bold {BLUE}", f"bold reverse {BLUE}")
"""From nothing to most; each can be read on a light and on a dark screen."""
EDGES = 4
"""Columns that a table needs beside its cells."""


@singledispatch
def show(result: object) -> None:
    """Print a result. What comes from outside is escaped: names, tokens, cells, paths."""
    if not isinstance(result, Result):
        raise TypeError(f"{type(result).__name__} has no form on a terminal")
    title = result.title()
    lines = [*([title] if title else []), *tables.sentences(result.summary())]
    for number, line in enumerate(lines):
        console.print(f"[bold]{plain(line)}[/]" if number == 0 else plain(line))
    for number, table in enumerate(result.tables()):
        if lines or number:
            console.print()
        show_table(table)


def show_table(table: tables.Table) -> None:
    """A table with its title and note; of a long one the first rows, of an empty one the note."""
    if table.title and table.rows:
        console.print(f"[dim]{plain(table.title)}[/]")
    left = 0 if table.shown is None else len(table.rows) - table.shown
    if table.rows:
        console.print(of_table(table))
    if left > 0:
        console.print(f"[dim]… and {left:,} more; --json has them all[/]")
    if table.note:
        console.print(f"[dim]{plain(table.note)}[/]")


def of_table(table: tables.Table) -> Table:
    """A table as rich draws it: headings, and cells as text; turned where its numbers do not fit
    the width.
    """
    texts, headings = table.texts()[: table.shown], [*map(plain, table.headings)]
    if table.heat is None:
        cells = [[*map(plain, row)] for row in texts]
    else:
        rows = table.rows[: table.shown]
        cells = [
            [plain(text[0]), *_shaded(row[1:], table.heat)]
            for row, text in zip(rows, texts, strict=True)
        ]
    numbers = len(table.numeric()) == len(headings) - 1 > 0
    turned = [[*row] for row in zip(headings, *cells, strict=True)]
    if numbers and console.width < _width(headings, cells) > _width(turned[0], turned[1:]):
        headings, *cells = turned
    tight = _width(headings, cells) > console.width - EDGES
    drawn = Table(*headings, box=None, header_style="dim", pad_edge=not tight)
    drawn.padding = (0, 1, 0, 0) if tight else (0, 1)
    for row in cells:
        drawn.add_row(*row)
    return drawn


def _width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """The width of a table of at least one row, whose headings may be folded between words."""
    longest = [max(map(len, heading.split()), default=0) for heading in headings]
    cells = [
        max((cell_len(Text.from_markup(cell).plain) for cell in column), default=0)
        for column in zip(*rows, strict=True)
    ]
    return sum(max(*pair) + 2 for pair in zip(longest, cells, strict=True))


def _shaded(row: Sequence[tables.Cell], limit: float) -> list[str]:
    return [shade(tables.value_of(cell) if cell is not None else math.nan, limit) for cell in row]


def shade(effect: float, limit: float) -> str:
    """An effect in hundredths, as dark as it is large; without colours it is the number alone."""
    if math.isnan(effect):
        return f"[{SHADES[0]}]   –[/]"
    level = min(len(SHADES) - 1, max(0, int(effect / limit * len(SHADES))))
    return f"[{SHADES[level]}]{tables.unsigned(f'{100 * effect:.0f}'):>4}[/]"
