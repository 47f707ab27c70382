"""A result in a notebook: what it is, then its figure, if it has one."""

from html import escape
from typing import Any

import plotly.io

from loci.figures import has_figure, plot

_SCRIPT = {"sent": False}
"""Whether this session's notebook has plotly.js already: it is sent once, whole, so that no network is needed."""


def notebook(result: Any) -> str:
    """The HTML of a result for a notebook's cell."""
    words = f"<p><code>{escape(repr(result))}</code></p>"
    if not has_figure(result):
        return words
    html: str = plotly.io.to_html(plot(result), include_plotlyjs=not _SCRIPT["sent"], full_html=False)
    _SCRIPT["sent"] = True
    return words + html
