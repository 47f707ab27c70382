"""A probe's accuracy layer by layer, over its controls."""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, MUTED, by_layer, styled
from loci.locating import Probe


def probe_figure(probe: Probe) -> go.Figure:
    """Held-out accuracy with 95 % bands; shuffled answers and the commonest answer as controls."""
    layers = ["embeddings", *map(str, range(len(probe.accuracy) - 1))]
    figure = go.Figure()
    for name, row, ink in (
        ("probe, held-out subjects", probe.accuracy, BLUE),
        ("probe of shuffled answers", probe.shuffled, MUTED),
    ):
        figure.add_trace(by_layer(row, layers, name, ink, ".1%"))
    figure.add_hline(
        y=probe.commonest.value,
        line={"color": GREY, "dash": "dash"},
        annotation={"text": "the commonest answer", "font": {"color": MUTED}},
    )
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%", gridcolor=GREY)
    figure.update_xaxes(title="after layer")
    title = f"Reading {probe.relation or 'the answer'} off the subject's last token"
    note = (
        f"{probe.subjects} subjects, {len(probe.answers)} answers; {probe.folds} folds of held-out"
        " subjects, 95 % intervals"
    )
    return styled(figure, title, note, height=400).update_layout(
        legend={"orientation": "h", "y": -0.2}
    )
