"""The fact-finding tests on one page: four questions, with what one neuron a fact would look like
beside what is found.
"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, by_layer, intervals, styled
from loci.locating import Effects, LocalContext, Lookup, Probe, SingleStep, TwoTokens

INKS = {
    "whole prompt": INK,
    "subject alone": BLUE,
    "attention by its mean": "#7aa0d8",
    "two tokens": ORANGE,
    "last token": "#e5b08a",
}
SHADES = ("#c9d6ee", "#9db7e0", "#6f95d0", "#2f5fb3", "#1d3c78")


LookupPart = TwoTokens | SingleStep | Effects | LocalContext
TITLES = {
    TwoTokens: "How little does it take to read the answer off the name?",
    SingleStep: "How much of it do single ANDs explain?",
    Effects: "Do the same neurons serve all facts of a subject?",
    LocalContext: "How local is what a layer makes of a token?",
}


def lookup_figure(result: Lookup) -> go.Figure:
    """Readability by condition, the single-step share by name, correlations of neurons' effects,
    and similarity by context.
    """
    titles = list(TITLES.values())
    figure = make_subplots(
        rows=2, cols=2, subplot_titles=titles, vertical_spacing=0.16, horizontal_spacing=0.24
    )
    for i, part in enumerate(
        (result.two_tokens, result.single_step, result.effects, result.context)
    ):
        if part:
            _panel(figure, part, result.probe, 1 + i // 2, 1 + i % 2)
    figure.update_annotations(font_size=13)
    beside = {"xanchor": "left", "yanchor": "top", "font": {"size": 11}, "bgcolor": "rgba(0,0,0,0)"}
    figure.update_layout(
        legend={"x": 0.385, "y": 1.0, **beside}, legend2={"x": 1.0, "y": 0.4, **beside}
    )
    title = f"Is {result.model} a look-up table? Fact finding on {result.relation}"
    note = "95 % intervals; dashed: what one neuron for each fact would show"
    styled(figure, title, note, height=820).update_layout(margin={"t": 110}, width=1180)
    return figure.update_xaxes(title_font_size=13).update_yaxes(title_font_size=13)


def part_figure(result: LookupPart) -> go.Figure:
    """One of the tests by itself."""
    figure = make_subplots(rows=1, cols=1)
    _panel(figure, result, None, 1, 1)
    return styled(figure, TITLES[type(result)], f"{result.model}; 95 % intervals", height=420)


def _panel(figure: go.Figure, result: LookupPart, probe: Probe | None, row: int, col: int) -> None:
    if isinstance(result, TwoTokens):
        _readable(figure, result, probe, row, col)
    elif isinstance(result, SingleStep):
        _steps(figure, result, row, col)
    elif isinstance(result, Effects):
        _effects(figure, result, row, col)
    else:
        _context(figure, result, row, col)


def _readable(
    figure: go.Figure, result: TwoTokens, probe: Probe | None, row: int, col: int
) -> None:
    layers = ["start", *map(str, range(len(next(iter(result.accuracy.values()))) - 1))]
    for condition, estimates in result.accuracy.items():
        figure.add_trace(
            by_layer(estimates, layers, condition, INKS[condition], ".1%"), row=row, col=col
        )
    if probe:
        figure.add_trace(
            by_layer(probe.shuffled, layers, "shuffled answers", GREY, ".1%"), row=row, col=col
        )
    for name, estimate, ink in (
        ("tokens summed", result.summed, MUTED),
        ("the commonest answer", result.commonest, GREY),
    ):
        figure.add_trace(
            go.Scatter(
                x=[layers[0], layers[-1]],
                y=[estimate.value] * 2,
                mode="lines",
                name=name,
                line={"color": ink, "dash": "dot", "width": 2},
            ),
            row=row,
            col=col,
        )
    figure.update_yaxes(
        title="held-out accuracy",
        tickformat=".0%",
        range=[0, 1.02],
        gridcolor=GREY,
        row=row,
        col=col,
    )
    figure.update_xaxes(title="after layer", row=row, col=col)


def _steps(figure: go.Figure, result: SingleStep, row: int, col: int) -> None:
    """A point for each name: all MLPs' part of its excess, and the part that a single step
    explains.
    """
    for name, parts, ink in (("all MLPs", result.mlp, GREY), ("single steps", result.step, BLUE)):
        figure.add_trace(
            go.Scatter(
                x=list(result.excess),
                y=parts.sum(1).tolist(),
                mode="markers",
                name=name,
                showlegend=False,
                marker={"color": ink, "size": 9},
                text=list(result.names),
                hovertemplate=f"%{{text}}: %{{y:.3f}} of %{{x:.3f}} ({name})<extra></extra>",
            ),
            row=row,
            col=col,
        )
    top = max(result.excess, default=1.0)
    figure.add_trace(
        go.Scatter(
            x=[0, top],
            y=[0, top],
            mode="lines",
            line={"color": MUTED, "dash": "dash"},
            showlegend=False,
        ),
        row=row,
        col=col,
    )
    said = (
        f"median share:<br><b style='color:{BLUE}'>single steps {result.share.value:.0%}</b><br>all"
        f" MLPs {result.mlp_share.value:.0%}"
    )
    figure.add_annotation(
        text=said,
        align="left",
        xref="x domain",
        yref="y domain",
        x=0.02,
        y=1.0,
        showarrow=False,
        xanchor="left",
        yanchor="top",
        font={"size": 12},
        row=row,
        col=col,
    )
    figure.update_xaxes(title="non-linear excess of the name (probe's units)", row=row, col=col)
    figure.update_yaxes(title="of which", gridcolor=GREY, row=row, col=col)


def _effects(figure: go.Figure, result: Effects, row: int, col: int) -> None:
    for (pair, values), estimate, ink in zip(
        result.correlations.items(), result.means.values(), (INK, BLUE, MUTED), strict=True
    ):
        label = pair.replace(", ", ",<br>")
        figure.add_trace(
            go.Box(
                y=list(values),
                x=[label] * len(values),
                boxpoints="all",
                pointpos=0,
                jitter=0.6,
                line={"width": 0},
                fillcolor="rgba(0,0,0,0)",
                marker={"color": ink, "size": 5, "opacity": 0.45},
                name=pair,
                showlegend=False,
                hovertemplate="%{y:.2f}<extra></extra>",
            ),
            row=row,
            col=col,
        )
        figure.add_trace(
            go.Scatter(
                x=[label],
                y=[estimate.value],
                mode="markers",
                marker={"color": ink, "size": 12, "symbol": "diamond"},
                error_y=intervals([estimate]),
                showlegend=False,
                hovertemplate=f"{pair}: {estimate}<extra></extra>",
            ),
            row=row,
            col=col,
        )
    figure.add_hline(y=1.0, line={"color": MUTED, "dash": "dash"}, row=row, col=col)
    figure.update_yaxes(
        title="correlation over neurons", range=[-0.6, 1.05], gridcolor=GREY, row=row, col=col
    )


def _context(figure: go.Figure, result: LocalContext, row: int, col: int) -> None:
    layers = ["start", *map(str, range(len(next(iter(result.similarity.values()))) - 1))]
    for ink, (k, estimates) in zip(SHADES, result.similarity.items(), strict=False):
        line = by_layer(estimates, layers, f"last {k} token{'s' * (k > 1)}", ink, ".2f")
        figure.add_trace(line.update(legend="legend2"), row=row, col=col)
    figure.update_yaxes(title="cosine with the whole context", gridcolor=GREY, row=row, col=col)
    figure.update_xaxes(title="after layer", row=row, col=col)
