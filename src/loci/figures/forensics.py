"""Forensics: the spectrum of each change over the floor of rounding, and the candidates' scores;
one checkpoint's layers beside each other.
"""

import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from loci.auditing.forensics import Forensics, SingleCheckpoint, WeightChange
from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled

SHOWN = 6
INKS = [[0.0, "#1d4791"], [0.5, "#8fb0e2"], [1.0, "#d1662b"]]


def forensics_figure(result: Forensics) -> go.Figure:
    """Singular values by weight (the largest changes), and scores of all candidates, sorted, with
    the threshold.
    """
    figure = make_subplots(
        cols=2, subplot_titles=("spectrum of the change", "candidates"), horizontal_spacing=0.12
    )
    changes = sorted(
        (c for c in result.weights if not c.rounding and len(c.shape) > 1),
        key=lambda c: -c.relative,
    )[:SHOWN]
    inks = sample_colorscale(INKS, [i / max(1, len(changes) - 1) for i in range(len(changes))])
    for change, ink in zip(changes, inks, strict=True):
        _spectrum(figure, change, ink)
    _scores(figure, result)
    figure.update_yaxes(
        type="log", dtick=1, title="singular value", gridcolor=GREY, exponentformat="power", col=1
    )
    figure.update_xaxes(title="direction", col=1)
    figure.update_yaxes(title="score", gridcolor=GREY, col=2)
    figure.update_xaxes(title="candidate, by score", col=2)
    figure.update_annotations(font_size=13)
    title = f"What happened between {result.base} and {result.edited}?"
    return styled(figure, title, _wrapped(result.verdict), height=470).update_layout(
        margin={"t": 120}, legend={"orientation": "h", "y": -0.18, "font": {"size": 11}}
    )


def _spectrum(figure: go.Figure, change: WeightChange, ink: str) -> None:
    values = change.values[change.values > change.values[0] * 1e-9].tolist()
    line = go.Scatter(
        x=list(range(1, len(values) + 1)),
        y=values,
        mode="lines",
        name=f"{change.name}, rank {change.rank}",
        line={"color": ink},
    )
    figure.add_trace(line, row=1, col=1)
    if change.floor > 0:
        floor = go.Scatter(
            x=[1, len(change.values)],
            y=[change.floor] * 2,
            mode="lines",
            line={"color": ink, "dash": "dot", "width": 1},
            showlegend=False,
            hovertemplate="floor of rounding: %{y:.2g}<extra></extra>",
        )
        figure.add_trace(floor, row=1, col=1)


def _scores(figure: go.Figure, result: Forensics) -> None:
    if not result.searched:
        return
    ranked = sorted(result.subjects, key=lambda subject: -subject.score)
    for edited, name, ink in ((True, "found", ORANGE), (False, "others", MUTED)):
        chosen = [
            (i, subject) for i, subject in enumerate(ranked, start=1) if subject.edited == edited
        ]
        dots = go.Scatter(
            x=[i for i, _ in chosen],
            y=[subject.score for _, subject in chosen],
            text=[subject.subject for _, subject in chosen],
            mode="markers",
            name=f"{name} ({len(chosen)})",
            marker={"color": ink, "size": 5},
            hovertemplate="%{text}: %{y:.1f}<extra></extra>",
        )
        figure.add_trace(dots, row=1, col=2)
    figure.add_hline(
        y=result.threshold, line={"color": INK, "dash": "dot", "width": 1}, row=1, col=2
    )


def alone_figure(result: SingleCheckpoint) -> go.Figure:
    """Each measure of each weight over the layers, with those that stand out."""
    measures = list(dict.fromkeys(sorted(weight.measure for weight in result.weights)))
    stems = sorted({weight.name.partition(".")[0] for weight in result.weights})
    figure = make_subplots(cols=len(measures), subplot_titles=measures, horizontal_spacing=0.08)
    for column, measure in enumerate(measures, start=1):
        for stem, ink in zip(stems, (BLUE, GREY, MUTED), strict=False):
            row = sorted(
                (
                    w
                    for w in result.weights
                    if w.measure == measure and w.name.startswith(f"{stem}.")
                ),
                key=lambda w: w.layer,
            )
            line = go.Scatter(
                x=[weight.layer for weight in row],
                y=[weight.value for weight in row],
                mode="lines+markers",
                name=stem,
                legendgroup=stem,
                showlegend=column == 1,
                line={"color": ink},
                marker={
                    "color": [ORANGE if weight.z >= result.threshold else ink for weight in row],
                    "size": 8,
                },
                text=[f"{weight.name}: z {weight.z:.1f}" for weight in row],
                hovertemplate="%{text}<extra></extra>",
            )
            figure.add_trace(line, row=1, col=column)
    figure.update_yaxes(gridcolor=GREY)
    figure.update_yaxes(title="log", col=1)
    figure.update_xaxes(title="layer")
    figure.update_annotations(font_size=13)
    return styled(
        figure, f"{result.model}, without its base", _wrapped(result.verdict), height=420
    ).update_layout(margin={"t": 120}, legend={"orientation": "h", "y": -0.2})


def _wrapped(text: str, width: int = 130) -> str:
    """Lines that a title can hold."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines[:3])
