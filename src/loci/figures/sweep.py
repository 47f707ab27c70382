"""A sweep: where edits succeed, beside where the trace points."""

import plotly.graph_objects as go

from loci.auditing import Sweep
from loci.figures.theme import BLUE, GREY, ORANGE, by_layer, styled


def sweep_figure(sweep: Sweep) -> go.Figure:
    """Efficacy of edits and the MLP's traced effect, layer by layer, with 95 % intervals."""
    figure = go.Figure()
    rows = {
        "efficacy of edits at this layer": (sweep.efficacy, BLUE),
        "effect of restoring its MLP": (sweep.effect, ORANGE),
    }
    for name, (row, ink) in rows.items():
        figure.add_trace(by_layer(row, range(len(row)), name, ink, ".2f"))
    figure.update_yaxes(range=[-0.05, 1.08], gridcolor=GREY)
    figure.update_xaxes(title="layer", dtick=max(1, sweep.success.shape[1] // 12))
    note = (
        f"{sweep.edits} facts edited at every layer; rank correlation over layers, mean over facts:"
        f" {sweep.correlation}"
    )
    return styled(figure, "Does the trace tell where to edit?", note, height=400).update_layout(
        legend={"orientation": "h", "y": -0.2}
    )
