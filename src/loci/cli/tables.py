"""How tables look on a terminal, in one place: numbers at the right under headings at the right, no
minus before nothing, captions in lines.

`Terminal.print` sends every table and caption through here, so that whoever makes one only fills
it.
"""

import re

from rich.table import Table
from rich.text import Text

NUMBER = r"[+\-−]?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:e[+-]?\d+)?\s?(?:%|°|×|s)?"
NUMBERS = re.compile(
    rf"(?:{NUMBER}|–|nan)?(?:\s*(?:…|→|/|×)\s*(?:{NUMBER}|–))*(?:\s*\[{NUMBER}, {NUMBER}\])?"
)
"""A number, a range, one with its interval, or nothing."""
FIRST = 28
"""A first column of names up to this width is never folded."""
CAPTION = re.compile(r"(\n*)\[dim\]([^\[\]]*)\[/\](\n*)", re.DOTALL)


def aligned(table: Table) -> Table:
    """The table, each column of numbers and its heading at the right; a column that says its own
    side keeps it.
    """
    from loci.tables import unsigned

    for column in table.columns:
        column._cells = [
            unsigned(cell) if isinstance(cell, str) else cell for cell in column._cells
        ]
        texts = [
            Text.from_markup(cell).plain.strip() if isinstance(cell, str) else str(cell)
            for cell in column._cells
        ]
        if column is table.columns[0] and max(map(len, [*texts, str(column.header)])) <= FIRST:
            column.no_wrap = True
        if (
            column.justify == "left"
            and any(texts)
            and all(NUMBERS.fullmatch(text) for text in texts)
        ):
            column.justify = "right"
    return table


def lines(text: str, width: int) -> str:
    """A caption that does not fit one line, a line for each of its parts."""
    caption = CAPTION.fullmatch(text)
    if caption is None or len(caption[2]) <= width or "; " not in caption[2]:
        return text
    parts = "\n".join(f"[dim]{part}[/]" for part in caption[2].split("; "))
    return f"{caption[1]}{parts}{caption[3]}"
