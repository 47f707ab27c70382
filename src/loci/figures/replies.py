"""Answers of a model to some prompts with their probabilities, or the likeliest next tokens of one
prompt.
"""

import plotly.graph_objects as go

from loci.auditing.replies import Replies
from loci.figures.ladder import Ladder, ladder_figure
from loci.figures.theme import BLUE, GREY, styled

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
