"""Attribution to neurons: the strongest of them, and how the layers share the rest."""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, ORANGE, intervals, styled
from loci.locating import KnowledgeNeurons, Neurons, NeuronTrace
from loci.reading import NeuronCard
from loci.stats import mean

CHECK = {
    "corrupted": "restoring the MLPs one by one gives back",
    "zero": "silencing the MLPs one by one costs",
}


def neurons_figure(neurons: Neurons, count: int = 15) -> go.Figure:
    """The strongest neurons as bars, out of the sum of all."""
    top = neurons.top(count)
    total, expected = neurons.completeness
    title = f"Neurons behind “{neurons.prompt} → {neurons.answer}”"
    note = (
        f"integrated gradients at the last subject token; all {neurons.scores.numel():,} neurons"
        f" sum to {total:.2f}; {CHECK[neurons.baseline]}: {expected:.2f}"
    )
    return _bars(
        {f"L{layer}N{neuron}": score for layer, neuron, score in top},
        title,
        note,
        "attribution to P(answer)",
    )


def neuron_trace_figure(result: NeuronTrace, count: int = 15) -> go.Figure:
    """The neurons of one block that bring most of the answer back, each restored alone."""
    title = f"Single neurons of layer {result.layer} behind “{result.prompt} → {result.answer}”"
    note = (
        f"each restored alone at token {result.token}; they sum to"
        f" {float(result.effects.sum()):.3f},"
        f" all together give back {result.together:.3f}"
    )
    return _bars(
        {f"L{result.layer}N{i}": effect for i, effect in result.top(count)},
        title,
        note,
        "P(answer) given back",
    )


def knowledge_figure(result: KnowledgeNeurons) -> go.Figure:
    """Effects of silencing and doubling a fact's neurons, beside controls with their intervals."""
    changes = {"suppressed": result.suppress, "amplified": result.amplify}
    figure = go.Figure()
    for name, ink in (
        ("these neurons", BLUE),
        ("random ones", GREY),
        ("equally active ones", ORANGE),
    ):
        of = [
            {
                "these neurons": mean([c.change]),
                "random ones": c.random,
                "equally active ones": c.active,
            }[name]
            for c in changes.values()
        ]
        error = None if name == "these neurons" else intervals(of)
        figure.add_trace(
            go.Bar(
                x=list(changes), y=[e.value for e in of], name=name, marker_color=ink, error_y=error
            )
        )
    figure.update_yaxes(
        title="change of P(answer)", gridcolor=GREY, zeroline=True, zerolinecolor=GREY
    )
    title = (
        f"{len(result.cells)} neurons shared by {result.phrasings} phrasings of “{result.prompt} →"
        f" {result.answer}”"
    )
    note = f"P(answer) {result.suppress.before:.2f}; controls with 95 % intervals"
    return styled(figure, title, note, height=380).update_layout(
        legend={"orientation": "h", "y": -0.1}
    )


def card_figure(card: NeuronCard) -> go.Figure:
    """The tokens that a neuron's value promotes and suppresses most."""
    scores = {
        token.strip() or repr(token): score
        for token, score in (*card.promotes, *reversed(card.suppresses))
    }
    note = f"fires at {card.fires}; key · value cosine {card.cosine:+.2f}"
    return _bars(
        scores,
        f"What neuron {card.name} writes",
        note,
        "added to a token's score, times the activation",
    )


def _bars(scores: dict[str, float], title: str, note: str, axis: str) -> go.Figure:
    bars = go.Bar(
        x=list(scores.values()),
        y=list(scores),
        orientation="h",
        marker_color=[BLUE if score > 0 else ORANGE for score in scores.values()],
        hovertemplate="%{y}: %{x:.4f}<extra></extra>",
    )
    figure = go.Figure(bars)
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title=axis, gridcolor=GREY)
    return styled(figure, title, note, height=130 + 24 * len(scores))
