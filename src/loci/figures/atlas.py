"""An atlas at a glance: how keys and values lie, how often neurons fire,
and which kinds there are.
"""

from math import log10
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled
from loci.reading import Atlas

KINDS = {"dead": ("dead", GREY), "always_on": ("always on", ORANGE), "erasers": ("erasers", INK)}
QUANTILES = {"q90": MUTED, "q99": BLUE, "max": INK}
LAYERS = [[0.0, "#c9d6ee"], [0.5, BLUE], [1.0, "#101c38"]]


def atlas_figure(atlas: Atlas) -> go.Figure:
    """Key·value cosine against firing rate, a point a neuron; beside it, by layer, how many are
    dead, always on or erasers, and how large activations are."""
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{"rowspan": 2}, {}], [None, {}]],
        column_widths=[0.6, 0.4],
        horizontal_spacing=0.18,
        vertical_spacing=0.2,
        subplot_titles=("a point a neuron", "kinds", "activations: medians over neurons"),
    )
    points, rows = atlas.scatter(), atlas.by_layer()
    decades = range(-int(log10(atlas.provenance["tokens"])), 1)
    ticks, lowest = [10.0**decade for decade in decades], 10.0 ** (decades[0] - 1)
    figure.add_trace(
        go.Scatter(
            x=points["cosine"],
            y=[max(rate, lowest) for rate in points["firing_rate"]],
            mode="markers",
            marker={
                "size": 4,
                "opacity": 0.7,
                "color": points["layer"],
                "colorscale": LAYERS,
                "colorbar": {
                    "title": "layer",
                    "x": 0.5,
                    "thickness": 10,
                    "dtick": max(1, len(rows) // 6),
                },
            },
            customdata=[
                f"L{layer}N{neuron}"
                for layer, neuron in zip(points["layer"], points["neuron"], strict=True)
            ],
            hovertemplate="%{customdata}: cosine %{x:.2f}, fires at %{y:.2%}<extra></extra>",
            showlegend=False,
        ),
        row=1,
        col=1,
    )
    _layers(figure, rows)
    _axes(figure, len(rows), ticks, lowest)
    said = atlas.provenance
    note = (
        f"{said['layers'] * said['d_mlp']:,} neurons over {said['tokens']:,} tokens of"
        f" {said['text']}"
    )
    return styled(figure, f"The atlas of {said['model']}", note, height=560).update_layout(
        margin={"t": 100}, legend={"orientation": "h", "x": 1, "xanchor": "right", "y": -0.16}
    )


def _layers(figure: go.Figure, rows: list[dict[str, Any]]) -> None:
    """Right: by layer, the kinds of neurons, and how large activations are."""
    for name, (words, ink) in KINDS.items():
        bar = go.Bar(
            x=[row["layer"] for row in rows],
            y=[row[name] for row in rows],
            name=words,
            marker_color=ink,
            hovertemplate=f"{words}, layer %{{x}}: %{{y:.2%}}<extra></extra>",
        )
        figure.add_trace(bar, row=1, col=2)
    for name, ink in QUANTILES.items():
        line = go.Scatter(
            x=[row["layer"] for row in rows],
            y=[row[name] for row in rows],
            name=name,
            line={"color": ink},
            mode="lines+markers",
        )
        figure.add_trace(line, row=2, col=2)


def _axes(figure: go.Figure, layers: int, ticks: list[float], lowest: float) -> None:
    """Titles, scales and ticks of the three panels."""
    figure.update_xaxes(title="cosine of key and value", gridcolor=GREY, col=1)
    figure.update_xaxes(dtick=max(1, layers // 8), col=2)
    figure.update_xaxes(title="layer", row=2, col=2)
    figure.update_yaxes(
        title="share of tokens at which it fires",
        type="log",
        tickvals=[*ticks, lowest],
        gridcolor=GREY,
        col=1,
    )
    figure.update_yaxes(ticktext=[*(f"{100 * tick:g} %" for tick in ticks), "never"], col=1)
    figure.update_yaxes(
        title="share of neurons", tickformat=".1%", rangemode="tozero", gridcolor=GREY, row=1, col=2
    )
    figure.update_yaxes(title="activation", rangemode="tozero", gridcolor=GREY, row=2, col=2)
    figure.update_annotations(font={"size": 13, "color": MUTED})
