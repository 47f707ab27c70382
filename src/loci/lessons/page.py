"""A lesson that was run, as one HTML page that needs no network."""

from html import escape
from typing import Any

import plotly.graph_objects as go
from markdown_it import MarkdownIt

from loci.lessons.exercises import Exercise
from loci.lessons.running import Choice, Ran, Text
from loci.report.frame import figure, frame


def page(ran: Ran) -> str:
    """The page of a lesson: words, settings with their values, pictures, exercises."""
    entry = ran.lesson
    names = {id(choice): name for name, choice in ran.choices.items()}
    parts = [_part(value, names) for value in ran.shown]
    which = entry.number or entry.path.name
    told = f"loci lessons {which} runs it in a terminal; --open in a browser, to change it"
    return frame(
        entry.title,
        escape(entry.title),
        entry.called,
        escape(entry.summary),
        [f"<section>{''.join(parts)}</section>"],
        told,
    )


def _part(value: Any, names: dict[int, str]) -> str:
    if isinstance(value, Text):
        return str(MarkdownIt("commonmark").enable("table").render(value.markdown))
    if isinstance(value, go.Figure):
        return figure(None, drawn=value)
    if isinstance(value, Exercise):
        return value._repr_html_()
    if isinstance(value, Choice):
        name = names.get(id(value), "")
        return f'<p class="note">{escape(setting(name, value))}</p>'
    return f"<pre>{escape(str(value))}</pre>"


def setting(name: str, choice: Choice) -> str:
    """One line about something to change."""
    allowed = ", ".join(choice.options) or f"{choice.start:g} … {choice.stop:g}"
    return f"{choice.label}: {choice.value} ({name}, {allowed})"
