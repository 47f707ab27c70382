"""`loci.plot(result)`: the figure that a result declares, or bars of its tables."""

import plotly.graph_objects as go

from loci.errors import UseError
from loci.figures.from_tables import drawable, tables_figure
from loci.figures.outside import as_text
from loci.result import Result


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
