"""MLPs as memories: what keys need of their prefix, whether values say what follows, whether single
memories decide.
"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, by_layer, styled
from loci.reading import Memories


def memories_figure(result: Memories) -> go.Figure:
    """Four panels by layer, with 95 % intervals."""
    titles = (
        "activation left without a token of the prefix",
        "what the last token takes beyond the first",
        "value says what followed",
        "no single memory says it",
    )
    figure = make_subplots(
        rows=2, cols=2, subplot_titles=titles, horizontal_spacing=0.1, vertical_spacing=0.16
    )
    layers = list(range(len(result.active)))
    for (kind, row), ink in zip(result.dropped.items(), (MUTED, BLUE, ORANGE), strict=True):
        left = [e._replace(value=1 + e.value, low=1 + e.low, high=1 + e.high) for e in row]
        figure.add_trace(by_layer(left, layers, f"{kind} token dropped", ink, ".0%"), row=1, col=1)
    lean = by_layer(result.lean, layers, "last beyond first", INK, ".0%")
    figure.add_trace(
        lean.update(marker={"size": 9, "color": [_ink(result, layer) for layer in layers]}),
        row=1,
        col=2,
    )
    figure.add_hline(
        result.mean_lean, line={"color": MUTED, "dash": "dot", "width": 1}, row=1, col=2
    )
    for row, name, ink, column in (
        (result.agreement, "the value's first token", BLUE, 1),
        (result.chance, "chance", GREY, 1),
        (result.composed, "tokens where none does", INK, 2),
        (result.active, "memories that are active", ORANGE, 2),
    ):
        figure.add_trace(by_layer(row, layers, name, ink, ".1%"), row=2, col=column)
    figure.update_yaxes(tickformat=".0%", gridcolor=GREY, rangemode="tozero")
    figure.update_yaxes(rangemode="normal", row=1, col=2)
    figure.update_xaxes(dtick=max(1, len(layers) // 8))
    figure.update_xaxes(title="layer", row=2)
    figure.update_annotations(font_size=13)
    note = (
        f"{result.neurons} neurons a layer, {result.tokens:,} tokens of text; 95 % intervals;"
        " orange:"
        " shallow, blue: semantic (above, below the layers' mean)"
    )
    return styled(figure, f"Keys and values of {result.model}", note, height=700).update_layout(
        margin={"t": 100}, legend={"orientation": "h", "y": -0.1, "font": {"size": 11}}
    )


def _ink(result: Memories, layer: int) -> str:
    return ORANGE if layer in result.shallow else BLUE if layer in result.semantic else INK
