"""Toy models of superposition: which features are kept and what they share."""

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled
from loci.studies.superposition import (
    FeatureGeometry,
    PhaseDiagram,
    ToyModels,
)
from loci.studies.superposition.feature_geometry import PLATEAUS
from loci.studies.superposition.phase_diagram import KINDS, boundary

SHOWN = 7


def toy_figure(result: ToyModels) -> go.Figure:
    """In two dimensions the features as arrows; else their lengths as bars, blue where alone and
    orange where they share.
    """
    shown = _spread(len(result.densities))
    titles = [f"density {result.densities[i]:.3g}" for i in shown]
    figure = make_subplots(rows=1, cols=len(shown), subplot_titles=titles, horizontal_spacing=0.03)
    for col, i in enumerate(shown, start=1):
        if result.dims == 2:
            arrows(figure, result.W[i], col)
        else:
            shared = result.superposition[i].clamp(max=1).tolist()
            bars = go.Bar(
                y=list(range(result.features)),
                x=result.norms[i].tolist(),
                orientation="h",
                marker={
                    "color": shared,
                    "colorscale": [[0, BLUE], [1, ORANGE]],
                    "cmin": 0,
                    "cmax": 1,
                    "showscale": col == len(shown),
                },
                hovertemplate="feature %{y}: length %{x:.2f}<extra></extra>",
                showlegend=False,
            )
            figure.add_trace(
                bars.update(marker_colorbar={"title": "sharing", "thickness": 10}), row=1, col=col
            )
            figure.update_xaxes(range=[0, 1.4], row=1, col=col)
    if result.dims != 2:
        figure.update_yaxes(autorange="reversed")
        figure.update_yaxes(showticklabels=False)
        figure.update_yaxes(title="feature, most important first", showticklabels=True, col=1)
    figure.update_annotations(font_size=12)
    kept = ", ".join(str(result.represented[i]) for i in shown)
    title = (
        f"{result.features} features in {result.dims} dimensions,"
        f" {'ReLU' if result.relu else 'linear'} output"
    )
    sharing = (
        ""
        if result.dims == 2
        else "; length 1: kept, 0: dropped; sharing: Σ (Ŵᵢ · Wⱼ)² over the others"
    )
    note = f"features longer than ½: {kept}{sharing}"
    return styled(figure, title, note, height=440).update_layout(margin={"t": 100})


def geometry_figure(result: FeatureGeometry) -> go.Figure:
    """D* over sparsity, and each feature's own dimensionality with the plateaus."""
    x = [1 / p for p in result.toy.densities]
    figure = go.Figure()
    own = result.toy.dimensionality
    figure.add_trace(
        go.Scatter(
            x=[at for at, row in zip(x, own, strict=True) for _ in row],
            y=own.flatten().tolist(),
            mode="markers",
            marker={"color": BLUE, "size": 5, "opacity": 0.35},
            name="single features",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=x,
            y=result.toy.per_feature.tolist(),
            mode="lines+markers",
            line={"color": ORANGE, "width": 2},
            name="D* = m / ‖W‖²",
        )
    )
    for name, value in PLATEAUS.items():
        side = "bottom right" if name.startswith("3/8") else "top right"
        label = {"text": name, "font": {"size": 11}}
        figure.add_hline(
            y=value, line={"color": GREY, "dash": "dot"}, annotation=label, annotation_position=side
        )
    figure.update_xaxes(
        type="log", title="sparsity, 1 / density", tickvals=[1, 2, 3, 5, 10, 30, 100]
    )
    figure.update_yaxes(title="dimensions of a feature", range=[-0.03, 1.1])
    title = (
        f"{result.toy.features} equal features in {result.toy.dims} dimensions: what part of a"
        " dimension has each?"
    )
    note = "dotted: tight frames of few vectors, as d/N; features that are dropped lie at 0"
    return styled(figure, title, note, height=480).update_layout(
        legend={"orientation": "h", "y": -0.18}
    )


def phase_figure(result: PhaseDiagram) -> go.Figure:
    """The outcome of training over density and importance, with the closed form's boundary."""
    scale = [
        [0, BLUE],
        [1 / 3, BLUE],
        [1 / 3, "#8fb0e2"],
        [2 / 3, "#8fb0e2"],
        [2 / 3, "#eeb68f"],
        [1, "#eeb68f"],
    ]
    kinds = result.found.double().where(result.found >= 0, torch.nan)
    heat = go.Heatmap(
        x=list(result.relative),
        y=list(result.densities),
        z=kinds.tolist(),
        zmin=0,
        zmax=2,
        colorscale=scale,
        colorbar={"tickvals": [1 / 3, 1, 5 / 3], "ticktext": list(KINDS), "thickness": 12},
        hovertemplate="importance %{x:.3g}, density %{y:.3g}<extra></extra>",
    )
    figure = go.Figure(heat)
    curve = torch.logspace(-1, 1, 101).tolist()
    curve = [r for r in curve if min(result.relative) <= r <= max(result.relative)]
    figure.add_trace(
        go.Scatter(
            x=curve,
            y=[boundary(r) for r in curve],
            mode="lines",
            line={"color": INK, "width": 2.5},
            showlegend=False,
        )
    )
    figure.add_annotation(x=0, y=-0.243, text="4/7", showarrow=True, arrowhead=2, ax=0, ay=28)
    figure.update_xaxes(
        type="log",
        title="importance of the second feature, relative",
        tickvals=[0.1, 0.3, 1, 3, 10],
    )
    figure.update_yaxes(type="log", title="density", tickvals=[0.01, 0.03, 0.1, 0.3, 1])
    note = (
        f"colours: the best of {result.runs} trained models; line: closed form; they agree in"
        f" {result.agreement.value:.1%} of {result.agreement.n} cells"
    )
    return styled(figure, "Two features, one dimension: when do they share it?", note, height=480)


def _spread(count: int) -> list[int]:
    """At most seven of so many, the ends among them."""
    return sorted(
        {round(i * (count - 1) / max(1, min(SHOWN, count) - 1)) for i in range(min(SHOWN, count))}
    )


def arrows(figure: go.Figure, W: Tensor, col: int, *, pairs: bool = False) -> None:
    inks = (BLUE, ORANGE, INK, MUTED)
    for i, (x, y) in enumerate(W.T.tolist()):
        ink = inks[(i // 2 if pairs else i) % len(inks)] if pairs else BLUE
        line = go.Scatter(
            x=[0, x],
            y=[0, y],
            mode="lines+markers",
            line={"color": ink, "width": 2},
            marker={"size": [0, 7]},
            showlegend=False,
            hovertemplate=f"feature {i}: %{{x:.2f}}, %{{y:.2f}}<extra></extra>",
        )
        figure.add_trace(line, row=1, col=col)
    figure.update_xaxes(
        range=[-1.6, 1.6], showticklabels=False, showline=True, mirror=True, row=1, col=col
    )
    figure.update_yaxes(
        range=[-1.6, 1.6],
        showticklabels=False,
        showline=True,
        mirror=True,
        scaleanchor=f"x{col if col > 1 else ''}",
        row=1,
        col=col,
    )
