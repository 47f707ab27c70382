"""A scorecard as dots with intervals, its controls beside it: what should be high, and how sure we
are.
"""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.auditing import Discovery, Recall, Scorecard
from loci.auditing.metrics import METRICS, label, told
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, PAPER, intervals, styled
from loci.stats import Estimate, share

MARKS = {
    "no edit": ("x-thin-open", MUTED),
    "random layer": ("diamond-open", ORANGE),
    "fine-tuning": ("square-open", ORANGE),
    "knowledge neurons": ("pentagon-open", ORANGE),
    "linear relations": ("hexagon-open", ORANGE),
    "in-context": ("triangle-up-open", INK),
    "retrieval": ("star-open", INK),
}
OTHER_MARK = ("triangle-down-open", INK)
ROW, LANE = 46, 9
"""Pixels of a row, and what each control's own lane below the edit adds to it."""
FAIR, POOR = 0.95, 0.8
FAIR_INK, POOR_INK = "#b3862f", "#b3261e"
"""Shares below these are drawn so: all of them should be high."""


def scorecard_figure(card: Scorecard, *, table: bool = True) -> go.Figure:
    """The shares of an audit with their 95 % intervals, the controls' as open marks in lanes below,
    and a table of what is no share.

    A page has a table of its own, and leaves this one out.
    """
    names = [
        name for name in METRICS if drawn(name) and name in card.metrics and card.metrics[name].n
    ]
    others = [name for name, metric in METRICS.items() if not metric.is_share]
    shown = [name for name in others if name in card.metrics] if table else []
    row = ROW + LANE * len(card.controls)
    dots, below = 60 + row * len(names), 60 + 28 * (1 + len(shown)) if shown else 0
    figure = make_subplots(
        rows=1 + bool(shown),
        row_heights=[dots, *([below] if shown else [])],
        vertical_spacing=0.1 * 500 / (dots + below),
        specs=[[{"type": "xy"}], [{"type": "table"}]][: 1 + bool(shown)],
    )
    rows = {label(name): card.metrics[name] for name in names}
    lanes = [(ROW / 2 - 12 + LANE * k) / row for k in range(len(card.controls))]
    figure.add_trace(_dots(rows, graded=True), row=1, col=1)
    for lane, (control, metrics) in zip(lanes, card.controls.items(), strict=True):
        figure.add_trace(
            _marks(control, list(rows), [metrics.get(name) for name in names], lane), row=1, col=1
        )
    if shown:
        figure.add_trace(_table(card, shown), row=2, col=1)
    _axes(figure, list(rows))
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        showlegend=bool(card.controls),
    )
    title = f"Audit of {card.edits} {card.method.upper()} edit{'s' * (card.edits != 1)}"
    note = (
        "share of greedy full answers, with 95 %"
        f" intervals{'; open marks: controls' * bool(card.controls)}"
    )
    return styled(figure, title, note, height=190 + dots + below).update_layout(margin={"t": 110})


def drawn(name: str) -> bool:
    """Whether a metric is a share by free generation, which are those that the figure shows."""
    return METRICS[name].is_share and not name.endswith("_likelier")


def _marks(
    control: str, rows: Sequence[str], values: Sequence[Estimate | None], lane: float
) -> go.Scatter:
    """A control's shares, so far below the edit's that neither covers the other."""
    symbol, ink = MARKS.get(control, OTHER_MARK)
    return go.Scatter(
        x=[value.value if value else None for value in values],
        y=[i + lane for i in range(len(rows))],
        customdata=list(rows),
        mode="markers",
        name=control,
        marker={"size": 9, "symbol": symbol, "color": ink, "line": {"width": 2, "color": ink}},
        hovertemplate=f"{control}, %{{customdata}}: %{{x:.3f}}<extra></extra>",
    )


def _table(card: Scorecard, names: Sequence[str]) -> go.Table:
    """Drift, perplexity and fluency: the edit with its interval, then each control."""
    columns = [
        [label(name) for name in names],
        [_with_interval(name, card.metrics[name]) for name in names],
    ]
    columns += [
        [told(name, metrics[name].value) for name in names] for metrics in card.controls.values()
    ]
    look = {"align": "left", "line_color": GREY, "fill_color": PAPER, "height": 26}
    return go.Table(
        columnwidth=[3, 3, *([1.5] * len(card.controls))],
        header={"values": ["", "the edit", *card.controls], "font": {"color": MUTED}, **look},
        cells={"values": columns, "font": {"color": INK}, **look},
    )


def _with_interval(name: str, estimate: Estimate) -> str:
    value, low, high = (told(name, bound) for bound in estimate[:3])
    return value if low == high == "–" else f"{value}  [{low}, {high}]"


def recall_figure(recall: Recall) -> go.Figure:
    """Recall in all, and relation by relation."""
    rows = {
        "trained phrasings": recall.trained,
        "held-out phrasings": recall.held_out,
        **recall.by_relation,
    }
    rows |= {"new answer said": recall.new, "old answer said": recall.old}
    rows = {name: estimate for name, estimate in rows.items() if estimate.n}
    figure = go.Figure(_dots(rows))
    _axes(figure, list(rows))
    return styled(
        figure,
        f"Recall of {recall.facts:,} facts",
        "share of greedy full answers, with 95 % intervals",
        height=130 + 52 * len(rows),
    )


def discovery_figure(result: Discovery) -> go.Figure:
    """The share of known facts in all, and relation by relation."""
    shares = sorted(result.by_relation.items(), key=lambda item: -item[1].known / item[1].asked)
    counts = {
        "all facts": (result.asked, result.known),
        **{name or "(no relation)": tuple(own) for name, own in shares},
    }
    rows = {
        name: share([True] * known + [False] * (asked - known))
        for name, (asked, known) in counts.items()
    }
    figure = go.Figure(_dots(rows))
    _axes(figure, list(rows))
    around = (
        f", behind {result.shots} shots" * bool(result.shots)
        + ", in its chat template" * result.chat
    )
    return styled(
        figure,
        f"{result.model} knows {result.known:,} of {result.asked:,} facts{around}",
        "share of facts whose answer a greedy continuation begins with, with 95 % intervals",
        height=130 + 24 * len(rows),
    )


def _dots(rows: Mapping[str, Estimate], *, graded: bool = False) -> go.Scatter:
    def ink(value: float) -> str:
        return BLUE if not graded or value >= FAIR else FAIR_INK if value >= POOR else POOR_INK

    return go.Scatter(
        x=[e.value for e in rows.values()],
        y=list(range(len(rows))),
        customdata=list(rows),
        mode="markers+text",
        name="the edit",
        marker={"size": 11, "color": [ink(e.value) for e in rows.values()]},
        error_x=intervals(list(rows.values())) | {"color": MUTED, "thickness": 2},
        text=[f"{e.value:.1%}  (n = {e.n})" for e in rows.values()],
        textposition="top left",
        textfont={"size": 11, "color": MUTED},
        hovertemplate="%{customdata}: %{x:.3f}<extra></extra>",
    )


def _axes(figure: go.Figure, rows: Sequence[str]) -> None:
    figure.update_xaxes(range=[-0.04, 1.09], tickformat=".0%", gridcolor=GREY)
    folded = [row.replace(": ", ":<br>") for row in rows]
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=folded, range=[len(rows) - 0.35, -0.65]
    )
