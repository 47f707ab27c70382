"""Before and after: the next-token probabilities of a prompt, with the base, with the edit, and
with the edit undone.
"""

from dataclasses import dataclass
from typing import ClassVar

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, ORANGE, styled
from loci.result import About, Result


@dataclass(frozen=True)
class Ladder(Result):
    """Likeliest next tokens of one prompt under several states of the model: {state: {token:
    probability}}.
    """

    about: ClassVar[About] = About(
        "",
        "",
        "",
        "ladder.ladder_figure",
    )

    prompt: str
    states: dict[str, dict[str, float]]


def ladder_figure(ladder: Ladder, count: int = 8) -> go.Figure:
    """One row a token, one bar a state, the likeliest first."""
    best: dict[str, float] = {}
    for probabilities in ladder.states.values():
        for token, probability in probabilities.items():
            best[token] = max(probability, best.get(token, 0.0))
    tokens = sorted(best, key=lambda token: -best[token])[:count]
    figure = go.Figure()
    for (name, probabilities), color in zip(
        ladder.states.items(), (BLUE, ORANGE, GREY), strict=False
    ):
        values = [probabilities.get(token, 0.0) for token in tokens]
        bar = go.Bar(
            x=values,
            y=tokens,
            name=name,
            orientation="h",
            marker_color=color,
            hovertemplate=f"{name}: %{{x:.4f}}<extra></extra>",
        )
        figure.add_trace(bar)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(range=[0, 1], title="probability of the next token", gridcolor=GREY)
    figure.update_layout(
        barmode="group",
        bargap=0.25,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return styled(figure, f"“{ladder.prompt} …”", height=150 + 44 * len(tokens))
