"""Composition: which later head builds on which earlier one, as a graph with a threshold; the links
of one part.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.circuits import Composition, CompositionEdge, CompositionGraph, VirtualWeights
from loci.circuits.composition_results import KINDS, Kind
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled

INKS: dict[Kind, str] = {"q": BLUE, "k": ORANGE, "v": INK, "mlp": MUTED}
READ = {"q": "by its queries", "k": "by its keys", "v": "by its values", "mlp": "by an MLP's keys"}
SHIFT: dict[Kind, float] = {"q": -0.12, "k": 0.0, "v": 0.12, "mlp": 0.0}
BEFORE = {
    "heads": "heads that feed it",
    "neurons": "neurons that feed it",
    "q": "neurons that feed its queries",
    "k": "neurons that feed its keys",
    "v": "neurons that feed its values",
}
AFTER = {
    "q": "heads that read it by queries",
    "k": "heads that read it by keys",
    "v": "heads that read it by values",
    "neurons": "neurons that it feeds",
}
COUNTS = (10, 20, 40, 80, 160)
SHOWN = 2


def composition_figure(result: Composition) -> go.Figure:
    """Heads by layer, a line for each pair above the threshold; the slider moves it."""
    edges = result.edges(-1.0)
    counts = _counts(edges)
    return _graph(result, edges, counts, min(SHOWN, len(counts) - 1))


def graph_figure(result: CompositionGraph) -> go.Figure:
    """The same, opened at a threshold of one's own."""
    edges = result.composition.edges(-1.0)
    counts = sorted({*_counts(edges), len(result.edges)})
    return _graph(result.composition, edges, counts, counts.index(len(result.edges)))


def _counts(edges: Sequence[CompositionEdge]) -> list[int]:
    return [count for count in COUNTS if count <= len(edges)] or [len(edges)]


def _graph(
    result: Composition, edges: list[CompositionEdge], counts: Sequence[int], shown: int
) -> go.Figure:
    """The strongest pairs, so many at each step of the slider, which begins at the step `shown`."""
    kinds = [kind for kind in KINDS if kind in result.scores]
    figure = go.Figure(_nodes(result))
    for step, count in enumerate(counts):
        for kind in kinds:
            figure.add_trace(
                _lines([e for e in edges[:count] if e.kind == kind], kind, step == shown)
            )
            figure.add_trace(
                _middles(
                    [e for e in edges[:count] if e.kind == kind], kind, result.null, step == shown
                )
            )
    traces = 2 * len(kinds)
    steps = [
        {
            "method": "update",
            "label": f"{edges[count - 1].score - result.null:+.3f}",
            "args": [
                {"visible": [True, *(i // traces == step for i in range(traces * len(counts)))]}
            ],
        }
        for step, count in enumerate(counts)
    ]
    figure.update_layout(
        sliders=[
            {
                "active": shown,
                "steps": steps,
                "currentvalue": {"prefix": "at least ", "suffix": " above chance"},
                "pad": {"t": 40},
                "len": 0.7,
            }
        ],
        legend={"orientation": "h", "y": 1.06, "x": 0},
    )
    top = max(_place(name)[1] for name in result.writers)
    figure.update_yaxes(title="layer", dtick=1, range=[-0.5, top + 0.4], gridcolor=GREY)
    columns = sorted({_place(name)[0] for name in result.writers})
    figure.update_xaxes(
        title="head",
        showgrid=False,
        tickvals=columns,
        ticktext=["MLP" if at < 0 else f"{at:.0f}" for at in columns],
    )
    offset = "" if result.offset is None else f"; keys {result.offset} back"
    note = f"score of random pairs {result.null:.4f}; norms in the view “{result.view}”{offset}"
    return styled(figure, f"Who builds on whom in {result.model}", note, height=640).update_layout(
        margin={"t": 120}
    )


def _place(name: str) -> tuple[float, float]:
    """Where a part stands: heads side by side, an MLP left of them and half a layer up."""
    if name.endswith("MLP"):
        return -1.0, int(name[1:-3]) + 0.5
    layer, head = name[1:].split("H")
    return float(head), float(layer)


def _nodes(result: Composition) -> go.Scatter:
    names = list(
        dict.fromkeys([*result.writers, *(name for row in result.readers.values() for name in row)])
    )
    places = [_place(name) for name in names]
    return go.Scatter(
        x=[x for x, _ in places],
        y=[y for _, y in places],
        mode="markers",
        marker={"size": 9, "color": "#ffffff", "line": {"color": INK, "width": 1.5}},
        text=names,
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )


def _lines(edges: list[CompositionEdge], kind: Kind, visible: bool) -> go.Scatter:
    xs: list[float | None] = []
    ys: list[float | None] = []
    for edge in edges:
        (x0, y0), (x1, y1) = _place(edge.writer), _place(edge.reader)
        xs += [x0, x1 + SHIFT[kind], None]
        ys += [y0, y1, None]
    return go.Scatter(
        x=xs,
        y=ys,
        mode="lines",
        line={"color": INKS[kind], "width": 1.5},
        opacity=0.7,
        name=READ[kind],
        hoverinfo="skip",
        visible=visible,
    )


def _middles(edges: list[CompositionEdge], kind: Kind, null: float, visible: bool) -> go.Scatter:
    """Where a line says its score."""
    ends = [(_place(edge.writer), _place(edge.reader)) for edge in edges]
    return go.Scatter(
        x=[0.5 * (a[0] + b[0] + SHIFT[kind]) for a, b in ends],
        y=[0.5 * (a[1] + b[1]) for a, b in ends],
        mode="markers",
        marker={"size": 5, "color": INKS[kind]},
        text=[
            f"{e.writer} → {e.reader} {READ[kind]}: {e.score:.4f}, {e.score / null:.2f} times"
            " chance"
            for e in edges
        ],
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
        visible=visible,
    )


def links_figure(result: VirtualWeights) -> go.Figure:
    """Scores of the parts before and after a part, as bars; chance as dotted lines."""
    sides = [(BEFORE[kind], links) for kind, links in result.before.items()]
    sides += [(AFTER[kind], links) for kind, links in result.after.items()]
    sides = [(title, links) for title, links in sides if links]
    figure = make_subplots(
        rows=-(-len(sides) // 3),
        cols=3,
        subplot_titles=[title for title, _ in sides],
        vertical_spacing=0.12,
    )
    for i, (_, links) in enumerate(sides):
        row, col = i // 3 + 1, i % 3 + 1
        bars = go.Bar(
            x=[link.score for link in links][::-1],
            y=[link.part for link in links][::-1],
            orientation="h",
            marker_color=[BLUE if link.score > 0 else ORANGE for link in links][::-1],
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
        figure.add_trace(bars, row=row, col=col)
        for sign in (1, -1) if min(link.score for link in links) < 0 else (1,):
            figure.add_vline(
                sign * result.null,
                line={"color": MUTED, "dash": "dot", "width": 1},
                row=row,
                col=col,
            )
    figure.update_annotations(font_size=12)
    note = (
        f"scores of virtual weights, chance {result.null:.3f} (dotted); between neurons the signed"
        " cosine"
    )
    return styled(
        figure,
        f"{result.part} of {result.model}: what feeds it, what it feeds",
        note,
        height=140 + 280 * -(-len(sides) // 3),
    ).update_layout(showlegend=False, margin={"t": 110})
