"""A scorecard as dots with intervals: what should be high, and how sure we are."""

import plotly.graph_objects as go

from loci.auditing import Recall, Scorecard
from loci.figures.theme import BLUE, GREY, MUTED, intervals, styled
from loci.stats import Estimate

LABELS = {
    "efficacy": "efficacy",
    "paraphrase": "paraphrase",
    "paraphrase_untrained": "paraphrase, unseen phrasing",
    "specificity": "specificity: neighbours unchanged",
    "same_subject": "same subject: other facts unchanged",
}


def scorecard_figure(card: Scorecard) -> go.Figure:
    """The shares of an audit with their 95 % intervals; the drift is in the title."""
    drift = card.metrics["drift_kl"]
    title = f"Audit of {card.edits} {card.method.upper()} edit{'s' * (card.edits != 1)}"
    note = f"share of greedy full answers, with 95 % intervals; drift on control sentences {drift.value:.2g} nats"
    return _dots({LABELS[name]: card.metrics[name] for name in LABELS if card.metrics[name].n}, title, note)


def recall_figure(recall: Recall) -> go.Figure:
    """Recall in all, and relation by relation."""
    rows = {"trained phrasings": recall.trained, "held-out phrasings": recall.held_out, **recall.by_relation}
    return _dots(
        {name: estimate for name, estimate in rows.items() if estimate.n},
        f"Recall of {recall.facts:,} facts",
        "share of greedy full answers, with 95 % intervals",
    )


def _dots(rows: dict[str, Estimate], title: str, note: str) -> go.Figure:
    dots = go.Scatter(
        x=[e.value for e in rows.values()],
        y=list(rows),
        mode="markers+text",
        marker={"size": 11, "color": BLUE},
        error_x=intervals(list(rows.values())) | {"color": MUTED, "thickness": 2},
        text=[f"{e.value:.1%}  (n = {e.n})" for e in rows.values()],
        textposition="top left",
        textfont={"size": 11, "color": MUTED},
        hovertemplate="%{y}: %{x:.3f}<extra></extra>",
    )
    figure = go.Figure(dots)
    figure.update_xaxes(range=[-0.04, 1.09], tickformat=".0%", gridcolor=GREY)
    figure.update_yaxes(autorange="reversed")
    return styled(figure, title, note, height=130 + 52 * len(rows))
