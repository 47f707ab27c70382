"""Edits one after another: what holds, and what grows, over their number."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.auditing import SequentialAudit
from loci.auditing.metrics import short
from loci.auditing.sequential_edits import LIMITS
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, by_layer, styled

SHARES = {"efficacy": BLUE, "paraphrase": INK, "specificity": ORANGE, "same_subject": MUTED}


def curves_figure(curves: SequentialAudit) -> go.Figure:
    """Above, the shares with 95 % intervals; below, each sign of collapse in units of its limit.
    The first warning is a line.
    """
    edits = [point.edits for point in curves.points]
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.6, 0.4], vertical_spacing=0.09)
    for name, ink in SHARES.items():
        row = [point.metrics[name] for point in curves.points]
        figure.add_trace(by_layer(row, edits, short(name), ink, ".1%"), row=1, col=1)
    for name, ink, dash in zip(
        LIMITS, (BLUE, INK, ORANGE, MUTED), ("solid", "dot", "dash", "dashdot"), strict=True
    ):
        figure.add_trace(_sign(curves, edits, name, ink, dash), row=2, col=1)
    figure.add_hline(y=1, line={"color": INK, "width": 1}, row=2, col=1)
    if curves.warned is not None:
        figure.add_vline(x=curves.warned, line={"color": ORANGE, "width": 1, "dash": "dot"})
    figure.update_yaxes(range=[-0.03, 1.05], tickformat=".0%", gridcolor=GREY, row=1, col=1)
    figure.update_yaxes(
        title="share of its limit", rangemode="tozero", gridcolor=GREY, row=2, col=1
    )
    figure.update_xaxes(title="edits made", row=2, col=1)
    figure.update_layout(legend={"orientation": "h", "y": -0.14})
    warned = f"first warning at {curves.warned} edits" if curves.warned else "no warning"
    note = (
        f"{curves.each} at a time; 95 % intervals; below, signs of collapse in units of their"
        f" limits: {warned}"
    )
    return styled(
        figure, f"{edits[-1]} {curves.method.upper()} edits, one after another", note, height=560
    )


def _sign(curves: SequentialAudit, edits: list[int], name: str, ink: str, dash: str) -> go.Scatter:
    """How near a sign is to its limit; a perplexity ratio counts from 1."""
    values = [point.signs[name] for point in curves.points]
    start = 1.0 if name == "perplexity_ratio" else 0.0
    return go.Scatter(
        x=edits,
        y=[(value - start) / (LIMITS[name] - start) for value in values],
        customdata=values,
        mode="lines+markers",
        name=name.replace("_", " "),
        line={"color": ink, "width": 1.5, "dash": dash},
        hovertemplate=f"{name.replace('_', ' ')}, %{{x}}: %{{customdata:.3g}}<extra></extra>",
    )
