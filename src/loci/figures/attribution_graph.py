"""An attribution graph: tokens across, layers up, a line for each large effect."""

import plotly.graph_objects as go

from loci.dictionaries import AttributionGraph
from loci.dictionaries.graph_results import GraphNode
from loci.figures.theme import BLUE, INK, ORANGE, styled

MOST_EDGES = 120
"""Lines that are drawn, the largest first: more cannot be told apart."""


def attribution_graph_figure(graph: AttributionGraph) -> go.Figure:
    """Nodes by token and layer, as large as their effect on the score; blue adds, orange takes
    away.
    """
    shown = [node for node in graph.nodes if node.kind != "bias"]
    across = _across(shown)
    layer = {node.id: node.layer for node in shown}
    figure = go.Figure()
    drawn = sorted((e for e in graph.edges if e.source in across), key=lambda e: -abs(e.weight))[
        :MOST_EDGES
    ]
    largest = abs(drawn[0].weight) if drawn else 1.0
    for edge in drawn:
        figure.add_trace(
            go.Scatter(
                x=[across[edge.source], across[edge.target]],
                y=[layer[edge.source], layer[edge.target]],
                mode="lines",
                line={
                    "color": BLUE if edge.weight > 0 else ORANGE,
                    "width": 0.5 + 3 * abs(edge.weight) / largest,
                },
                opacity=0.35,
                hoverinfo="skip",
                showlegend=False,
            )
        )
    top = max((abs(node.effect) for node in shown if node.kind != "logit"), default=1.0) or 1.0
    figure.add_trace(
        go.Scatter(
            x=[across[node.id] for node in shown],
            y=[node.layer for node in shown],
            mode="markers",
            marker={
                "size": [
                    18.0 if node.kind == "logit" else 5 + 15 * abs(node.effect) / top
                    for node in shown
                ],
                "color": [
                    INK if node.kind == "logit" else BLUE if node.effect > 0 else ORANGE
                    for node in shown
                ],
            },
            text=[f"{node.id}<br>effect {node.effect:+.3f}" for node in shown],
            hovertemplate="%{text}<extra></extra>",
            showlegend=False,
        )
    )
    layers = max(node.layer for node in shown)
    names = ["embedding", *map(str, range(layers)), "logit"]
    figure.update_yaxes(tickvals=list(range(-1, layers + 1)), ticktext=names, title="layer")
    figure.update_xaxes(
        tickvals=list(range(len(graph.tokens))),
        ticktext=[t.strip() or repr(t) for t in graph.tokens],
    )
    note = (
        f"sum of direct effects {graph.total:.3f} of {graph.score:.3f}; the {len(drawn)} largest of"
        f" {len(graph.edges):,} edges"
    )
    return styled(figure, f"What makes {graph.answer!r} of {graph.prompt!r}?", note, height=640)


def _across(nodes: list[GraphNode]) -> dict[str, float]:
    """Each node's place: its token, beside the others of its layer there."""
    cells: dict[tuple[int, int], list[GraphNode]] = {}
    for node in nodes:
        cells.setdefault((node.layer, node.position), []).append(node)
    return {
        node.id: position + 0.8 * ((i + 0.5) / len(cell) - 0.5)
        for (_, position), cell in cells.items()
        for i, node in enumerate(cell)
    }
