"""Paths: a score by orders, the strongest single paths, losses by order, edges estimated and
patched.
"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.circuits import EdgeAttribution, OrderLosses, PathExpansion
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, by_layer, styled

STARTS = {
    "tokens": ("from tokens", BLUE),
    "mlps": ("from what MLPs wrote", ORANGE),
    "biases": ("from biases", GREY),
}


def paths_figure(result: PathExpansion) -> go.Figure:
    """Left the score by number of heads passed and by start, right single paths."""
    figure = make_subplots(
        cols=2,
        column_widths=[0.36, 0.64],
        horizontal_spacing=0.22,
        subplot_titles=("by number of heads passed", "single paths"),
    )
    orders = [str(order.heads) for order in result.orders]
    for start, (name, ink) in STARTS.items():
        if start != "mlps" or not result.exact:
            scores = [order.starts[start] for order in result.orders]
            figure.add_trace(
                go.Bar(
                    x=orders,
                    y=scores,
                    name=name,
                    marker_color=ink,
                    hovertemplate=f"%{{x}} heads, {name}: %{{y:.3f}}<extra></extra>",
                ),
                row=1,
                col=1,
            )
    rows = result.top[::-1]
    names = [" → ".join((path.start, *path.heads)) for path in rows]
    figure.add_trace(
        go.Bar(
            x=[path.score for path in rows],
            y=names,
            orientation="h",
            marker_color=INK,
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            showlegend=False,
        ),
        row=1,
        col=2,
    )
    figure.update_layout(barmode="relative", legend={"orientation": "h", "y": -0.12})
    figure.update_xaxes(type="category", row=1, col=1)
    figure.update_yaxes(gridcolor=GREY, title="score", row=1, col=1)
    figure.update_yaxes(tickfont={"size": 11}, row=1, col=2)
    figure.update_annotations(font_size=12)
    against = f" less “{result.against}”" if result.against else ""
    note = (
        f"“{result.prompt}” → “{result.answer}”{against}: {result.score:.2f}; constant"
        f" {result.constant:+.2f}, further orders {result.remainder:+.2f}"
    )
    return styled(
        figure,
        f"The score as a sum of paths, in {result.model}",
        note,
        height=max(420, 170 + 20 * len(rows)),
    ).update_layout(margin={"t": 110})


def losses_figure(result: OrderLosses) -> go.Figure:
    """The loss when only paths of at most n heads are left."""
    line = by_layer(
        result.losses, list(range(len(result.losses))), "at most so many heads", INK, ".3f"
    )
    figure = go.Figure(line)
    figure.update_xaxes(title="heads that a path may pass", dtick=1)
    figure.update_yaxes(title="loss, nats a token", gridcolor=GREY)
    kind = "all paths" if result.exact else "MLPs' outputs as they were"
    note = (
        f"{result.texts} texts, {result.tokens:,} tokens; patterns and norms held; {kind}; 95 %"
        " intervals"
    )
    return styled(figure, f"What each order of paths is worth in {result.model}", note, height=400)


def edges_figure(result: EdgeAttribution) -> go.Figure:
    """The strongest edges: the estimate and the patched effect side by side."""
    rows = result.top[::-1]
    names = [f"{edge.sender} → {edge.receiver}" for edge in rows]
    figure = go.Figure()
    for label, ink, values in (
        ("patched", BLUE, [edge.patched for edge in rows]),
        ("estimated by gradients", MUTED, [edge.estimate for edge in rows]),
    ):
        figure.add_trace(
            go.Bar(
                x=values,
                y=names,
                orientation="h",
                name=label,
                marker_color=ink,
                hovertemplate=f"%{{y}}, {label}: %{{x:.3f}}<extra></extra>",
            )
        )
    figure.update_layout(
        barmode="group", legend={"orientation": "h", "y": -0.08, "traceorder": "reversed"}
    )
    figure.update_xaxes(
        title="change of the score", gridcolor=GREY, zeroline=True, zerolinecolor=GREY
    )
    note = (
        f"“{result.prompt}” ({result.clean:.2f}) told what “{result.corrupted}”"
        f" ({result.corrupt:.2f})"
        " says, one edge at a time"
    )
    return styled(figure, f"Edges in {result.model}", note, height=170 + 30 * len(rows))
