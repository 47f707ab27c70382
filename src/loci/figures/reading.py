"""Figures of reading: privileged bases, clusters of values, sub-updates, key–value memories."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, by_layer, styled
from loci.reading import Clusters, Memories, SubUpdates
from loci.reading.privileged_basis import Bases, Basis


def basis_figure(result: Bases) -> go.Figure:
    """Median excess kurtosis of the coordinates with 95 % intervals: residual stream behind the
    embedding, and neurons.
    """
    panels = {
        "residual stream (first: rows of W_E)": (*result.of("embedding"), *result.of("residual")),
        "neurons": result.of("neurons"),
    }
    panels = {title: rows for title, rows in panels.items() if rows}
    figure = make_subplots(
        rows=1, cols=len(panels), subplot_titles=list(panels), horizontal_spacing=0.12
    )
    for col, rows in enumerate(panels.values(), start=1):
        _panel(figure, rows, col)
    figure.update_annotations(font_size=13)
    figure.add_hline(y=0, line={"color": GREY, "dash": "dash"})
    figure.update_yaxes(gridcolor=GREY)
    figure.update_yaxes(title="excess kurtosis", col=1)
    figure.update_xaxes(title="layer", type="category")
    left = f"; without neurons: {result.missing['neurons']}" if result.missing else ""
    note = (
        f"median over coordinates, 95 % intervals, {result.tokens:,} tokens of text; a Gaussian has"
        f" 0{left}"
    )
    styled(figure, f"How privileged is each basis of {result.model}?", note, height=440)
    return figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": -0.2})


def _panel(figure: go.Figure, rows: tuple[Basis, ...], col: int) -> None:
    at = ["W_E" if row.layer is None else str(row.layer) for row in rows]
    for name, ink, estimates in (
        ("the model's own basis", BLUE, [row.own_median for row in rows]),
        ("a random rotation", MUTED, [row.rotated_median for row in rows]),
    ):
        line = by_layer(estimates, at, name, ink, ".3g")
        figure.add_trace(line.update(showlegend=col == 1, legendgroup=name), row=1, col=col)


NAMED = 24


def clusters_figure(result: Clusters) -> go.Figure:
    """The tightest clusters of two neurons or more: mean cosine to the centre, size, and the first
    tokens of the centre.
    """
    rows = [cluster for cluster in result.clusters if cluster.size > 1][:NAMED]
    words = [", ".join(shown(token) for token, _ in cluster.promotes[:5]) for cluster in rows]
    figure = go.Figure(
        go.Bar(
            x=[cluster.cosine for cluster in rows],
            y=list(range(len(rows))),
            orientation="h",
            marker_color=BLUE,
            text=[f"{cluster.size} neurons" for cluster in rows],
            textposition="outside",
            textfont={"size": 11, "color": INK},
            customdata=[", ".join(cluster.nearest) for cluster in rows],
            hovertemplate=(
                "mean cosine %{x:.2f}; nearest to the centre: %{customdata}<extra></extra>"
            ),
        )
    )
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=words, autorange="reversed", tickfont_size=11
    )
    figure.update_xaxes(
        title="mean cosine of a value to its cluster's centre",
        range=[0, 0.12 + max((cluster.cosine for cluster in rows), default=1)],
        gridcolor=GREY,
    )
    layers = (
        f"layer {result.layers[0]}" if len(result.layers) == 1 else f"{len(result.layers)} layers"
    )
    note = (
        f"{len(result.clusters)} clusters of {result.neurons:,} values ({layers}), the {len(rows)}"
        f" tightest; silhouette {result.quality}, Gaussian vectors of the same covariance"
        f" {result.control}"
    )
    return styled(
        figure,
        f"Neurons of {result.model} that write similar things",
        note,
        height=150 + 22 * len(rows),
    )


SCALE = [[0.0, "#ffffff"], [1.0, "#5f8fd6"]]


def updates_figure(result: SubUpdates) -> go.Figure:
    """A column a layer, the largest first: the neuron, and the first token it writes; colour is the
    share of the layer's sum of sizes.
    """
    layers, ranks = range(len(result.layers)), range(max(map(len, result.layers)))
    cells = [[row[rank] for row in result.layers] for rank in ranks]
    heat = go.Heatmap(
        z=[[update.share for update in row] for row in cells],
        x=[str(layer) for layer in layers],
        y=[str(rank + 1) for rank in ranks],
        text=[
            [f"{update.name.partition('N')[2]}<br>{shown(update.promotes[0])}" for update in row]
            for row in cells
        ],
        customdata=[
            [f"{update.name}: {', '.join(map(shown, update.promotes))}" for update in row]
            for row in cells
        ],
        texttemplate="%{text}",
        textfont_size=11,
        colorscale=SCALE,
        zmin=0,
        colorbar={"title": "share", "tickformat": ".0%", "thickness": 12},
        hovertemplate="%{customdata}<br>%{z:.1%} of the layer's sizes<extra></extra>",
        xgap=2,
        ygap=2,
    )
    figure = go.Figure(heat)
    figure.update_yaxes(title="rank", autorange="reversed", dtick=1)
    figure.update_xaxes(title="layer", dtick=1)
    half = ", ".join(f"{count}" for count in result.half)
    note = (
        "|coefficient| · ‖value‖, and the first token that coefficient · value promotes; half of"
        f" the sum is held by {half} of {result.neurons:,} neurons"
    )
    return styled(
        figure, f"What is written after “{result.prompt}”", note, height=180 + 52 * len(ranks)
    )


def shown(token: str) -> str:
    return token.strip() or repr(token)


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
