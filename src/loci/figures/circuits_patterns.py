"""Attention patterns, plain and value-weighted; what repetition is worth, head by head."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.circuits import AttentionPatterns, Induction
from loci.figures.circuits import RISING
from loci.figures.theme import BLUE, GREY, INK, ORANGE, intervals, styled

LABELLED = 4
"""Heads up to which tokens stand at the axes."""
WORDS = 40


def patterns_figure(result: AttentionPatterns) -> go.Figure:
    """A panel a head; the buttons change between plain and value-weighted; tokens on hover."""
    names = list(result.plain)
    columns = min(len(names), 2 if len(names) <= LABELLED else 8)
    rows = -(-len(names) // columns)
    figure = make_subplots(
        rows=rows,
        cols=columns,
        subplot_titles=names,
        horizontal_spacing=0.16 / columns,
        vertical_spacing=0.3 / rows if rows > 1 else 0,
    )
    for i, name in enumerate(names):
        figure.add_trace(_pattern(result, name), row=i // columns + 1, col=i % columns + 1)
    labelled = len(names) <= LABELLED and len(result.tokens) <= WORDS
    places, words = (
        list(range(len(result.tokens))),
        [f"{token.strip() or '␣'} " for token in result.tokens],
    )
    figure.update_xaxes(
        tickvals=places, ticktext=words, tickangle=-60, showticklabels=labelled, constrain="domain"
    )
    figure.update_yaxes(
        tickvals=places,
        ticktext=words,
        showticklabels=labelled,
        autorange="reversed",
        constrain="domain",
    )
    figure.update_layout(updatemenus=[_buttons(result)])
    figure.update_annotations(font_size=12)
    size = 420 if len(names) <= LABELLED else 150
    note = (
        "rows look at columns; value-weighted: times the length of what the source writes, so"
        " resting places grow pale"
    )
    return styled(
        figure, f"Attention in {result.model}", note, height=150 + size * rows
    ).update_layout(margin={"t": 130})


def _pattern(result: AttentionPatterns, name: str) -> go.Heatmap:
    texts = [[f"“{q}” looks at “{k}”" for k in result.tokens] for q in result.tokens]
    return go.Heatmap(
        z=result.plain[name].tolist(),
        text=texts,
        hovertemplate=f"{name}: %{{text}}<br>%{{z:.3f}}<extra></extra>",
        colorscale=RISING,
        zmin=0,
        showscale=False,
    )


def _buttons(result: AttentionPatterns) -> dict[str, object]:
    """Plain against value-weighted, for all panels at once."""
    grids = {"plain": result.plain, "value-weighted": result.weighted}
    buttons = [
        {
            "label": label,
            "method": "restyle",
            "args": [{"z": [grid.tolist() for grid in of.values()]}],
        }
        for label, of in grids.items()
    ]
    return {
        "type": "buttons",
        "direction": "right",
        "buttons": buttons,
        "x": 1,
        "xanchor": "right",
        "y": 1.02,
        "yanchor": "bottom",
        "pad": {"b": 24},
        "font": {"size": 11},
    }


def induction_figure(result: Induction) -> go.Figure:
    """Loss by block, and the heads that match prefixes with the heads that make their keys."""
    figure = make_subplots(
        cols=2,
        column_widths=[0.42, 0.58],
        horizontal_spacing=0.26,
        subplot_titles=("loss, nats a token", "prefix matching"),
    )
    blocks = ["first"] + [f"again, {k}" for k in range(1, len(result.losses))]
    figure.add_trace(
        go.Bar(
            x=blocks,
            y=[e.value for e in result.losses],
            error_y=intervals(result.losses),
            marker_color=[GREY] + [BLUE] * (len(blocks) - 1),
        ),
        col=1,
        row=1,
    )
    heads = result.heads[::-1]
    labels = [
        head.head
        + (
            f"  keys: {', '.join(partner.head for partner in head.partners)}"
            if head.partners
            else ""
        )
        for head in heads
    ]
    for name, ink, field in (
        ("looks behind the same token", INK, "induction"),
        ("raises what it reads", ORANGE, "copying"),
    ):
        estimates = [getattr(head, field) for head in heads]
        figure.add_trace(
            go.Scatter(
                x=[e.value for e in estimates],
                y=labels,
                error_x=intervals(estimates),
                mode="markers",
                marker={"size": 9, "color": ink},
                name=name,
                hovertemplate=f"%{{y}}<br>{name} %{{x:.3f}}<extra></extra>",
            ),
            col=2,
            row=1,
        )
    figure.update_xaxes(range=[-1.05, 1.05], gridcolor=GREY, col=2)
    figure.update_yaxes(rangemode="tozero", gridcolor=GREY, col=1)
    figure.data[0].showlegend = False
    figure.update_annotations(font_size=12)
    what = (
        f"“{result.text}”" if result.text else f"{result.samples} × {result.length} random tokens"
    )
    note = (
        f"{what}, {result.repeats} times; {result.greedy.value:.0%} of repeated tokens are the"
        f" likeliest; a repetition saves {result.fall:+.2f} nats a token"
    )
    return styled(figure, f"Induction in {result.model}", note, height=380).update_layout(
        legend={"orientation": "h", "y": -0.2, "x": 0.4}, margin={"t": 110}
    )
