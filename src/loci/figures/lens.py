"""A lens: how likely the answer is after each layer, and which layers put it there."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled
from loci.locating import Lens
from loci.locating.lens_results import Rung

WORDS, LETTERS = 18, 9
"""So many words fit side by side, each of so many letters."""


def lens_figure(lens: Lens) -> go.Figure:
    """Above, the model's first word after each layer and the answer's probability; below, what
    attention and MLPs add to its score.
    """
    layers = [rung.layer for rung in lens.layers]
    against = f" − “{lens.against}”" if lens.against else ""
    figure = make_subplots(
        rows=2,
        shared_xaxes=True,
        vertical_spacing=0.08,
        row_heights=[0.45, 0.55],
        subplot_titles=["", ""],
    )
    line = go.Scatter(
        x=layers,
        y=[rung.prob for rung in lens.layers],
        mode="lines+markers+text",
        line={"color": INK, "width": 2},
        text=_words(lens),
        customdata=[_word(rung) for rung in lens.layers],
        textposition="top center",
        textfont={"size": 11, "color": MUTED},
        cliponaxis=False,
        showlegend=False,
        hovertemplate="after layer %{x}: P = %{y:.3f}, first word %{customdata}<extra></extra>",
    )
    figure.add_trace(line, row=1, col=1)
    for kind, name, ink in (("attn", "attention", ORANGE), ("mlp", "MLP", BLUE)):
        bars = go.Bar(
            x=layers,
            y=[getattr(rung, kind) for rung in lens.layers],
            name=name,
            marker_color=ink,
            hovertemplate=f"{name} of layer %{{x}}: %{{y:+.2f}}<extra></extra>",
        )
        figure.add_trace(bars, row=2, col=1)
    figure.update_yaxes(
        title="P(answer)", range=[0, 1.18], tickvals=[0, 0.5, 1], gridcolor=GREY, row=1, col=1
    )
    figure.update_yaxes(
        title="added to the score", gridcolor=GREY, zeroline=True, zerolinecolor=GREY, row=2, col=1
    )
    figure.update_xaxes(title="layer", dtick=max(1, len(layers) // 12), row=2, col=1)
    title = f"“{lens.prompt} → {lens.answer}”{against}: layer by layer"
    note = (
        f"score {lens.score:.2f} = embedding {lens.embedding:+.2f}, biases {lens.constant:+.2f},"
        " and the bars; words: what the model would say if it stopped there"
    )
    return styled(figure, title, note, height=460).update_layout(
        legend={"orientation": "h", "y": -0.16}
    )


def _word(rung: Rung) -> str:
    """The likeliest word after a layer."""
    return rung.top[0].token.strip() or repr(rung.top[0].token)


def _words(lens: Lens) -> list[str]:
    """The word at each layer where it differs from the one before; none where there is no room for
    it.
    """
    said, apart = [_word(rung) for rung in lens.layers], len(lens.layers) / WORDS
    shown, last = [""] * len(said), -apart
    for i, word in enumerate(said):
        if (i == 0 or word != said[i - 1]) and i - last >= apart:
            shown[i], last = word if len(word) <= LETTERS else f"{word[: LETTERS - 1]}…", i
    return shown
