"""Figures of auditing: answers with their probabilities, edits over layers."""

import plotly.graph_objects as go

from loci.auditing import Sweep
from loci.auditing.replies import Replies
from loci.figures.ladder import Ladder, ladder_figure
from loci.figures.theme import BLUE, GREY, ORANGE, by_layer, styled

SHOWN = 60


def replies_figure(result: Replies) -> go.Figure:
    """One prompt: its next tokens, as bars. Several: P(answer) of each, in their order."""
    if len(result.replies) == 1 and result.replies[0].next:
        (reply,) = result.replies
        return ladder_figure(Ladder(reply.prompt, {result.model: dict(reply.next)}))
    shown = result.replies[:SHOWN]
    figure = go.Figure(
        go.Bar(
            x=[reply.probability for reply in shown],
            y=[f"{i + 1}. {reply.prompt} {reply.answer}" for i, reply in enumerate(shown)],
            orientation="h",
            marker_color=BLUE,
            hovertemplate="P = %{x:.4f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(
        range=[0, 1], title="probability of the answer that is said", gridcolor=GREY
    )
    more = (
        f"the first {SHOWN} of {len(result.replies):,} prompts"
        if len(result.replies) > SHOWN
        else f"{len(shown)} prompts"
    )
    return styled(figure, f"What {result.model} says", more, height=150 + 30 * len(shown))


def sweep_figure(sweep: Sweep) -> go.Figure:
    """Efficacy of edits and the MLP's traced effect, layer by layer, with 95 % intervals."""
    figure = go.Figure()
    rows = {
        "efficacy of edits at this layer": (sweep.efficacy, BLUE),
        "effect of restoring its MLP": (sweep.effect, ORANGE),
    }
    for name, (row, ink) in rows.items():
        figure.add_trace(by_layer(row, range(len(row)), name, ink, ".2f"))
    figure.update_yaxes(range=[-0.05, 1.08], gridcolor=GREY)
    figure.update_xaxes(title="layer", dtick=max(1, sweep.success.shape[1] // 12))
    note = (
        f"{sweep.edits} facts edited at every layer; rank correlation over layers, mean over facts:"
        f" {sweep.correlation}"
    )
    return styled(figure, "Does the trace tell where to edit?", note, height=400).update_layout(
        legend={"orientation": "h", "y": -0.2}
    )
