"""Figures of interference: reading k features back, and the dimensions that it takes."""

import math

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, intervals, styled
from loci.studies.superposition import Interference

INKS = {"random": MUTED, "explicit": BLUE, "learned": ORANGE}
DASHES = {"threshold": "solid", "top k": "dash", "pursuit": "dot"}
NEEDS = {
    "every set, threshold": INK,
    "90 % of sets, threshold": ORANGE,
    "90 % of sets, pursuit": BLUE,
}


def interference_figure(result: Interference) -> go.Figure:
    """Left: sets read back whole, by decoder. Middle: errors of the threshold and the Gaussian law.
    Right: dimensions needed.
    """
    titles = (
        "sets read back whole",
        "features read wrong, and the law",
        "dimensions needed, random directions",
    )
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.09)
    for curve in result.curves:
        ink = INKS.get(curve.kind, INK)
        for name, row in curve.whole.items():
            line = {"color": ink, "dash": DASHES[name], "width": 2}
            bars = intervals(row) | {"color": ink, "width": 2}
            trace = go.Scatter(
                x=list(result.active),
                y=[e.value for e in row],
                name=f"{curve.kind}, {name}",
                line=line,
                error_y=bars,
            )
            figure.add_trace(trace, row=1, col=1)
        for y, mode, extra in (
            (curve.errors, "markers", {"marker": {"color": ink}}),
            (curve.law, "lines", {"line": {"color": ink, "width": 1}}),
        ):
            shown = [v if v > 0 else None for v in y]
            figure.add_trace(
                go.Scatter(x=list(result.active), y=shown, mode=mode, showlegend=False, **extra),
                row=1,
                col=2,
            )
    _dimensions(figure, result)
    figure.update_xaxes(title="k, features at once", type="log", tickvals=[1, 2, 4, 8, 16, 32])
    figure.update_yaxes(tickformat=".0%", range=[-0.03, 1.05], gridcolor=GREY, col=1)
    figure.update_yaxes(
        type="log", exponentformat="power", dtick=1, range=[-6, 0], gridcolor=GREY, col=2
    )
    figure.update_yaxes(type="log", dtick=1, gridcolor=GREY, col=3)
    figure.update_annotations(font_size=13)
    every = ", ".join(f"{curve.kind} {curve.for_all}" for curve in result.curves)
    note = (
        f"{result.trials} random sets for each point, 95 % intervals; the threshold reads every set"
        f" up to k: {every}"
    )
    styled(
        figure,
        f"{result.features} features in {result.dim} dimensions: how many at once?",
        note,
        height=520,
    )
    return figure.update_layout(
        margin={"t": 110}, legend={"orientation": "h", "y": -0.18, "font": {"size": 11}}
    )


def _dimensions(figure: go.Figure, result: Interference) -> None:
    """Right: the dimensions that sets of k features need, and the law."""
    needed = result.needed
    for name, dims in needed.dims.items():
        line = {"color": NEEDS[name], "width": 2}
        label = f"{name}: ∝ k^{needed.power(name):.2f}"
        figure.add_trace(
            go.Scatter(
                x=list(needed.active), y=list(dims), name=label, line=line, mode="lines+markers"
            ),
            row=1,
            col=3,
        )
    law = [8 * k * k * math.log(result.features / k) for k in needed.active]
    trace = go.Scatter(
        x=list(needed.active),
        y=law,
        name="8 k² ln(m/k)",
        mode="lines",
        line={"color": GREY, "dash": "dash"},
    )
    figure.add_trace(trace, row=1, col=3)
