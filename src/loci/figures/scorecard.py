"""A scorecard as dots with intervals, its controls beside it: what should be high, and how sure we are."""

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.auditing import Recall, Scorecard
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, PAPER, intervals, styled
from loci.stats import Estimate

LABELS = {
    "efficacy": "efficacy",
    "paraphrase": "paraphrase",
    "paraphrase_untrained": "paraphrase, unseen phrasing",
    "alias": "subject under another name",
    "reverse": "the other way round",
    "logical": "what follows logically",
    "two_hop": "one step further",
    "specificity": "specificity: neighbours unchanged",
    "specificity_same_answer": "specificity: neighbours of the same answer",
    "same_subject": "same subject: other facts unchanged",
    "kept": "other true answers unchanged",
    "same_answer": "others of the new answer unchanged",
    "unrelated": "unrelated questions unchanged",
}
PLAIN = {
    "drift_kl": ("drift on text, nats", "{:.4f}"),
    "perplexity_ratio": ("perplexity ratio", "{:.4f}"),
    "fluency": ("fluency, bits", "{:.2f}"),
    "fluency_base": ("fluency of the base", "{:.2f}"),
}
"""Metrics that are no shares: how they are called, and how they read."""
MARKS = {
    "no edit": ("x-thin-open", MUTED),
    "random layer": ("diamond-open", ORANGE),
    "fine-tuning": ("square-open", ORANGE),
    "knowledge neurons": ("pentagon-open", ORANGE),
}
OTHER_MARK = ("triangle-up-open", INK)
ROW = 46


def reading(name: str, value: float) -> str:
    """A metric's value in words' company: a share in percent, the others as they are, nothing as a dash."""
    if math.isnan(value):
        return "–"
    return PLAIN[name][1].format(value) if name in PLAIN else f"{value:.1%}"


def scorecard_figure(card: Scorecard) -> go.Figure:
    """The shares of an audit with their 95 % intervals, the controls' as open marks, and a table of what is no share."""
    names = [name for name in LABELS if name in card.metrics and card.metrics[name].n]
    shown = [name for name in PLAIN if name in card.metrics]
    dots, table = 60 + ROW * len(names), 60 + 28 * (1 + len(shown))
    figure = make_subplots(
        rows=2,
        row_heights=[dots, table],
        vertical_spacing=0.1 * 500 / (dots + table),
        specs=[[{"type": "xy"}], [{"type": "table"}]],
    )
    rows = {LABELS[name]: card.metrics[name] for name in names}
    figure.add_trace(_dots(rows), row=1, col=1)
    for control, metrics in card.controls.items():
        figure.add_trace(_marks(control, rows, [metrics.get(name) for name in names]), row=1, col=1)
    figure.add_trace(_table(card, shown), row=2, col=1)
    _axes(figure)
    figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}, showlegend=bool(card.controls))
    title = f"Audit of {card.edits} {card.method.upper()} edit{'s' * (card.edits != 1)}"
    note = f"share of greedy full answers, with 95 % intervals{'; open marks: controls' * bool(card.controls)}"
    return styled(figure, title, note, height=190 + dots + table).update_layout(margin={"t": 110})


def _marks(control: str, rows: Mapping[str, Estimate], values: Sequence[Estimate | None]) -> go.Scatter:
    symbol, ink = MARKS.get(control, OTHER_MARK)
    return go.Scatter(
        x=[value.value if value else None for value in values],
        y=list(rows),
        mode="markers",
        name=control,
        marker={"size": 10, "symbol": symbol, "color": ink, "line": {"width": 2, "color": ink}},
        hovertemplate=f"{control}, %{{y}}: %{{x:.3f}}<extra></extra>",
    )


def _table(card: Scorecard, names: Sequence[str]) -> go.Table:
    """Drift, perplexity and fluency: the edit with its interval, then each control."""
    columns = [[PLAIN[name][0] for name in names], [_with_interval(name, card.metrics[name]) for name in names]]
    columns += [[reading(name, metrics[name].value) for name in names] for metrics in card.controls.values()]
    look = {"align": "left", "line_color": GREY, "fill_color": PAPER, "height": 26}
    return go.Table(
        columnwidth=[3, 3, *([1.5] * len(card.controls))],
        header={"values": ["", "the edit", *card.controls], "font": {"color": MUTED}, **look},
        cells={"values": columns, "font": {"color": INK}, **look},
    )


def _with_interval(name: str, estimate: Estimate) -> str:
    value, low, high = (reading(name, bound) for bound in estimate[:3])
    return value if low == high == "–" else f"{value}  [{low}, {high}]"


def recall_figure(recall: Recall) -> go.Figure:
    """Recall in all, and relation by relation."""
    rows = {"trained phrasings": recall.trained, "held-out phrasings": recall.held_out, **recall.by_relation}
    rows |= {"new answer said": recall.new, "old answer said": recall.old}
    rows = {name: estimate for name, estimate in rows.items() if estimate.n}
    figure = go.Figure(_dots(rows))
    _axes(figure)
    return styled(
        figure,
        f"Recall of {recall.facts:,} facts",
        "share of greedy full answers, with 95 % intervals",
        height=130 + 52 * len(rows),
    )


def _dots(rows: Mapping[str, Estimate]) -> go.Scatter:
    return go.Scatter(
        x=[e.value for e in rows.values()],
        y=list(rows),
        mode="markers+text",
        name="the edit",
        marker={"size": 11, "color": BLUE},
        error_x=intervals(list(rows.values())) | {"color": MUTED, "thickness": 2},
        text=[f"{e.value:.1%}  (n = {e.n})" for e in rows.values()],
        textposition="top left",
        textfont={"size": 11, "color": MUTED},
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )


def _axes(figure: go.Figure) -> None:
    figure.update_xaxes(range=[-0.04, 1.09], tickformat=".0%", gridcolor=GREY)
    figure.update_yaxes(autorange="reversed")
