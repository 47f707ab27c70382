"""Small models: bigrams, skip-trigrams and their bug, the corner of induction, and what changes
over training.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, DIVERGING, GREY, INK, MUTED, ORANGE, intervals, styled
from loci.stats import Estimate
from loci.studies.attention_only import (
    BigramTable,
    SkipTrigramBug,
    SkipTrigrams,
    SmallModel,
    TrainingHistory,
)
from loci.studies.attention_only.measures import TrainingCheckpoint
from loci.studies.attention_only.skip_trigrams import SkipHead
from loci.studies.attention_only.synthetic_text import NOUNS, VERBS

INKS = (ORANGE, BLUE, INK, MUTED)
MAPS = 6
"""Heads whose maps are drawn, at most."""
DASHES = ("solid", "dot", "dash", "dashdot")


def bigrams_figure(result: BigramTable) -> go.Figure:
    """Two tables side by side; the root of P, so that small ones show."""
    titles = ("of the text, exact", "of the model")
    figure = make_subplots(
        rows=1, cols=2, subplot_titles=titles, shared_yaxes=True, horizontal_spacing=0.03
    )
    words = list(result.words)
    for col, table in enumerate((result.text, result.table), start=1):
        heat = go.Heatmap(
            x=words,
            y=words,
            z=table.sqrt().tolist(),
            customdata=table.tolist(),
            zmin=0,
            zmax=1,
            colorscale=[[0, "#ffffff"], [1, BLUE]],
            showscale=False,
            hovertemplate="%{y} → %{x}: %{customdata:.3f}<extra></extra>",
        )
        figure.add_trace(heat, row=1, col=col)
    figure.update_yaxes(autorange="reversed", tickfont={"size": 8}, dtick=1)
    figure.update_xaxes(tickfont={"size": 8}, dtick=1, tickangle=90)
    figure.update_yaxes(title="word", col=1)
    figure.update_annotations(font_size=13)
    layers = "no layers" if not result.layers else f"{result.layers} layers, asked for one word"
    note = (
        f"shade: √P(next | word); loss {result.loss:.4f} nats on the text's pairs, of which"
        f" {result.entropy:.4f} no table can do without"
    )
    return styled(figure, f"Bigrams: a model of {layers}", note, height=620).update_layout(
        margin={"t": 100}
    )


def bug_figure(result: SkipTrigramBug) -> go.Figure:
    """Above, what each head moves from verbs to nouns; below, what the models then say."""
    heads = [(model, head) for model in result.models for head in model.heads][:MAPS]
    titles = [f"{_heads(model)}: head {head.head}<br>{_looks(head)}" for model, head in heads]
    figure = make_subplots(
        rows=2,
        cols=len(heads),
        specs=[[{}] * len(heads), [{"colspan": len(heads)}, *([None] * (len(heads) - 1))]],
        subplot_titles=[*titles, "P of the noun, where a frame's noun comes"],
        horizontal_spacing=0.02,
        vertical_spacing=0.24,
        row_heights=[0.5, 0.5],
    )
    limit = max(float(head.moves.abs().max()) for _, head in heads)
    for col, (_, head) in enumerate(heads, start=1):
        heat = go.Heatmap(
            x=list(NOUNS),
            y=list(VERBS),
            z=head.moves.tolist(),
            zmin=-limit,
            zmax=limit,
            colorscale=DIVERGING,
        )
        heat.update(
            colorbar={"title": "logit", "thickness": 10, "len": 0.45, "y": 0.8}, showscale=col == 1
        )
        figure.add_trace(
            heat.update(hovertemplate="%{y} … → %{x}: %{z:+.2f}<extra></extra>"), row=1, col=col
        )
        figure.update_yaxes(
            autorange="reversed",
            showticklabels=col == 1,
            dtick=1,
            tickfont={"size": 9},
            row=1,
            col=col,
        )
        figure.update_xaxes(dtick=1, tickangle=90, tickfont={"size": 9}, row=1, col=col)
    for kind, ink in (("right", BLUE), ("crossed", ORANGE), ("other", GREY)):
        figure.add_trace(_bars(result, kind, ink), row=2, col=1)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], gridcolor=GREY, row=2, col=1)
    figure.update_annotations(font_size=11)
    figure.update_layout(legend={"orientation": "h", "y": -0.08})
    note = (
        "right: keep … in → mind; crossed: keep … in → bay, which is what follows keep … at; other:"
        " mean of the ten other nouns; 95 % intervals"
    )
    layers = result.models[0].layers
    title = f"Skip-trigrams and their bug, {layers} layer{'s' * (layers > 1)}"
    return styled(figure, title, note, height=640).update_layout(margin={"t": 120}, width=1100)


def skips_figure(result: SkipTrigrams) -> go.Figure:
    """Those of one model."""
    return bug_figure(SkipTrigramBug((result,)))


def _heads(model: SkipTrigrams) -> str:
    return f"{len(model.heads)} head{'s' * (len(model.heads) != 1)}"


def _looks(head: SkipHead) -> str:
    looks = ", ".join(
        f"{share:.2f} from {preposition}" for preposition, share in head.looks.items()
    )
    return f"looks {looks}<br>copies {head.copying.value:+.2f}"


def _bars(result: SkipTrigramBug, kind: str, ink: str) -> go.Bar:
    places = [(model, preposition) for model in result.models for preposition in model.chances]
    row = [model.chances[preposition][kind] for model, preposition in places]
    names = [f"{_heads(model)}: verb … {preposition}" for model, preposition in places]
    bars = go.Bar(
        x=names, y=[e.value for e in row], name=kind, marker_color=ink, error_y=intervals(row)
    )
    return bars.update(hovertemplate=f"{kind}, %{{x}}: %{{y:.1%}}<extra></extra>")


def history_figure(result: TrainingHistory) -> go.Figure:
    """Loss, in-context learning and prefix matching over training, a colour a model."""
    titles = ("loss, nats", "in-context learning: late − early loss", "prefix matching, best head")
    figure = make_subplots(rows=1, cols=3, subplot_titles=titles, horizontal_spacing=0.07)
    for ink, dash, small in zip(INKS, DASHES, result.models, strict=False):
        name, line = _named(small, result.models), {"color": ink, "dash": dash, "width": 2}
        marks = small.checkpoints
        rows: tuple[Sequence[Estimate | float], ...] = (
            [c.loss for c in marks],
            [c.in_context for c in marks],
            [c.best_induction for c in marks],
        )
        for col, row in enumerate(rows, start=1):
            figure.add_trace(_over(marks, row, name, line, col == 1), row=1, col=col)
    figure.update_xaxes(title="steps")
    figure.update_yaxes(gridcolor=GREY).update_yaxes(range=[0, 1.02], col=3)
    figure.update_annotations(font_size=13)
    note = (
        f"text: {', '.join(sorted({small.text for small in result.models}))}; 95 % intervals over"
        " held-out windows"
    )
    styled(figure, "What changes as small models learn", note, height=420)
    return figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": -0.22})


def small_figure(result: SmallModel) -> go.Figure:
    """The history of one."""
    return history_figure(TrainingHistory((result,)))


def _over(
    marks: Sequence[TrainingCheckpoint],
    row: Sequence[Estimate | float],
    name: str,
    line: dict[str, object],
    legend: bool,
) -> go.Scatter:
    estimates = [value for value in row if isinstance(value, Estimate)]
    return go.Scatter(
        x=[c.step for c in marks],
        y=[value.value if isinstance(value, Estimate) else value for value in row],
        error_y={**intervals(estimates), "color": GREY} if estimates else None,
        mode="lines+markers",
        marker={"size": 4},
        name=name,
        line=line,
        showlegend=legend,
        hovertemplate=f"{name}, step %{{x}}: %{{y:.3f}}<extra></extra>",
    )


def _named(small: SmallModel, among: Sequence[SmallModel]) -> str:
    """A model's name by the settings in which the models beside it differ."""
    recipe = small.recipe
    parts = [f"{recipe.layers} layer{'s' * (recipe.layers != 1)}"]
    if len({m.recipe.d_head for m in among}) > 1:
        parts.append(f"heads of {recipe.d_head}")
    if recipe.mlp:
        parts.append(f"MLP of {recipe.mlp}")
    if len({m.recipe.optimizer for m in among}) > 1:
        parts.append(recipe.optimizer)
    return ", ".join(parts)
