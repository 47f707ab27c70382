"""A census as one bar: how much of a model is MLP."""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, MUTED, ORANGE, styled
from loci.model.parameter_census import Census

INKS = {
    "embedding": "#8fb0e2",
    "positions": "#c9d8f0",
    "attention": ORANGE,
    "mlp": BLUE,
    "router": "#5b3fa0",
    "unembedding": "#8fb0e2",
}


def census_figure(census: Census) -> go.Figure:
    """One bar of all parameters, part by part in the order of a forward pass."""
    bars = [
        go.Bar(
            x=[count / census.total],
            y=[""],
            name=name,
            orientation="h",
            marker={"color": INKS.get(name, GREY), "line": {"color": "white", "width": 1.5}},
            text=f"{name}<br>{count / census.total:.1%}" if count > 0.05 * census.total else "",
            textposition="inside",
            insidetextanchor="middle",
            textangle=0,
            hovertemplate=f"{name}: {count:,}<extra></extra>",
        )
        for name, count in census.exclusive.items()
    ]
    figure = go.Figure(bars).update_layout(barmode="stack", showlegend=False, bargap=0.1)
    figure.update_xaxes(range=[0, 1], tickformat=".0%", tickfont={"color": MUTED})
    note = (
        f"{census.layers} layers of {census.questions:,} questions each · d_model"
        f" {census.d_model:,}"
    )
    return styled(figure, f"{census.model}: {census.total:,} {census.unit}", note, height=210)
