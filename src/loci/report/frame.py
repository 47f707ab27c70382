"""The frame of every page: one HTML file that opens without a network, on a screen of any width."""

import json
from collections.abc import Iterable, Sequence
from html import escape, unescape
from importlib.resources import files
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from loci.figures import plot
from loci.report.stacking import stacked
from loci.result import About, Result
from loci.version import VERSION

OPEN_ROWS = 30
"""A longer table is folded behind this many rows."""
GRADES = {"good": "✓", "mixed": "◐", "bad": "✗", "": ""}
"""How a verdict is marked, beside its colour."""
TITLE_ROOM, NOTE_ROOM = 40, 18
"""Pixels that a figure's title and the line below it take, which a page gives back."""


def frame(
    title: str, heading: str, kicker: str, intro: str, sections: Iterable[str], told: str
) -> str:
    """A whole page; `heading` and `intro` are HTML, the other words are text."""
    read = files("loci.report").joinpath
    style, script = (read(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    body = "".join(sections)
    drawn = "plotly-graph-div" in body
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Loci: {escape(title)}</title><style>{style}</style>
<script>{get_plotlyjs() if drawn else ""}</script></head>
<body><main>
<header><p class="kicker">Loci · {escape(kicker)}</p>
<h1>{heading}</h1>
{intro if intro.startswith("<p") or not intro else f"<p>{intro}</p>"}</header>
{body}
<footer>Loci {VERSION} · {escape(told)}</footer>
</main>{f"<script>{script}</script>" if drawn else ""}</body></html>
"""


def verdict(words: str, grade: str = "") -> str:
    """The conclusion in words, with a mark and a colour: good, mixed, bad, or none where there is
    nothing to judge.
    """
    mark = f"<b>{GRADES[grade]}</b> " if grade else ""
    return f'<p class="verdict {grade}">{mark}{escape(words)}</p>' if words else ""


def words_of(result: Result) -> About:
    """The description of a result; of a class without one, its docstring's first line."""
    if result.about.kind:
        return result.about
    first = (type(result).__doc__ or "").strip().split("\n")[0]
    return result.about._replace(kind=type(result).__name__, question=first)


def section(title: str, words: str, *parts: str) -> str:
    """A titled part: a paragraph for each line of its words, then HTML."""
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in words.splitlines())
    return f"<section><h2>{escape(title)}</h2>{paragraphs}{''.join(parts)}</section>"


def figure(
    result: Any, *, titled: bool = True, noted: bool = True, drawn: go.Figure | None = None
) -> str:
    """A result's figure (or `drawn` in its place), live, for the width it finds; its title and note
    as text above it where wanted.
    """
    drawn = plot(result) if drawn is None else drawn
    said = drawn.layout.meta or {}
    title, note = said.get("title", ""), said.get("note", "")
    height, top = drawn.layout.height or 450, drawn.layout.margin.t or 80
    room = (TITLE_ROOM if title else 0) + (NOTE_ROOM * (1 + note.count("<br>")) if note else 0)
    margin = max(24, top - room)
    drawn.update_layout(
        title=None, width=None, autosize=True, height=height - (top - margin), margin={"t": margin}
    )
    plain = json.loads(drawn.to_json())
    narrow, domains = stacked(plain, height - top - (drawn.layout.margin.b or 80))
    document = {
        "data": plain["data"],
        "layout": plain["layout"],
        "narrow": narrow,
        "domains": domains,
    }
    data = json.dumps(document, ensure_ascii=False).replace("</", "<\\/")
    words = f"<h3>{_text(title)}</h3>" if titled and title else ""
    words += f'<p class="note">{_text(note)}</p>' if note and noted else ""
    return (
        f'<div class="figure">{words}<div class="plotly-graph-div"></div><script'
        f' type="application/json">{data}</script></div>'
    )


def _text(words: str) -> str:
    """A figure's words on a page, escaped once: its line breaks are the picture's."""
    return escape(unescape(words.replace("<br>", " ")))


def settings(values: dict[str, Any]) -> str:
    """The settings of a result, as a list of names and values."""
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in values.items()
    )
    return f'<dl class="settings">{rows}</dl>'


def table(names: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[bool] = ()) -> str:
    """Rows of text under their names, folded behind the first `OPEN_ROWS`; `bad` ones in red."""
    shown, folded = rows[:OPEN_ROWS], rows[OPEN_ROWS:]
    more = _grid(names, folded, bad[OPEN_ROWS:]) if folded else ""
    rest = f"<details><summary>{len(folded)} more</summary>{more}</details>" if folded else ""
    return f'<div class="table">{_grid(names, shown, bad[:OPEN_ROWS])}{rest}</div>'


def _grid(names: Sequence[str], rows: Sequence[Sequence[str]], bad: Sequence[bool]) -> str:
    """Columns whose cells are all numbers stand at the right, with their headings."""
    number = [all(_number(row[i]) for row in rows) and bool(rows) for i in range(len(names))]
    mark = [' class="n"' if right else "" for right in number]
    head = "".join(f"<th{mark[i]}>{escape(name)}</th>" for i, name in enumerate(names))
    body = ""
    for at, row in enumerate(rows):
        cells = "".join(f"<td{mark[i]}>{escape(cell)}</td>" for i, cell in enumerate(row))
        wrong = ' class="bad-row"' if at < len(bad) and bad[at] else ""
        body += f"<tr{wrong}>{cells}</tr>"
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _number(cell: str) -> bool:
    return (
        cell in ("", "–")
        or cell.lstrip("+-−")
        .replace(",", "")
        .rstrip("%°")
        .replace(".", "", 1)
        .replace("e-", "")
        .isdigit()
    )
