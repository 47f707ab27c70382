"""Heat maps of causal traces: layers across, tokens down, one colour scale for all kinds so that
they can be compared.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, DIVERGING, ORANGE, styled
from loci.locating import Attribution, AverageTrace, Trace
from loci.locating.average import ROLES
from loci.stats import Estimate, spelt

TITLES = {
    "state": "the whole state",
    "mlp": "the MLP's output",
    "attn": "the attention's output",
    "state-without-mlp": "state, MLPs held",
    "state-without-attn": "state, attention held",
}

BANDS = {"last subject": BLUE, "last": ORANGE}
"""The roles of which an average is drawn with its intervals."""
BAND_HEIGHT = 240


def trace_figure(trace: Trace) -> go.Figure:
    """P(answer) that the corrupted run gains when one clean state is restored."""
    start, end = trace.subject_span
    labels = [f"{token}*" if start <= i < end else token for i, token in enumerate(trace.tokens)]
    grids = {kind: grid.T.tolist() for kind, grid in trace.grids.items()}
    title = f"“{trace.prompt} → {trace.answer}”: P(answer) gained by restoring one clean state"
    note = (
        f"clean {trace.clean:.2f}, subject* corrupted ({trace.corruption}) {trace.corrupted:.2f};"
        f" mean of {trace.samples} draws"
    )
    return _heat_maps(grids, labels, title, note)


def attribution_figure(result: Attribution) -> go.Figure:
    """The estimated grids, with their rank correlation to the exact ones."""
    start, end = result.subject_span
    labels = [f"{token}*" if start <= i < end else token for i, token in enumerate(result.tokens)]
    agreement = ", ".join(f"{kind} {spelt(rho, '.2f')}" for kind, rho in result.agreement.items())
    how = (
        "gradients"
        if result.method == "gradient"
        else f"integrated gradients, {result.steps} steps"
    )
    note = (
        f"{how}; rank correlation to exact tracing: {agreement}"
        if agreement
        else f"{how}; not compared with exact tracing"
    )
    title = f"“{result.prompt} → {result.answer}”: estimated effects"
    return _heat_maps(
        {kind: grid.T.tolist() for kind, grid in result.grids.items()}, labels, title, note
    )


def average_figure(average: AverageTrace) -> go.Figure:
    """The same, averaged over facts, by the role of the token; below it the two roles that carry
    most, layer by layer, with bands of 95 %.
    """
    grids = {kind: average.grid(kind).T.tolist() for kind in average.effects}
    cells = [cell for rows in average.effects.values() for row in rows for cell in row if cell.n]
    widest = max((cell.high - cell.low) / 2 for cell in cells)
    note = (
        f"95 % intervals are at most ±{widest:.2f}; {average.unknown} facts that the model does not"
        " know are left out"
    )
    labels = [f"{role} token" for role in ROLES]
    title = f"Average indirect effect over {average.n} facts"
    figure = _heat_maps(grids, labels, title, note, bands=True)
    for column, rows in enumerate(average.effects.values(), start=1):
        for role, ink in BANDS.items():
            line = [row[ROLES.index(role)] for row in rows]
            figure.add_traces(
                _band(line, role, ink, shown=column == 1),
                rows=[2, 2],
                cols=[column, column],
            )
    drawn = [
        row[ROLES.index(role)]
        for rows in average.effects.values()
        for row in rows
        for role in BANDS
    ]
    low, high = min(e.low for e in drawn if e.n), max(e.high for e in drawn if e.n)
    figure.update_yaxes(range=[min(0.0, low) - 0.02, high + 0.02], zeroline=True, row=2)
    figure.update_yaxes(title="effect", row=2, col=1)
    return figure.update_layout(
        height=figure.layout.height + BAND_HEIGHT,
        legend={"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
    )


def _band(
    line: Sequence[Estimate], role: str, ink: str, *, shown: bool
) -> tuple[go.Scatter, go.Scatter]:
    """A line over the layers and the band of its intervals."""
    layers = list(range(len(line)))
    around = go.Scatter(
        x=[*layers, *reversed(layers)],
        y=[*(e.high for e in line), *(e.low for e in reversed(line))],
        fill="toself",
        fillcolor=ink,
        opacity=0.2,
        mode="lines",
        line={"width": 0, "color": ink},
        hoverinfo="skip",
        showlegend=False,
        legendgroup=role,
    )
    middle = go.Scatter(
        x=layers,
        y=[e.value for e in line],
        mode="lines",
        line={"color": ink, "width": 2},
        name=f"{role} token, 95 % band",
        legendgroup=role,
        showlegend=shown,
        hovertemplate=f"{role} token, layer %{{x}}: %{{y:.3f}}<extra></extra>",
    )
    return around, middle


def _heat_maps(
    grids: dict[str, list[list[float]]],
    labels: Sequence[str],
    title: str,
    note: str,
    *,
    bands: bool = False,
) -> go.Figure:
    """A heat map of each kind; with `bands` a second row of empty axes below them."""
    height = 180 + 28 * len(labels)
    figure = make_subplots(
        rows=1 + bands,
        cols=len(grids),
        shared_yaxes=True,
        horizontal_spacing=0.03,
        subplot_titles=[TITLES.get(kind, kind) for kind in grids],
        **(
            {"row_heights": [28 * len(labels), BAND_HEIGHT - 60], "vertical_spacing": 0.14}
            if bands
            else {}
        ),
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
            xgap=len(grid[0]) <= 40,
            ygap=1,
            showscale=column == len(grids),
            colorbar={"title": {"text": "effect", "side": "top"}, "thickness": 12},
            hovertemplate=f"{kind}, layer %{{x}}, %{{y}}<br>effect %{{z:.3f}}<extra></extra>",
        )
        figure.add_trace(heat, row=1, col=column)
        for row in range(1, 2 + bands):
            figure.update_xaxes(dtick=max(1, len(grid[0]) // 8), row=row, col=column)
        figure.update_xaxes(title="layer", row=1 + bands, col=column)
    figure.update_annotations(font_size=13)
    figure.update_yaxes(
        autorange="reversed",
        ticktext=list(labels),
        tickvals=[f"{i} {label}" for i, label in enumerate(labels)],
        row=1,
    )
    return styled(figure, title, note, height=height).update_layout(margin={"t": 88})
