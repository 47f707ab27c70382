"""Attribution to neurons: the strongest of them, and how the layers share the rest."""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, ORANGE, styled
from loci.locating import Neurons

CHECK = {"corrupted": "restoring the MLPs one by one gives back", "zero": "silencing the MLPs one by one costs"}


def neurons_figure(neurons: Neurons, count: int = 15) -> go.Figure:
    """The strongest neurons as bars, out of the sum of all."""
    top = neurons.top(count)
    total, expected = neurons.completeness
    title = f"Neurons behind “{neurons.prompt} → {neurons.answer}”"
    note = (
        f"integrated gradients at the last subject token; all {neurons.scores.numel():,} neurons sum to {total:.2f}; "
        f"{CHECK[neurons.baseline]}: {expected:.2f}"
    )
    names = [f"L{layer}N{neuron}" for layer, neuron, _ in top]
    bars = go.Bar(
        x=[score for *_, score in top],
        y=names,
        orientation="h",
        marker_color=[BLUE if score > 0 else ORANGE for *_, score in top],
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="attribution to P(answer)", gridcolor=GREY)
    return styled(figure, title, note, height=130 + 24 * len(top))
