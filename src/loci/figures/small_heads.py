"""The induction heads of small models, head sizes and bases."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.small import DASHES, INKS
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, intervals, styled
from loci.studies.attention_only import (
    HeadSizes,
    OptimizerBases,
    TwoLayerInduction,
)
from loci.studies.attention_only.training_series import privilege


def corners_figure(result: TwoLayerInduction) -> go.Figure:
    """The corner, K-composition with each head of the first layer,
    and prefix matching without it.
    """
    titles = (
        "Σλ/Σ|λ|: score against effect",
        "K-composition, times random",
        "prefix matching without the head",
    )
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.09)
    figure.add_trace(
        go.Scatter(
            x=[head.qk for head in result.heads],
            y=[head.ov for head in result.heads],
            mode="markers+text",
            text=[head.name for head in result.heads],
            textposition="bottom center",
            marker={
                "size": 14,
                "color": [head.induction.value for head in result.heads],
                "cmin": 0,
                "cmax": 1,
                "colorscale": [[0, GREY], [1, ORANGE]],
                "colorbar": {"title": "prefix<br>matching", "thickness": 10, "x": 1.02},
            },
            showlegend=False,
            hovertemplate="%{text}: score %{x:.2f}, effect %{y:.2f}<extra></extra>",
        ),
        row=1,
        col=1,
    )
    _second_layer(figure, result)
    _corner_axes(figure)
    teller = result.previous[result.carrier]
    note = (
        f"previous-token head: {result.carrier}, which looks one back with {teller.value:.2f};"
        " lines: heads of the second layer; 95 % intervals"
    )
    styled(
        figure,
        "Induction: a head of the second layer reads a previous-token head",
        note,
        height=440,
    )
    return figure.update_layout(margin={"t": 100, "r": 90}, legend={"orientation": "h", "y": -0.22})


def _second_layer(figure: go.Figure, result: TwoLayerInduction) -> None:
    """Heads of the second layer: composition with, and matching without, each head below."""
    lower = list(result.previous)
    for ink, dash, head in zip(
        INKS, DASHES, sorted(result.heads, key=lambda h: -h.induction.value)[:4], strict=False
    ):
        line = {"color": ink, "dash": dash, "width": 2}
        composed = [head.composition[name] for name in lower]
        figure.add_trace(
            go.Scatter(x=lower, y=composed, mode="lines+markers", name=head.name, line=line),
            row=1,
            col=2,
        )
        row = [head.silenced[name] for name in lower]
        silenced = go.Scatter(
            x=lower,
            y=[e.value for e in row],
            error_y=intervals(row),
            mode="lines+markers",
            line=line,
        )
        figure.add_trace(silenced.update(name=head.name, showlegend=False), row=1, col=3)
    figure.add_hline(y=1, line={"color": GREY, "dash": "dot"}, row=1, col=2)


def _corner_axes(figure: go.Figure) -> None:
    """Titles and ranges of the three panels."""
    figure.update_xaxes(
        range=[-1.1, 1.15], title="score, reading the previous-token head", row=1, col=1
    )
    figure.update_yaxes(range=[-1.2, 1.15], title="effect", gridcolor=GREY, row=1, col=1)
    figure.update_xaxes(title="head of the first layer", col=2).update_xaxes(
        title="head silenced", col=3
    )
    figure.update_yaxes(rangemode="tozero", gridcolor=GREY, col=2).update_yaxes(
        range=[0, 1.02], gridcolor=GREY, col=3
    )
    figure.update_annotations(font_size=13)


def sizes_figure(result: HeadSizes) -> go.Figure:
    """Measures of models of one size with smaller and smaller heads."""
    titles = (
        "late − early loss, nats",
        "saved by repetition, nats",
        "best single head",
        "nouns of frames",
    )
    figure = make_subplots(rows=1, cols=4, subplot_titles=titles, horizontal_spacing=0.06)
    x = [str(m.recipe.d_head) for m in result.models]
    context = [m.last.in_context for m in result.models]
    lines = [
        (1, "late − early loss", BLUE, [e.value for e in context], intervals(context)),
        (
            2,
            "loss, first time − again",
            MUTED,
            [e.value for e in result.saved],
            intervals(result.saved),
        ),
        (3, "prefix matching", ORANGE, [m.last.best_induction for m in result.models], None),
        (3, "previous token", INK, [m.last.best_previous for m in result.models], None),
    ]
    for kind, ink in (("right", BLUE), ("crossed", ORANGE)):
        lines.append(
            (
                4,
                kind,
                ink,
                [
                    sum(row[kind].value for row in s.chances.values()) / len(s.chances)
                    for s in result.skips
                ],
                None,
            )
        )
    for col, name, ink, y, bars in lines:
        line = {"color": ink, "width": 2}
        figure.add_trace(
            go.Scatter(x=x, y=y, error_y=bars, name=name, mode="lines+markers", line=line),
            row=1,
            col=col,
        )
    figure.update_xaxes(title="dimensions of a head", type="category").update_yaxes(gridcolor=GREY)
    figure.update_yaxes(range=[0, 1.02], col=3).update_yaxes(range=[0, 1.02], col=4)
    figure.update_annotations(font_size=13)
    first = result.models[0].recipe
    note = (
        f"{first.layers} layers, stream of {first.d_model}, {first.steps} steps each; parameters"
        " are the same; 95 % intervals"
    )
    styled(figure, "The same stream cut into smaller heads", note, height=420)
    return figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": -0.25})


def bases_figure(result: OptimizerBases) -> go.Figure:
    """Kurtosis of coordinates over training, and the loss beside it."""
    figure = make_subplots(
        rows=1,
        cols=2,
        subplot_titles=("excess kurtosis of coordinates", "loss, nats"),
        horizontal_spacing=0.1,
    )
    for ink, small in zip(INKS, result.models, strict=False):
        steps = [c.step for c in small.checkpoints]
        name = {"adam": "Adam", "sgd": "plain SGD"}[small.recipe.optimizer]
        for key, dash, label in (
            ("kurtosis", "solid", name),
            ("rotated", "dot", f"{name}, rotated"),
        ):
            y = [privilege(c)[key] for c in small.checkpoints]
            line = {"color": ink, "dash": dash, "width": 2}
            figure.add_trace(
                go.Scatter(x=steps, y=y, mode="lines", name=label, line=line), row=1, col=1
            )
        loss = go.Scatter(
            x=steps,
            y=[c.loss.value for c in small.checkpoints],
            mode="lines",
            line={"color": ink, "width": 2},
        )
        figure.add_trace(loss.update(showlegend=False, name=name), row=1, col=2)
    figure.update_xaxes(title="steps").update_yaxes(gridcolor=GREY)
    figure.update_annotations(font_size=13)
    note = (
        "of the last residual stream, mean over coordinates; dotted: the same vectors in a random"
        " rotation"
    )
    styled(figure, "Do coordinates of the stream stand out?", note, height=420)
    return figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": -0.22})
