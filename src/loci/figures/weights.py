"""A model's directions beside random ones and the limit, layer by layer."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled
from loci.studies.superposition import WeightAngles
from loci.studies.superposition.weight_directions import DirectionSet


def weights_figure(result: WeightAngles) -> go.Figure:
    """Left: the angle to the nearest other, in the median, beside random and the limit. Right:
    rank, and features a dimension.
    """
    titles = ("angle to the nearest other direction", "effective rank", "features per dimension")
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.09)
    names = [
        space.name if space.layer is None else f"{space.name} {space.layer}"
        for space in result.spaces
    ]
    _nearest(figure, result, names)
    for col, values in (
        (2, [s.effective_rank for s in result.spaces]),
        (3, [s.per_dimension for s in result.spaces]),
    ):
        figure.add_trace(
            go.Bar(
                x=names,
                y=values,
                marker={"color": [_ink(s) for s in result.spaces]},
                showlegend=False,
            ),
            row=1,
            col=col,
        )
    widths = {space.angles.dim for space in result.spaces}
    for width in widths:
        figure.add_hline(y=width, line={"color": INK, "dash": "dot"}, row=1, col=2)
    floors = [s.angles.vectors / s.angles.dim for s in result.spaces]
    figure.add_trace(
        go.Scatter(
            x=names,
            y=floors,
            name="N / d: the fewest",
            mode="markers",
            marker={"color": INK, "symbol": "line-ew-open", "size": 9},
        ),
        row=1,
        col=3,
    )
    figure.update_yaxes(gridcolor=GREY, rangemode="tozero")
    figure.update_yaxes(title="degrees", range=[0, 92], col=1)
    figure.update_xaxes(tickangle=-60, tickfont_size=11)
    figure.update_annotations(font_size=13)
    note = (
        f"{', centred' if result.centred else 'as they are'}; dotted: the dimension; lines by"
        " |cosine|, so opposite counts as near".lstrip(", ")
    )
    styled(
        figure, f"How do the directions of {result.model} share their dimensions?", note, height=520
    )
    return figure.update_layout(margin={"t": 110}, legend={"orientation": "h", "y": -0.35})


def _nearest(figure: go.Figure, result: WeightAngles, names: list[str]) -> None:
    """Left: angles to the nearest other direction."""
    rows = {
        "median of the model": ([s.angles.median_nearest for s in result.spaces], BLUE, "circle"),
        "nearest pair of the model": (
            [s.angles.closest_line for s in result.spaces],
            ORANGE,
            "circle",
        ),
        "median of random ones": (
            [s.random.median_nearest for s in result.spaces],
            MUTED,
            "line-ew-open",
        ),
        "limit of the nearest pair": ([s.limit for s in result.spaces], INK, "line-ew-open"),
    }
    for name, (values, ink, symbol) in rows.items():
        marker = {"color": ink, "symbol": symbol, "size": 9, "line": {"width": 2, "color": ink}}
        figure.add_trace(
            go.Scatter(x=names, y=values, name=name, mode="markers", marker=marker), row=1, col=1
        )


def _ink(space: DirectionSet) -> str:
    return {"keys": BLUE, "values": ORANGE}.get(space.name, MUTED)
