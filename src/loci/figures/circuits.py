"""Heads: their scores as grids, layer by head; as points in the plane of two scores; from token to
token.
"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.circuits import HeadScatter, HeadScores, TokenCircuit
from loci.figures.theme import BLUE, DIVERGING, GREY, INK, MUTED, styled

RISING = [[0.0, "#ffffff"], [0.5, "#8fb0e2"], [1.0, "#1d4791"]]
PANELS = {
    "previous_token": "looks one back",
    "duplicate": "looks at the same token",
    "induction": "looks behind the same token",
    "first": "looks at the first token",
    "copying": "raises what it reads",
    "copying_positivity": "Σλ/Σ|λ| of W_U W_OV W_E",
    "entropy": "entropy of the pattern, nats",
    "deletion": "takes away what stands here",
}
SIGNED = ("copying_positivity",)
NAMED = 8
FLOOR = 0.2
"""Where the colours of points end at least: below it a score is nothing to name a head for."""


def heads_figure(result: HeadScores) -> go.Figure:
    """One panel a score: rows are layers, columns heads; intervals on hover."""
    shown = [name for name in PANELS if name in result.scores]
    rows = -(-len(shown) // 4)
    figure = make_subplots(
        rows=rows,
        cols=4,
        subplot_titles=[PANELS[name] for name in shown],
        horizontal_spacing=0.05,
        vertical_spacing=0.16,
    )
    for i, name in enumerate(shown):
        figure.add_trace(_grid(result, name), row=i // 4 + 1, col=i % 4 + 1)
    figure.update_yaxes(autorange="reversed", dtick=max(1, len(result.grid(shown[0])) // 6))
    figure.update_xaxes(dtick=max(1, len(result.grid(shown[0])[0]) // 6))
    figure.update_xaxes(title="head", row=rows)
    figure.update_yaxes(title="layer", col=1)
    figure.update_annotations(font_size=12)
    best = result.top("induction", 1)[0]
    note = (
        f"{result.samples} × {result.length} random tokens, {result.repeats} times; the best at"
        f" induction is {best.name}, {best.measured['induction']}"
    )
    return styled(
        figure, f"What the heads of {result.model} do", note, height=170 + 240 * rows
    ).update_layout(margin={"t": 110})


def _grid(result: HeadScores, name: str) -> go.Heatmap:
    """One score of all heads: white at 0 (copying: at chance), darkest at the most extreme head or
    at 1.
    """
    grid = result.grid(name)
    flat = [value for row in grid for value in row]
    limit = max((abs(value) for value in flat), default=1.0) or 1.0
    signed = name in SIGNED
    texts = [
        [f"L{layer}H{h}: {value:.3f}" for h, value in enumerate(row)]
        for layer, row in enumerate(grid)
    ]
    for row in result.heads:
        if name in row.measured:
            estimate = row.measured[name]
            texts[row.layer][row.head] += f" [{estimate.low:.3f}, {estimate.high:.3f}]"
    return go.Heatmap(
        z=grid,
        text=texts,
        hovertemplate=f"{PANELS[name]}<br>%{{text}}<extra></extra>",
        colorscale=DIVERGING if signed else RISING,
        zmin=2 / result.length - 1 if name == "copying" else -1 if signed else 0,
        zmax=1 if signed or name == "copying" else max(limit, 0.2),
        showscale=False,
        xgap=1,
        ygap=1,
    )


def scatter_figure(result: HeadScatter) -> go.Figure:
    """A point a head; those that the colour lifts have their names, and those furthest into the
    corner.
    """
    rows = result.scores.heads
    sides = _named(result)
    figure = go.Figure(
        go.Scatter(
            x=[row.value(result.x) for row in rows],
            y=[row.value(result.y) for row in rows],
            mode="markers+text",
            text=[row.name if row.name in sides else "" for row in rows],
            textposition=[sides.get(row.name, "top center") for row in rows],
            textfont={"size": 11, "color": INK},
            customdata=[[row.name, row.value(result.colour)] for row in rows],
            hovertemplate=(
                f"%{{customdata[0]}}<br>{result.x} %{{x:.2f}}, {result.y}"
                f" %{{y:.2f}}<br>{result.colour} %{{customdata[1]:.3f}}<extra></extra>"
            ),
            marker={
                "size": 12,
                "color": [row.value(result.colour) for row in rows],
                "colorscale": RISING,
                "cmin": 0,
                "cmax": max([FLOOR, *(row.value(result.colour) for row in rows)]),
                "line": {"color": MUTED, "width": 1},
                "colorbar": {
                    "title": {"text": result.colour.replace("_", " "), "side": "top"},
                    "thickness": 12,
                },
            },
        )
    )
    for draw in (figure.add_hline, figure.add_vline):
        draw(0, line={"color": GREY, "width": 1, "dash": "dot"})
    for update, name in ((figure.update_xaxes, result.x), (figure.update_yaxes, result.y)):
        update(title=name.replace("_", " "), range=[-1.1, 1.1] if "positivity" in name else None)
    note = (
        "positivity is Σλ/Σ|λ| of the full circuits; positive eigenvalues do not prove copying"
        if "positivity" in result.x + result.y
        else ""
    )
    return styled(figure, f"The heads of {result.scores.model}", note, height=560)


def _named(result: HeadScatter) -> dict[str, str]:
    """The heads to name, and on which side: above and below in turn, so that neighbours' names do
    not meet.
    """
    lifted = [
        row for row in result.scores.top(result.colour, NAMED) if row.value(result.colour) >= FLOOR
    ]
    corner = sorted(
        result.scores.heads, key=lambda row: -row.value(result.x) - row.value(result.y)
    )[: NAMED - len(lifted)]
    chosen = sorted(
        {row.name: row.value(result.x) for row in (*lifted, *corner)}.items(),
        key=lambda item: item[1],
    )
    return {name: ("top center", "bottom center")[i % 2] for i, (name, _) in enumerate(chosen)}


def tokens_figure(result: TokenCircuit) -> go.Figure:
    """The strongest skip-trigrams of a head as bars."""
    rows = result.trigrams[::-1]
    labels = [f"{_visible(t.source)} … {_visible(t.destination)} → {_visible(t.out)}" for t in rows]
    figure = go.Figure(
        go.Bar(
            x=[t.strength for t in rows],
            y=list(range(len(rows))),
            orientation="h",
            marker_color=BLUE,
            hovertext=labels,
            hovertemplate="%{hovertext}: %{x:.3g}<extra></extra>",
        )
    )
    figure.update_yaxes(tickvals=list(range(len(rows))), ticktext=labels)
    figure.update_xaxes(title="QK · OV, source … destination → out", gridcolor=GREY)
    note = (
        f"copies {result.copies.value:.1%} of {result.tokens:,} tokens best of all; Σλ/Σ|λ| of its"
        f" full OV circuit {result.copying_positivity:+.2f}"
    )
    return styled(
        figure,
        f"{result.head} of {result.model}, from token to token",
        note,
        height=150 + 26 * len(rows),
    )


def _visible(token: str) -> str:
    return token.replace(" ", "␣").replace("\n", "⏎") or "∅"
