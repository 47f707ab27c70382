"""What every page is made of: one HTML file that opens without a network."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import plotly.io
from plotly.offline import get_plotlyjs

from loci import __version__
from loci.figures import plot

OPEN_ROWS = 30
"""A longer table is folded behind this many rows."""


def frame(title: str, heading: str, kicker: str, intro: str, sections: Iterable[str], told: str) -> str:
    """A whole page; `heading` and `intro` are HTML, the other words are text."""
    style = files("loci.report").joinpath("page.css").read_text(encoding="utf-8")
    body = "".join(sections)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Loci: {escape(title)}</title><style>{style}</style><script>{get_plotlyjs() if "plotly" in body else ""}</script></head>
<body><main>
<header><p class="kicker">Loci · {escape(kicker)}</p>
<h1>{heading}</h1>
<p>{intro}</p></header>
{body}
<footer>Loci {__version__} · {escape(told)}</footer>
</main></body></html>
"""


def section(title: str, words: str, *parts: str) -> str:
    """A titled part: a paragraph for each line of its words, then HTML."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in words.splitlines())
    return f"<section><h2>{escape(title)}</h2>{paragraphs}{''.join(parts)}</section>"


def figure(result: Any) -> str:
    """A result's figure, live."""
    html: str = plotly.io.to_html(
        plot(result), include_plotlyjs=False, full_html=False, config={"displayModeBar": False, "responsive": True}
    )
    return f'<div class="figure">{html}</div>'


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text under their names, folded behind the first `OPEN_ROWS`."""
    shown, folded = rows[:OPEN_ROWS], rows[OPEN_ROWS:]
    rest = f"<details><summary>{len(folded)} more</summary>{_grid(names, folded)}</details>" if folded else ""
    return f'<div class="table">{_grid(names, shown)}{rest}</div>'


def _grid(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
