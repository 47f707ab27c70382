"""Heat maps of causal traces: layers across, tokens down, one colour scale for all kinds so that
they can be compared.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import DIVERGING, styled
from loci.locating import Attribution, AverageTrace, Trace
from loci.locating.average import ROLES
from loci.stats import spelt

TITLES = {
    "state": "the whole state",
    "mlp": "the MLP's output",
    "attn": "the attention's output",
    "state-without-mlp": "state, MLPs held",
    "state-without-attn": "state, attention held",
}


def trace_figure(trace: Trace) -> go.Figure:
    """What restoring one state of the corrupted run gives back of P(answer)."""
    start, end = trace.subject_span
    labels = [f"{token}*" if start <= i < end else token for i, token in enumerate(trace.tokens)]
    grids = {kind: grid.T.tolist() for kind, grid in trace.grids.items()}
    title = f"“{trace.prompt} → {trace.answer}”: P(answer) gained by restoring one clean state"
    note = (
        f"clean {trace.clean:.2f}, subject* corrupted ({trace.corruption}) {trace.corrupted:.2f};"
        f" mean of {trace.samples} draws"
    )
    return _heat_maps(grids, labels, title, note)


def attribution_figure(found: Attribution) -> go.Figure:
    """The estimated grids, with their rank correlation to the exact ones."""
    start, end = found.subject_span
    labels = [f"{token}*" if start <= i < end else token for i, token in enumerate(found.tokens)]
    agreement = ", ".join(f"{kind} {spelt(rho, '.2f')}" for kind, rho in found.agreement.items())
    how = (
        "gradients" if found.method == "gradient" else f"integrated gradients, {found.steps} steps"
    )
    note = (
        f"{how}; rank correlation to exact tracing: {agreement}"
        if agreement
        else f"{how}; not compared with exact tracing"
    )
    title = f"“{found.prompt} → {found.answer}”: estimated effects"
    return _heat_maps(
        {kind: grid.T.tolist() for kind, grid in found.grids.items()}, labels, title, note
    )


def average_figure(average: AverageTrace) -> go.Figure:
    """The same, averaged over facts, by the role of the token."""
    grids = {kind: average.grid(kind).T.tolist() for kind in average.effects}
    cells = [cell for rows in average.effects.values() for row in rows for cell in row if cell.n]
    widest = max((cell.high - cell.low) / 2 for cell in cells)
    note = (
        f"95 % intervals are at most ±{widest:.2f}; {average.unknown} facts that the model does not"
        " know are left out"
    )
    return _heat_maps(
        grids,
        [f"{role} token" for role in ROLES],
        f"Average indirect effect over {average.n} facts",
        note,
    )


def _heat_maps(
    grids: dict[str, list[list[float]]], labels: Sequence[str], title: str, note: str
) -> go.Figure:
    figure = make_subplots(
        cols=len(grids),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[TITLES.get(kind, kind) for kind in grids],
    )
    values = [value for grid in grids.values() for row in grid for value in row if value == value]
    limit = max(abs(value) for value in values) or 1.0
    for column, (kind, grid) in enumerate(grids.items(), start=1):
        heat = go.Heatmap(
            z=grid,
            y=[f"{i} {label}" for i, label in enumerate(labels)],
            zmin=-limit,
            zmax=limit,
            colorscale=DIVERGING,
            xgap=1,
            ygap=1,
            showscale=column == len(grids),
            colorbar={"title": {"text": "effect", "side": "top"}, "thickness": 12},
            hovertemplate=f"{kind}, layer %{{x}}, %{{y}}<br>effect %{{z:.3f}}<extra></extra>",
        )
        figure.add_trace(heat, row=1, col=column)
        figure.update_xaxes(title="layer", dtick=max(1, len(grid[0]) // 8), row=1, col=column)
    figure.update_annotations(font_size=13)
    figure.update_yaxes(
        autorange="reversed",
        ticktext=list(labels),
        tickvals=[f"{i} {label}" for i, label in enumerate(labels)],
    )
    return styled(figure, title, note, height=180 + 28 * len(labels)).update_layout(
        margin={"t": 88}
    )
