"""An atlas at a glance: how keys and values lie, how often neurons fire, and which kinds there are."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled
from loci.reading import Atlas

KINDS = {"dead": ("dead", GREY), "always_on": ("always on", ORANGE), "erasers": ("erasers", INK)}
LAYERS = [[0.0, "#c9d6ee"], [0.5, BLUE], [1.0, "#101c38"]]


def atlas_figure(atlas: Atlas) -> go.Figure:
    """Key·value cosine against firing rate, a point a neuron; beside it, by layer, the shares of dead, always-on and erasing neurons."""
    figure = make_subplots(
        cols=2, column_widths=[0.62, 0.38], horizontal_spacing=0.16, subplot_titles=("a point a neuron", "by layer")
    )
    points, rows = atlas.scatter(), atlas.by_layer()
    lowest = 0.3 / atlas.provenance["tokens"]
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
                "colorbar": {"title": "layer", "x": 0.58, "thickness": 10, "dtick": max(1, len(rows) // 6)},
            },
            customdata=[f"L{layer}N{neuron}" for layer, neuron in zip(points["layer"], points["neuron"], strict=True)],
            hovertemplate="%{customdata}: cosine %{x:.2f}, fires at %{y:.2%}<extra></extra>",
            showlegend=False,
        ),
        row=1, col=1,
    )  # fmt: skip
    for name, (words, ink) in KINDS.items():
        bar = go.Bar(
            x=[row["layer"] for row in rows],
            y=[row[name] for row in rows],
            name=words,
            marker_color=ink,
            hovertemplate=f"{words}, layer %{{x}}: %{{y:.2%}}<extra></extra>",
        )
        figure.add_trace(bar, row=1, col=2)
    figure.update_xaxes(title="cosine of key and value", gridcolor=GREY, col=1)
    figure.update_xaxes(title="layer", dtick=max(1, len(rows) // 8), col=2)
    figure.update_yaxes(title="share of tokens at which it fires", type="log", tickformat=".3~%", gridcolor=GREY, dtick=1, col=1)
    figure.update_yaxes(title="share of neurons", tickformat=".1%", rangemode="tozero", gridcolor=GREY, col=2)
    figure.update_annotations(font={"size": 13, "color": MUTED})
    said = atlas.provenance
    note = (
        f"{said['layers'] * said['d_mlp']:,} neurons over {said['tokens']:,} tokens of {said['text']}; the lowest row never fires"
    )
    return styled(figure, f"The atlas of {said['model']}", note, height=460).update_layout(
        margin={"t": 100}, legend={"orientation": "h", "x": 0.68, "y": -0.2}
    )
