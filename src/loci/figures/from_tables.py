"""The figure of a result that declares tables and draws nothing itself: a bar for every number of
the first table.
"""

import math

import plotly.graph_objects as go

from loci.errors import UseError
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
