"""Figures of the costs of superposition: correlated features, computing with it, attacks."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, DIVERGING, GREY, MUTED, ORANGE, intervals, styled
from loci.figures.toys import arrows
from loci.studies.superposition import (
    AbsoluteValueNetworks,
    CorrelatedFeatures,
    Vulnerability,
)


def correlated_figure(result: CorrelatedFeatures) -> go.Figure:
    """The best model of each kind: partners have one colour."""
    titles = [f"{kind}: cos of partners {result.partners(kind).value:+.2f}" for kind in result.W]
    figure = make_subplots(
        rows=1, cols=len(result.W), subplot_titles=titles, horizontal_spacing=0.05
    )
    for col, W in enumerate(result.W.values(), start=1):
        if W.shape[1] == 2:
            arrows(figure, W[0], col, pairs=True)
        else:
            figure.add_trace(
                go.Heatmap(
                    z=(W[0].T @ W[0]).tolist(),
                    zmin=-1,
                    zmax=1,
                    colorscale=DIVERGING,
                    showscale=col == 1,
                ),
                row=1,
                col=col,
            )
    figure.update_annotations(font_size=13)
    note = (
        "drawn: the model with the least loss; cosines: mean of all runs; density"
        f" {result.density:g}"
    )
    return styled(
        figure, "Features that come together, or never do", note, height=400
    ).update_layout(margin={"t": 100})


def computation_figure(result: AbsoluteValueNetworks) -> go.Figure:
    """W_in of the densest and the sparsest network, and how neurons go from one feature to many."""
    ends = (0, len(result.densities) - 1)
    titles = [f"what neurons read, density {result.densities[i]:g}" for i in ends]
    figure = make_subplots(
        rows=1, cols=3, subplot_titles=(*titles, "over densities"), horizontal_spacing=0.1
    )
    for col, i in enumerate(ends, start=1):
        W = result.W_in[i]
        heat = go.Heatmap(
            z=(W / W.abs().amax().clamp(min=1e-6)).tolist(),
            zmin=-1,
            zmax=1,
            colorscale=DIVERGING,
            showscale=False,
        )
        figure.add_trace(heat, row=1, col=col)
        figure.update_xaxes(title="feature", row=1, col=col)
    figure.update_yaxes(title="neuron", col=1)
    alone = [e.value if e.n else None for e in result.alone]
    figure.add_trace(
        go.Scatter(
            x=list(result.densities),
            y=alone,
            error_y=intervals(result.alone),
            name="neurons that read one feature",
            line={"color": BLUE},
        ),
        row=1,
        col=3,
    )
    part = [n / result.W_in.shape[2] for n in result.computed]
    figure.add_trace(
        go.Scatter(
            x=list(result.densities), y=part, name="features computed", line={"color": ORANGE}
        ),
        row=1,
        col=3,
    )
    figure.update_xaxes(type="log", dtick=1, autorange="reversed", title="density", row=1, col=3)
    figure.update_yaxes(tickformat=".0%", range=[-0.05, 1.08], gridcolor=GREY, row=1, col=3)
    figure.update_annotations(font_size=13)
    neurons, features = result.W_in.shape[1:]
    note = (
        "computed: error below half of what guessing the mean leaves; 95 % intervals over neurons"
    )
    styled(
        figure,
        f"|x| of {features} features by {neurons} neurons; exactly it takes {2 * features}",
        note,
        height=440,
    )
    return figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": -0.2})


def attack_figure(result: Vulnerability) -> go.Figure:
    """Vulnerability over sparsity, beside what a linear model would have, and features per
    dimension.
    """
    x = [1 / p for p in result.toy.densities]
    base = result.vulnerability[0].value
    scaled = [
        type(e)(e.value / base, e.low / base, e.high / base, e.n) for e in result.vulnerability
    ]
    rows = {
        "measured": (list(result.relative), ORANGE, intervals(scaled)),
        "linear: ‖WᵀW‖²": (list(result.expected), BLUE, None),
        "features per dimension": ((1 / result.toy.per_feature).tolist(), MUTED, None),
    }
    figure = go.Figure()
    for name, (values, ink, bars) in rows.items():
        figure.add_trace(
            go.Scatter(
                x=x,
                y=values,
                name=name,
                line={"color": ink, "width": 2},
                mode="lines+markers",
                error_y=bars,
            )
        )
    figure.update_xaxes(type="log", title="sparsity, 1 / density", tickvals=[1, 3, 10, 30, 100])
    figure.update_yaxes(title="times that of the densest model", rangemode="tozero", gridcolor=GREY)
    note = (
        "loss added by the worst of the 2 n small changes of the input, over their squared length;"
        " 95 % intervals over inputs"
    )
    styled(figure, "Sharing dimensions makes a model easy to attack", note, height=440)
    return figure.update_layout(legend={"orientation": "h", "y": -0.2})
