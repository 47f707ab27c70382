"""A result in a notebook: what came out in words, then its figure, if it has one."""

from html import escape

import plotly.io

from loci.figures import has_figure, plot
from loci.report.frame import table, words_of
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
