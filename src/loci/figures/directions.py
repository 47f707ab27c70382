"""Directions from pairs of words: how far they agree, which analogies they solve; what steering
changes; concepts in texts.
"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, DIVERGING, GREY, MUTED, ORANGE, intervals, styled
from loci.reading.concepts import Concepts
from loci.reading.directions_result import Directions
from loci.reading.steering import Steered
from loci.stats import Estimate

NAMED = 24


def directions_figure(result: Directions) -> go.Figure:
    """Cosines between the pairs' differences, and the analogies beside their controls."""
    titles = ("cosines between the differences", "held-out analogies solved")
    figure = make_subplots(
        rows=1, cols=2, column_widths=[0.6, 0.4], horizontal_spacing=0.2, subplot_titles=titles
    )
    names = [f"{a} − {b}" for a, b in result.pairs]
    places = names if len(names) <= NAMED else list(range(len(names)))
    heat = go.Heatmap(
        z=result.cosines.tolist(),
        x=places,
        y=places,
        customdata=[[f"{one} and {other}" for other in names] for one in names],
        zmin=-1,
        zmax=1,
        colorscale=DIVERGING,
        colorbar={"title": "cosine", "x": 0.52, "thickness": 12},
        hovertemplate="%{customdata}: %{z:.2f}<extra></extra>",
    )
    figure.add_trace(heat, row=1, col=1)
    shares = {
        "the others'<br>direction": result.analogy,
        "no<br>direction": result.without,
        "random<br>directions": result.random,
    }
    figure.add_trace(_bars(shares, (BLUE, MUTED, GREY)), row=1, col=2)
    figure.update_yaxes(autorange="reversed", col=1)
    figure.update_yaxes(rangemode="tozero", tickformat=".0%", gridcolor=GREY, col=2)
    figure.update_xaxes(tickangle=0, col=2)
    figure.update_annotations(font_size=13)
    title = f"Do {len(names)} pair{'s' * (len(names) > 1)} share one direction at {result.point}?"
    note = (
        f"mean cosine {result.alignment}, with shuffled partners {result.shuffled}; the answer"
        " is one"
        f" of {result.candidates} words; 95 % intervals"
    )
    return styled(
        figure, title, note, height=max(480, 180 + 14 * min(len(names), NAMED))
    ).update_layout(margin={"t": 100})


def steered_figure(result: Steered) -> go.Figure:
    """The first prompt's likeliest next tokens before and after, and what changes over all prompts
    beside random directions.
    """
    figure = make_subplots(rows=1, cols=2, column_widths=[0.55, 0.45], horizontal_spacing=0.16)
    before, after = dict(result.before[0]), dict(result.after[0])
    tokens = list(dict.fromkeys([*before, *after]))
    for name, row, ink in (("before", before, MUTED), ("after", after, BLUE)):
        bars = go.Bar(
            x=[repr(token) for token in tokens],
            y=[row.get(token) for token in tokens],
            name=name,
            marker={"color": ink},
        )
        figure.add_trace(bars, row=1, col=1)
    figure.add_trace(
        _bars({"the direction": result.kl, "random directions": result.random_kl}, (ORANGE, GREY)),
        row=1,
        col=2,
    )
    figure.update_yaxes(title="P(next token)", range=[0, 1], gridcolor=GREY, col=1)
    figure.update_yaxes(title="KL(before ‖ after), nats", rangemode="tozero", gridcolor=GREY, col=2)
    where = "all tokens" if result.everywhere else "the last token"
    note = (
        f"{result.strength:g} · direction at {where}, {result.relative.value:.2g} of the stream's"
        f" norm; left: {result.prompts[0]!r}; right: {len(result.prompts)}"
        f" prompt{'s' * (len(result.prompts) > 1)}, 95 % intervals"
    )
    styled(figure, f"Steering after layer {result.layer}", note, height=440)
    return figure.update_layout(barmode="group", legend={"orientation": "h", "y": -0.3})


def concepts_figure(result: Concepts) -> go.Figure:
    """Coefficients of each concept in each text, and the share of its norm that they explain."""
    labels = [
        f"{text} ({part:.0%}, chance {chance:.0%})"
        for text, part, chance in zip(result.texts, result.explained, result.random, strict=True)
    ]
    limit = float(result.coefficients.abs().max()) or 1.0
    heat = go.Heatmap(
        z=result.coefficients.tolist(),
        x=list(result.concepts),
        y=labels,
        zmin=-limit,
        zmax=limit,
        colorscale=DIVERGING,
        colorbar={"title": "coefficient", "thickness": 12},
        customdata=result.cosines.tolist(),
        texttemplate="%{z:.2f}",
        hovertemplate="%{x} in %{y}: coefficient %{z:.2f}, cosine %{customdata:.2f}<extra></extra>",
    )
    figure = go.Figure(heat)
    figure.update_yaxes(autorange="reversed")
    note = (
        "least squares on centred vectors; in brackets the share of the squared norm explained, and"
        " by as many random directions"
    )
    return styled(figure, f"Concepts at {result.point}", note, height=140 + 32 * len(labels))


def _bars(rows: dict[str, Estimate], inks: tuple[str, ...]) -> go.Bar:
    return go.Bar(
        x=list(rows),
        y=[estimate.value if estimate.n else None for estimate in rows.values()],
        error_y=intervals(list(rows.values())),
        marker={"color": list(inks)},
        showlegend=False,
        hovertemplate="%{x}: %{y:.3g}<extra></extra>",
    )
