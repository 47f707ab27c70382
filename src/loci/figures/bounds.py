"""How many directions fit: what exists, what is impossible, what nobody knows; and the rules of
thumb that are false.
"""

import plotly.graph_objects as go

from loci.figures.theme import BLUE, GREY, INK, MUTED, ORANGE, styled
from loci.studies.superposition import BestAngles, Bounds, BoundsTable, VerifiedCode

INKS = {"true": BLUE, "open": MUTED, "false": ORANGE}
NAMES = {
    "drawn_lines": "a random draw, none removed",
    "gilbert_varshamov_lines": "exists: Gilbert–Varshamov",
    "explicit_lines": "exists: explicit code",
    "levenshtein_lines": "impossible above: Levenshtein",
    "welch_lines": "impossible above: Welch",
}


def bounds_figure(result: Bounds) -> go.Figure:
    """One dimension, one angle: all values on one axis, those of rules of thumb coloured by what is
    proved of them.
    """
    rows = [
        (name, getattr(result, field), BLUE if "Lev" not in name and "Welch" not in name else INK)
        for field, name in NAMES.items()
    ]
    rows += [
        (f"rule: {rule.name}, {rule.verdict}", rule.log10, INKS[rule.verdict])
        for rule in result.rules
    ]
    names, values, inks = zip(*rows, strict=True)
    figure = go.Figure(
        go.Bar(
            x=values,
            y=names,
            orientation="h",
            marker={"color": inks},
            texttemplate="%{x:.4g}",
            textposition="outside",
            cliponaxis=False,
        )
    )
    figure.add_vrect(
        x0=result.proved_lines,
        x1=result.levenshtein_lines,
        fillcolor=GREY,
        opacity=0.35,
        line_width=0,
        layer="below",
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(
        title="log₁₀ of the number of lines", gridcolor=GREY, range=[0, 1.1 * max(values)]
    )
    title = f"Lines of R^{result.dim:,} that are pairwise at least {result.angle:g}° apart"
    note = (
        "grey band: between what exists and what is impossible; orange: rules of thumb above a"
        " proved bound"
    )
    return styled(figure, title, note, height=160 + 34 * len(rows))


def bounds_table_figure(result: BoundsTable) -> go.Figure:
    """The same over angles: the region that exists, the one that is impossible, and the rule of
    thumb that crosses.
    """
    angles = [f"{row.angle:g}°" for row in result.rows]
    figure = go.Figure()
    lines = {
        NAMES[field]: [getattr(row, field) for row in result.rows]
        for field in NAMES
        if field != "welch_lines"
    }
    lines["rule of thumb 10^(d F²/1500), F = 90° − θ: false where above the black line"] = [
        row.rules[-1].log10 for row in result.rows
    ]
    for (name, values), (ink, dash) in zip(
        lines.items(),
        ((MUTED, "dot"), (BLUE, "solid"), (BLUE, "dash"), (INK, "solid"), (ORANGE, "dash")),
        strict=True,
    ):
        figure.add_trace(
            go.Scatter(
                x=angles,
                y=values,
                name=name,
                mode="lines+markers",
                line={"color": ink, "dash": dash, "width": 2},
            )
        )
    figure.update_yaxes(title="log₁₀ of the number of lines", type="log", dtick=1, gridcolor=GREY)
    figure.update_xaxes(title="pairwise at least so far apart", type="category")
    note = "nothing above the black line can exist, whatever the method; the blue ones do exist"
    styled(figure, f"How many lines fit into {result.dim:,} dimensions?", note, height=480)
    return figure.update_layout(legend={"orientation": "h", "y": -0.2})


def reach_figure(result: BestAngles) -> go.Figure:
    """How far apart so many can be, as lines and one-sided."""
    figure = go.Figure()
    sides = {"lines": result.lines, "one-sided": result.one_sided}
    for name, ink in (("drawn", MUTED), ("possible", BLUE), ("limit", INK)):
        values = [getattr(side, name) for side in sides.values()]
        label = {
            "drawn": "a random draw (median)",
            "possible": "known to be possible",
            "limit": "limit (Levenshtein)",
        }[name]
        figure.add_trace(
            go.Scatter(
                x=values,
                y=list(sides),
                name=label,
                mode="markers+text",
                marker={"color": ink, "size": 13},
                text=[f"{v:.2f}°" for v in values],
                textposition="top center",
            )
        )
    figure.update_yaxes(range=[-0.5, 1.6])
    figure.update_xaxes(
        title="degrees between the nearest two",
        gridcolor=GREY,
        range=[min(result.lines.drawn, 85) - 5, 92],
    )
    title = f"How far apart can 10^{result.log10_count:.3g} directions of R^{result.dim:,} be?"
    note = f"possible by: {result.lines.by} (lines), {result.one_sided.by} (one-sided)"
    styled(figure, title, note, height=320)
    return figure.update_layout(legend={"orientation": "h", "y": -0.35})


def built_figure(result: VerifiedCode) -> go.Figure:
    """A code's blocks: lines that it has, and the largest cosine that was promised and found."""
    names = [f"{one.kind}, {one.dim:,} dimensions" for one in result.verified]
    figure = go.Figure()
    for name, field, ink in (("promised", "promised", GREY), ("found", "found", BLUE)):
        values = [getattr(one, field) for one in result.verified]
        figure.add_trace(
            go.Bar(x=names, y=values, name=name, marker={"color": ink}, texttemplate="%{y:.4g}")
        )
    figure.update_yaxes(title="largest |cosine|", gridcolor=GREY, rangemode="tozero")
    how = "; ".join(
        f"{one.dim:,}: {'all pairs' if one.complete else f'{one.looked_at:,} sampled'}"
        for one in result.verified
    )
    title = (
        f"{result.codes.count:,} lines of R^{result.codes.dim:,}, at least"
        f" {result.codes.angle:.3f}°"
        " apart"
    )
    return styled(figure, title, f"verified by Walsh transforms — {how}", height=400)
