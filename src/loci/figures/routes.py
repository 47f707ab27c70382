"""Routes of recall: what is lost when attention's edges, MLPs or attentions are cut, layer by
layer.
"""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, INK, ORANGE, styled
from loci.locating import Routes

NAMES = {
    "edges": "last token may not attend to the subject",
    "mlp": "MLPs at the subject",
    "attn": "attention's output at the last token",
}
INKS = {"edges": INK, "mlp": BLUE, "attn": ORANGE}


def routes_figure(routes: Routes) -> go.Figure:
    """Lines with 95 % bands by layer; the loss with all layers cut stands in the legend."""
    figure = go.Figure()
    for cut, row in routes.by_layer.items():
        total, layers = routes.all_layers[cut], list(range(len(row)))
        band = [e.high for e in row] + [e.low for e in row][::-1]
        figure.add_trace(
            go.Scatter(
                x=layers + layers[::-1],
                y=band,
                mode="lines",
                fill="toself",
                fillcolor=INKS[cut],
                opacity=0.15,
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
            )
        )
        figure.add_trace(
            go.Scatter(
                x=layers,
                y=[e.value for e in row],
                mode="lines+markers",
                line={"color": INKS[cut], "width": 2},
                name=f"{NAMES[cut]} (all layers: {total.value:.0%})",
                hovertemplate=f"{NAMES[cut]}, layer %{{x}}: %{{y:.1%}}<extra></extra>",
            )
        )
    figure.update_yaxes(title="P(answer) lost", tickformat=".0%", gridcolor=GREY)
    figure.update_xaxes(
        title="layer", dtick=max(1, len(next(iter(routes.by_layer.values()))) // 12)
    )
    bands = " 95 % bands;" if routes.n > 1 else ""
    note = (
        f"windows of {routes.window} layer{'s' * (routes.window > 1)};{bands} {routes.unknown}"
        " unknown facts left out"
    )
    return styled(
        figure, f"What recall needs, over {routes.n} fact{'s' * (routes.n != 1)}", note, height=400
    ).update_layout(legend={"orientation": "h", "y": -0.2})
