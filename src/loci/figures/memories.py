"""MLPs as memories: what keys need of their prefix, whether values say what follows, whether single memories decide."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, by_layer, styled
from loci.reading import Memories


def memories_figure(found: Memories) -> go.Figure:
    """Three panels by layer, with 95 % intervals."""
    titles = ("activation left without a token of the prefix", "value says what followed", "no single memory says it")
    figure = make_subplots(cols=3, subplot_titles=titles, horizontal_spacing=0.09)
    layers = list(range(len(found.active)))
    for (kind, row), ink in zip(found.dropped.items(), (MUTED, BLUE, ORANGE), strict=True):
        left = [e._replace(value=1 + e.value, low=1 + e.low, high=1 + e.high) for e in row]
        figure.add_trace(by_layer(left, layers, f"{kind} token dropped", ink, ".0%"), row=1, col=1)
    for row, name, ink, column in (
        (found.agreement, "the value's first token", BLUE, 2),
        (found.chance, "chance", GREY, 2),
        (found.composed, "tokens where none does", INK, 3),
        (found.active, "memories that are active", ORANGE, 3),
    ):
        figure.add_trace(by_layer(row, layers, name, ink, ".1%"), row=1, col=column)
    figure.update_yaxes(tickformat=".0%", gridcolor=GREY, rangemode="tozero")
    figure.update_xaxes(title="layer", dtick=max(1, len(layers) // 8))
    figure.update_annotations(font_size=13)
    note = f"{found.neurons} neurons a layer, {found.tokens:,} tokens of text; 95 % intervals"
    return styled(figure, f"Keys and values of {found.model}", note, height=420).update_layout(
        margin={"t": 100}, legend={"orientation": "h", "y": -0.22, "font": {"size": 11}}
    )
