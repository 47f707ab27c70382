"""Any result as a page, or in a notebook's cell: its kind, its summary, the figure and how to read
it, numbers with their intervals, how it was made.
"""

from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from typing import Any

import plotly.io

from loci.auditing import Scorecard
from loci.auditing.forensics import Forensics
from loci.figures import check_ending, has_figure, plot
from loci.figures import save as save_figure
from loci.figures.tables import rows, said_once
from loci.files import write_aside
from loci.reading import NeuronCard
from loci.report.audits import forensics_page, scorecard_page
from loci.report.frame import figure, frame, section, settings, table, verdict, words_of
from loci.report.story_page import neuron_card
from loci.result import Result
from loci.tables import sentences

_SCRIPT = {"sent": False}
"""Whether this session's notebook has plotly.js already: it is sent once, whole, so that no network
is needed.
"""


def notebook(result: Result) -> str:
    """The HTML of a result for a notebook's cell."""
    words, verdict = words_of(result), " ".join(sentences(result.summary()))
    html = f"<p><b>{escape(words.kind)}</b> · {escape(words.question)}</p>" + (
        f"<p>{escape(verdict)}</p>" if verdict else ""
    )
    html += "".join(table(own.headings, own.texts()) for own in result.tables() if own.rows)
    if not has_figure(result):
        return html + f"<p><code>{escape(repr(result))}</code></p>"
    html += str(
        plotly.io.to_html(plot(result), include_plotlyjs=not _SCRIPT["sent"], full_html=False)
    )
    _SCRIPT["sent"] = True
    return html


OWN: dict[type, Callable[[Any], str]] = {Scorecard: scorecard_page, Forensics: forensics_page}
"""Results with a page of their own."""
MOST_NUMBERS = 400
SAID = ("words", "verdict", "schema")
NAMES = {
    "bos": "BOS before texts",
    "clean": "P(answer), clean",
    "corrupted": "P(answer), subject hidden",
    "known": "the model's own answer",
}
OWNERS = (
    "name",
    "head",
    "method",
    "kind",
    "space",
    "layer",
    "edits",
    "step",
    "facts",
    "dim",
    "bias",
    "size",
    "relation",
)
"""Fields that name an entry of a list in the table of numbers."""


def save(result: Any, path: str | Path) -> None:
    """Write a result by the ending of `path`: .html a report, all else as `loci.figures.save`."""
    path = Path(path)
    check_ending(path)
    if path.suffix != ".html":
        save_figure(result, path)
        return
    with write_aside(path) as aside:
        aside.write_text(page_of(result), encoding="utf-8")


def page_of(result: Result) -> str:
    """The page of a result."""
    if type(result) in OWN:
        return OWN[type(result)](result)
    words, document = words_of(result), result.to_dict()
    heading, tables = title_of(result), result.tables()
    said = verdict(" ".join(sentences(result.summary())), result.grade())
    intro = f"<p>{escape(words.question)}</p>{said}"
    sections = [
        (
            section("The figure", words.reading, figure(result, titled=False))
            if has_figure(result)
            else ""
        ),
        section("Its card", "", neuron_card(result)) if isinstance(result, NeuronCard) else "",
        *(
            section(own.title, own.note, table(own.headings, own.texts()) if own.rows else "")
            for own in tables
            if own.rows or own.note
        ),
        "" if tables else _numbers(document),
        section("How it was made", "", settings(made)) if (made := _made(document)) else "",
    ]
    told = " · ".join(
        f"{name} {document[name]}"
        for name in ("model", "schema")
        if isinstance(document.get(name), str)
    )
    return frame(heading, escape(heading), words.kind, intro, sections, told)


def title_of(result: Result) -> str:
    """The figure's title, or what the kind says."""
    if has_figure(result):
        meta = plot(result).layout.meta or {}
        if meta.get("title"):
            return unescape(str(meta["title"]).replace("<br>", " "))
    return result.title() or type(result).__name__


def _made(document: dict[str, Any]) -> dict[str, str]:
    """Fields that hold for the whole result: model, seed, samples and the like, without long words
    and what the page says anyway.
    """
    once = {
        name: value
        for name, value in said_once(document).items()
        if name not in SAID and value is not None
    }
    return {
        NAMES.get(name, name.replace("_", " ")): _plain(value)
        for name, value in once.items()
        if len(str(value)) < 200
    }


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        f"{value:,}"
        if isinstance(value, int)
        else f"{value:.4g}"
        if isinstance(value, float)
        else str(value)
    )


def _numbers(document: dict[str, Any]) -> str:
    """All estimates, with their intervals and n."""
    all_rows = rows(document)
    estimates = [
        row for row in all_rows if {"value", "low", "high", "n"} <= row.keys() and row["n"]
    ]
    if not estimates:
        return ""
    beside = {
        (row["part"], row.get("i"), row.get("j")): row for row in all_rows if "value" not in row
    }
    shown = estimates[:MOST_NUMBERS]
    cells = [
        [_place(row, beside), _short(row["value"]), _between(row), f"{row['n']:,}"] for row in shown
    ]
    words = "Values with 95 % intervals and the number of independent units behind each."
    words += (
        f" The first {len(shown)} of {len(estimates)}; .json and .parquet hold all."
        if len(estimates) > len(shown)
        else ""
    )
    return section("Numbers", words, table(["", "value", "95 % interval", "n"], cells))


def _between(row: dict[str, Any]) -> str:
    return "" if row["low"] is None else f"{_short(row['low'])} … {_short(row['high'])}"


def _place(row: dict[str, Any], beside: dict[Any, dict[str, Any]]) -> str:
    """Where a number stands: its names, and of a list's entry what the entry says of itself, or
    else its place.
    """
    part, at = row["part"], (row.get("i"), row.get("j"))
    names = part.replace("_", " ").replace(".", " · ")
    owner = beside.get((part.rpartition(".")[0], *at))
    if owner is not None:
        told = [f"{name} {_plain(owner[name])}" for name in OWNERS if owner.get(name) is not None]
        return f"{names.rpartition(' · ')[2]} ({', '.join(told)})" if told else names
    places = ", ".join(str(index) for index in (*at, row.get("k")) if index is not None)
    return f"{names}, {places}" if places else names


def _short(value: float | None) -> str:
    return (
        "–"
        if value is None
        else f"{value:.4g}"
        if abs(value) >= 5e-5 or value == 0
        else f"{value:.1e}"
    )
