"""A fact's circuit: what stands at the subject, the heads that carry it, the answer."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.circuits import ExtractionHeads, FactCircuit
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, intervals, styled

FOR, AGAINST = "rgba(47,95,179,0.45)", "rgba(209,102,43,0.45)"
HEADS = 10


def fact_figure(result: FactCircuit) -> go.Figure:
    """Flows from the subject's writers through heads to the answer; beside them each head's direct
    part and loss; below, neurons.
    """
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{"type": "domain"}, {"type": "xy"}], [{"type": "xy", "colspan": 2}, None]],
        column_widths=[0.58, 0.42],
        row_heights=[0.6, 0.4],
        horizontal_spacing=0.1,
        vertical_spacing=0.16,
        subplot_titles=(
            "at the subject → head → answer",
            "heads: what they write, what is lost without",
            "neurons at the subject: what their values add through heads",
        ),
    )
    figure.add_trace(_flow(result), row=1, col=1)
    _head_bars(figure, result)
    labels = [f"{role.neuron}<br>{result.tokens[role.token].strip()}" for role in result.neurons]
    figure.add_trace(
        go.Bar(
            x=labels,
            y=[role.total for role in result.neurons],
            marker_color=[BLUE if role.total > 0 else ORANGE for role in result.neurons],
            customdata=[
                ", ".join(f"{h} {x:+.2f}" for h, x in role.through.items())
                for role in result.neurons
            ],
            hovertemplate="%{x}: %{y:+.3f} in all<br>%{customdata}<extra></extra>",
            showlegend=False,
        ),
        row=2,
        col=1,
    )
    figure.update_xaxes(gridcolor=GREY, zeroline=True, zerolinecolor=MUTED, row=1, col=2)
    figure.update_yaxes(title="score", gridcolor=GREY, row=2, col=1)
    figure.update_annotations(font_size=12)
    note = (
        f"P = {result.probability:.2f}, and {result.together:.0%} of it lost with the first"
        f" {len(result.shown)} heads blind to the subject; blue adds to the answer's score"
        f" {result.score:.1f}, orange takes from it"
    )
    title = f"{result.prompt} → {result.answer}"
    return styled(figure, title, note, height=760).update_layout(
        barmode="group",
        legend={"orientation": "h", "y": 0.45, "x": 1, "xanchor": "right", "font": {"size": 11}},
        margin={"t": 110},
    )


def _head_bars(figure: go.Figure, result: FactCircuit) -> None:
    """Of each head: what it writes, what is lost without it, its attention to the subject."""
    heads = result.heads[:HEADS][::-1]
    for name, ink, values in (
        (
            "score written, share of the largest",
            BLUE,
            [c.direct / abs(result.heads[0].direct or 1) for c in heads],
        ),
        ("P(answer) lost when cut", INK, [c.lost for c in heads]),
        ("attention to the subject", GREY, [c.attention for c in heads]),
    ):
        bar = go.Bar(
            x=values,
            y=[c.head for c in heads],
            orientation="h",
            name=name,
            marker_color=ink,
            hovertemplate=f"%{{y}}, {name}: %{{x:.2f}}<extra></extra>",
        )
        figure.add_trace(bar, row=1, col=2)


def _flow(result: FactCircuit) -> go.Sankey:
    """Widths are parts of the score; colours their signs."""
    heads, answer = list(result.shown), result.answer
    names = [*result.writers, *heads, answer]
    at = {name: i for i, name in enumerate(names)}
    direct = {carrier.head: carrier.direct for carrier in result.heads}
    links = [
        (writer, head, score)
        for writer, row in result.writers.items()
        for head, score in row.items()
    ]
    links += [(head, answer, direct[head]) for head in heads]
    return go.Sankey(
        arrangement="snap",
        node={
            "label": names,
            "color": [GREY] * len(result.writers) + [INK] * len(heads) + [BLUE],
            "pad": 14,
            "thickness": 12,
        },
        link={
            "source": [at[a] for a, _, _ in links],
            "target": [at[b] for _, b, _ in links],
            "value": [abs(score) for *_, score in links],
            "color": [FOR if score > 0 else AGAINST for *_, score in links],
            "customdata": [f"{score:+.2f}" for *_, score in links],
            "hovertemplate": "%{source.label} → %{target.label}: %{customdata}<extra></extra>",
        },
    )


def extraction_figure(result: ExtractionHeads) -> go.Figure:
    """Heads by what they write for the answer, over many facts, and what is lost without them."""
    heads = result.heads[:HEADS][::-1]
    figure = make_subplots(
        cols=2,
        shared_yaxes=True,
        horizontal_spacing=0.04,
        subplot_titles=("share of P(answer) lost when cut", "score written"),
    )
    for col, field, ink in ((1, "lost", INK), (2, "direct", BLUE)):
        estimates = [getattr(head, field) for head in heads]
        points = go.Scatter(
            x=[e.value for e in estimates],
            y=[head.head for head in heads],
            error_x=intervals(estimates),
            mode="markers",
            marker={"size": 9, "color": ink},
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
            showlegend=False,
        )
        figure.add_trace(points, row=1, col=col)
    figure.update_xaxes(gridcolor=GREY, rangemode="tozero")
    figure.update_annotations(font_size=12)
    note = (
        "the last token blind to the subject in one head; the path subject → head → answer, with"
        f" patterns held; each fact's first four heads cut at once lose {result.together.value:.0%}"
    )
    return styled(
        figure,
        f"Which heads of {result.model} carry subjects to answers, over {result.n} facts",
        note,
        height=150 + 28 * len(heads),
    ).update_layout(margin={"t": 110})
