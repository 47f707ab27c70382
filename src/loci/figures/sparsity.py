"""How many neurons are active, layer by layer and token by token."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, by_layer, intervals, styled
from loci.reading.activation_sparsity import Sparsity


def sparsity_figure(result: Sparsity) -> go.Figure:
    """Share of active neurons by layer with the spread over tokens; and the tokens that need the
    most and the fewest.
    """
    titles = ("by layer", "by token, over all layers")
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=titles, column_widths=[0.6, 0.4], horizontal_spacing=0.16
    )
    layers = list(range(len(result.by_layer)))
    low, middle, high = result.spread.T.tolist()
    band = go.Scatter(
        x=layers + layers[::-1],
        y=high + low[::-1],
        mode="lines",
        fill="toself",
        fillcolor=BLUE,
        opacity=0.15,
        line={"width": 0},
        hoverinfo="skip",
        name="90 % of tokens",
    )
    figure.add_trace(band, row=1, col=1)
    figure.add_trace(
        by_layer(result.by_layer, layers, "mean over texts", BLUE, ".1%"), row=1, col=1
    )
    median = go.Scatter(
        x=layers, y=middle, mode="lines", name="median token", line={"color": MUTED, "dash": "dot"}
    )
    figure.add_trace(median, row=1, col=1)
    _tokens(figure, result)
    figure.update_annotations(font_size=13)
    figure.update_yaxes(
        title="active neurons", tickformat=".0%", rangemode="tozero", gridcolor=GREY, col=1
    )
    figure.update_yaxes(autorange="reversed", dtick=1, tickfont_size=11, col=2)
    figure.update_xaxes(title="layer", dtick=max(1, len(layers) // 12), col=1)
    figure.update_xaxes(
        title="active neurons", tickformat=".0%", rangemode="tozero", gridcolor=GREY, col=2
    )
    kind = (
        "exactly the same outputs"
        if result.exact
        else f"outputs off by up to {max(result.error):.1%}"
    )
    note = (
        f"active: {result.rule}; {result.tokens:,} tokens, 95 % intervals; skipping the others"
        " saves"
        f" {result.saved.value:.0%} of the MLPs' FLOPs, with {kind}"
    )
    styled(
        figure,
        f"How sparse are the MLPs of {result.model}?",
        note,
        height=max(420, 200 + 15 * (len(result.most) + len(result.fewest))),
    )
    return figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": -0.2})


def _tokens(figure: go.Figure, result: Sparsity) -> None:
    """Right: the tokens that need the most and the fewest neurons."""
    for named, ink in ((result.most, ORANGE), (result.fewest[::-1], INK)):
        figure.add_trace(
            go.Scatter(
                x=[estimate.value for _, estimate in named],
                y=[repr(token) for token, _ in named],
                error_x=intervals([estimate for _, estimate in named]),
                mode="markers",
                marker={"color": ink, "size": 8},
                hovertemplate="%{y}: %{x:.1%}<extra></extra>",
                showlegend=False,
            ),
            row=1, col=2,
        )  # fmt: skip
