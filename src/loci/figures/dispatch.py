"""`loci.plot(result)`: the figure that a result declares, or a bar for every number of its first
table.
"""

import math

import plotly.graph_objects as go

from loci.errors import UseError
from loci.figures.outside import as_text
from loci.figures.theme import intervals, styled
from loci.result import Result
from loci.stats import Estimate
from loci.tables import Table, sentences, value_of


def drawable(result: object) -> bool:
    """Whether a result has a table with numbers."""
    return isinstance(result, Result) and any(table.numeric() for table in result.tables())


def tables_figure(result: Result) -> go.Figure:
    """Bars with their intervals, of the first table that holds numbers; a group of bars a row.
    Raises `UseError` without one.
    """
    table = next((table for table in result.tables() if table.numeric()), None)
    if table is None:
        raise UseError(f"{type(result).__name__} has no table with numbers to draw")
    figure = go.Figure([_bars(table, at) for at in table.numeric()])
    figure.update_layout(barmode="group", yaxis={"rangemode": "tozero"})
    return styled(figure, table.title, " ".join(sentences(result.summary())), height=420)


def _bars(table: Table, at: int) -> go.Bar:
    cells = [row[at] for row in table.rows]
    estimates = [
        cell if isinstance(cell, Estimate) else Estimate(value_of(cell), math.nan, math.nan, 1)
        for cell in cells
    ]
    names = [table.columns[0].told(row[0]) for row in table.rows]
    bars = go.Bar(x=names, y=[one.value for one in estimates], name=table.columns[at].heading)
    return bars.update(
        error_y=intervals(estimates), hovertext=[table.columns[at].told(cell) for cell in cells]
    )


def plot(result: object) -> go.Figure:
    """The figure of a result: its own, else bars of its first table with numbers.

        loci.plot(loci.trace(model, fact)).show()

    Args:
        result: what a verb gives.

    Raises: `UseError` for a result that has neither, and for anything else.
    """
    if isinstance(result, Result):
        escaped = as_text(result)
        figure: go.Figure | None = escaped.draw()
        if figure is not None:
            return figure
        if drawable(result):
            return tables_figure(escaped)
    raise UseError(
        f"there is no figure for {type(result).__name__}; loci.plot takes what loci.trace,"
        " loci.audit and the other verbs give"
    )


def has_figure(result: object) -> bool:
    """Whether `plot` has a figure for it."""
    if not isinstance(result, Result):
        return False
    return bool(result.about.figure) or type(result).draw is not Result.draw or drawable(result)
