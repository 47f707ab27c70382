"""The largest sub-updates of each layer at a prompt's last token."""

import plotly.graph_objects as go

from loci.figures.theme import styled
from loci.reading import SubUpdates

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
