"""Histograms of angles: random, pushed apart, and as the video showed them."""

import math

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled
from loci.studies.superposition import Angles, Packing, VideoExperiment

STEP = 0.5


def packing_figure(result: Packing) -> go.Figure:
    """Angles of all pairs before and after, the nearest pair of each, and the limit."""
    figure = go.Figure()
    for name, angles, ink in (
        ("random draw", result.before, MUTED),
        ("pushed apart", result.after, BLUE),
    ):
        figure.add_trace(_histogram(angles, name, ink))
    side = result.reach.lines if result.lines else result.reach.one_sided
    for x, name, ink in (
        (result.drawn, "random", MUTED),
        (result.closest, "reached", BLUE),
        (side.limit, "limit", INK),
    ):
        _mark(figure, x, f"{name} {x:.1f}°", ink)
    figure.update_xaxes(
        title="angle, degrees", range=[min(result.drawn, 60) - 5, 185 - min(result.drawn, 60)]
    )
    figure.update_yaxes(title="share of pairs in half a degree", gridcolor=GREY)
    title = (
        f"{result.after.vectors:,} {'lines' if result.lines else 'vectors'} in {result.after.dim}"
        " dimensions, pushed apart"
    )
    note = (
        f"upright lines: the nearest pair of each; known to be possible: {side.possible:.2f}°"
        f" ({side.by})"
    )
    return styled(figure, title, note, height=420)


def video_figure(result: VideoExperiment) -> go.Figure:
    """As it was shown, the same with its wings on a logarithmic axis, and the honest experiment."""
    titles = (
        "as shown: the plot from 80° to 100°",
        "the same set, all angles",
        "pushed apart instead, all angles",
    )
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.09)
    figure.add_trace(_histogram(result.shown, "as shown", ORANGE), row=1, col=1)
    figure.add_trace(_histogram(result.shown, "as shown", ORANGE), row=1, col=2)
    figure.add_trace(_histogram(result.honest.after, "pushed apart", BLUE), row=1, col=3)
    figure.update_xaxes(range=[80, 100], col=1)
    for col in (2, 3):
        figure.update_xaxes(range=[0, 180], tickvals=[0, 45, 90, 135, 180], col=col)
        figure.update_yaxes(type="log", range=[-6.5, 0.2], dtick=1, exponentformat="power", col=col)
    figure.update_xaxes(title="angle, degrees")
    figure.update_yaxes(title="share of pairs in half a degree", gridcolor=GREY, col=1)
    figure.update_yaxes(gridcolor=GREY)
    figure.update_annotations(font_size=13)
    title = (
        f"{result.shown.vectors:,} vectors in {result.shown.dim} dimensions:"
        f" {result.shown.share(89, 91):.1%} of pairs within 1° of 90° — and"
        f" {result.near_parallel:.1%} nearly parallel"
    )
    note = (
        f"nearest pair: {result.shown.closest_line:.2f}° as shown, {result.drawn.closest_line:.1f}°"
        f" drawn, {result.honest.closest:.1f}° pushed apart, {result.honest.reach.lines.limit:.2f}°"
        f" the limit; all within 1° is possible for {result.most_within_1} lines at most"
    )
    styled(figure, title, note, height=420)
    return figure.update_layout(showlegend=False, margin={"t": 110})


def _histogram(angles: Angles, name: str, ink: str) -> go.Scatter:
    shares = angles.by_degree(STEP)
    x = [STEP * (i + 0.5) for i in range(len(shares))]
    return go.Scatter(
        x=x,
        y=[value if value > 0 else math.nan for value in shares],
        name=name,
        mode="lines+markers",
        marker={"size": 3},
        line={"color": ink, "width": 2, "shape": "hvh"},
        fill="tozeroy",
        hovertemplate="%{x}°: %{y:.3%}<extra></extra>",
    )


def _mark(figure: go.Figure, x: float, text: str, ink: str) -> None:
    figure.add_vline(
        x=x,
        line={"color": ink, "dash": "dot"},
        annotation={"text": text, "font": {"color": ink}, "textangle": -90},
    )
