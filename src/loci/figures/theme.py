"""One look for all figures: few inks, no grid where cells speak, numbers one can read."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from loci.stats import Estimate

INK = "#1f2430"
MUTED = "#8a90a0"
PAPER = "#ffffff"
BLUE, ORANGE, GREY = "#2f5fb3", "#d1662b", "#b8bdc9"
DIVERGING = [
    [0.0, "#b4541c"],
    [0.25, "#eeb68f"],
    [0.5, "#ffffff"],
    [0.75, "#8fb0e2"],
    [1.0, "#1d4791"],
]
FONT = "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif"


def intervals(estimates: Sequence[Estimate]) -> dict[str, Any]:
    """Error bars from 95 % intervals, of no length where there is none."""

    def reach(a: float, b: float) -> float:
        return 0 if math.isnan(a - b) else a - b

    return {
        "type": "data",
        "symmetric": False,
        "array": [reach(e.high, e.value) for e in estimates],
        "arrayminus": [reach(e.value, e.low) for e in estimates],
        "thickness": 1.5,
    }


def by_layer(
    estimates: Sequence[Estimate], layers: Sequence[Any], name: str, ink: str, form: str
) -> go.Scatter:
    """A line over the layers with intervals; `form` is how a value reads."""
    return go.Scatter(
        x=list(layers),
        y=[e.value for e in estimates],
        mode="lines+markers",
        name=name,
        line={"color": ink, "width": 2},
        error_y=intervals(estimates),
        hovertemplate=f"{name}, %{{x}}: %{{y:{form}}}<extra></extra>",
    )


def styled(figure: go.Figure, title: str, note: str = "", *, height: int) -> go.Figure:
    """The figure with the common look, a title, and a smaller line below it.

    Both stand in `layout.meta` too: a page sets them as text, where they fold, and takes them out
    of the picture.
    """
    figure.update_layout(
        meta={"title": title, "note": note},
        title={
            "text": f"{title}<br><span style='font-size:12px'>{note}</span>" if note else title,
            "x": 0,
            "xanchor": "left",
            "y": 0.97,
            "yanchor": "top",
            "yref": "container",
            "pad": {"t": 12},
            "font": {"size": 16},
        },
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor=PAPER,
        plot_bgcolor=PAPER,
        margin={"l": 10, "r": 10, "t": 70, "b": 40},
        height=height,
        hoverlabel={"font": {"family": FONT}},
    )
    figure.update_xaxes(automargin=True, zeroline=False, linecolor=GREY, tickcolor=GREY)
    figure.update_yaxes(automargin=True, zeroline=False, linecolor=GREY, tickcolor=GREY)
    return figure
