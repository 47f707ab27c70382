"""Pictures of facts written: the gate step by step, stores side by side, bits per parameter over
facts.
"""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.auditing import GroundTruth
from loci.figures.theme import BLUE, GREY, MUTED, ORANGE, intervals, styled
from loci.writing import Capacity, CapacityCurve, Fullness, Gate, StoredTables

FAMILIES = {"-relu": BLUE, "-gated": ORANGE, "-gelu": "#8a5fb3"}
"""The compiler's kinds of MLP, which gradient descent has too."""
CLOSED = ("#3f8f5f", "#b3952f", MUTED, GREY)
BASELINE = "dot"


GATE_BARS = (("row · E + bias", GREY), ("neuron", BLUE), ("written along “basketball”", ORANGE))
MANY_BARS = (("many: recall", BLUE), ("many: largest leak", ORANGE))


def gate_figure(gate: Gate) -> go.Figure:
    """A panel a step: what the neuron takes and gives for each name; then recall and leaks of many
    gates.
    """
    titles = [f"{step.title}, bias {step.bias:+.2f}" for step in gate.steps]
    titles.append(f"{gate.many[0].facts} facts, one neuron each, by dimensions and bias")
    rows = -(-len(titles) // 2)
    last = [{"colspan": 2}, None] if len(titles) % 2 else [{}, {}]
    figure = make_subplots(
        rows=rows,
        cols=2,
        specs=[*([[{}, {}]] * (rows - 1)), last],
        subplot_titles=titles,
        horizontal_spacing=0.06,
        vertical_spacing=0.13,
    )
    for index, step in enumerate(gate.steps):
        row, col = divmod(index, 2)
        names = [case.name.replace(" ", "<br>") for case in step.cases]
        values = zip(
            *((case.pre, case.neuron, case.writes["basketball"]) for case in step.cases),
            strict=True,
        )
        for (label, ink), bars in zip(GATE_BARS, values, strict=True):
            figure.add_bar(
                x=names,
                y=bars,
                name=label,
                marker_color=ink,
                showlegend=index == 0,
                row=row + 1,
                col=col + 1,
            )
        figure.update_yaxes(
            range=[-1.4, 1.6], zeroline=True, zerolinecolor=GREY, dtick=1, row=row + 1, col=col + 1
        )
    _many_gates(figure, gate, rows)
    figure.update_yaxes(range=[0, 1.25], dtick=0.5, row=rows, col=1)
    figure.update_xaxes(tickangle=0, tickfont={"size": 12})
    figure.update_annotations(font_size=13)
    figure.update_layout(
        barmode="group", legend={"orientation": "h", "y": -0.08, "yanchor": "top", "x": 0}
    )
    styled(
        figure,
        "A neuron that knows Michael Jordan",
        "row M + J, ReLU; an existence proof, not how real models do it",
        height=260 * rows,
    )
    return figure.update_layout(margin={"t": 90})


def _many_gates(figure: go.Figure, gate: Gate, row: int) -> None:
    """Below: recall and leaks of many gates."""
    names = [f"d = {many.dim}<br>bias {many.bias:+.2f}" for many in gate.many]
    both = ([many.recall.value for many in gate.many], [many.leaks for many in gate.many])
    for (label, ink), heights in zip(MANY_BARS, both, strict=True):
        figure.add_bar(
            x=names,
            y=heights,
            name=label,
            marker_color=ink,
            marker_pattern_shape="/",
            text=[f"{value:.2f}" for value in heights],
            textposition="outside",
            textangle=0,
            row=row,
            col=1,
        )


def stores_figure(result: StoredTables) -> go.Figure:
    """Recall of each method, at the keys and at keys with noise."""
    names = [store.method for store in result.stores]
    figure = go.Figure(
        go.Bar(
            x=names, y=[store.recall for store in result.stores], name="the keys", marker_color=BLUE
        )
    )
    for size, ink in zip(result.stores[0].noise, (ORANGE, "#e8a97f", GREY), strict=False):
        figure.add_bar(
            x=names,
            y=[store.noise[size].value for store in result.stores],
            name=f"noise {size:g}",
            marker_color=ink,
        )
    figure.update_yaxes(range=[0, 1.02], title="recall", gridcolor=GREY)
    figure.update_layout(
        barmode="group",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return styled(
        figure,
        f"{result.stores[0].facts:,} facts in {result.neurons} neurons",
        result.best.words,
        height=420,
    )


def capacity_figure(result: Capacity) -> go.Figure:
    """Bits per parameter of each method, and the neurons it needs."""
    rows = [row for row in result.rows if row.recall == 1]
    figure = go.Figure(
        go.Bar(
            x=[row.bits_per_parameter for row in rows],
            y=[row.method for row in rows],
            orientation="h",
            marker_color=[_ink(row.method) for row in rows],
            text=[
                f"{row.bits_per_parameter:.2f} · {row.neurons:,} neurons · {row.seconds:.1f} s"
                for row in rows
            ],
            textposition="outside",
            cliponaxis=False,
        )
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(
        title="bits per parameter, all facts recalled",
        range=[0, 1.45 * max([1, *(r.bits_per_parameter for r in rows)])],
    )
    return styled(
        figure,
        f"{result.facts:,} facts in {result.dim} dimensions",
        _unmet(result),
        height=160 + 40 * len(rows),
    )


def curve_figure(curve: CapacityCurve) -> go.Figure:
    """Bits per parameter over the number of facts, a line a method; gradient descent dotted."""
    figure = go.Figure()
    dims = sorted({case.dim for case in curve.cases})
    for dim in dims:
        cases = [case for case in curve.cases if case.dim == dim]
        methods = [row.method for row in cases[0].rows]
        for method in methods:
            points = [(case.facts, case.of(method)) for case in cases]
            kept = [(facts, row) for facts, row in points if row.recall == 1]
            figure.add_scatter(
                x=[facts for facts, _ in kept],
                y=[row.bits_per_parameter for _, row in kept],
                name=method if len(dims) == 1 else f"{method}, d = {dim}",
                mode="lines+markers",
                line={
                    "color": _line_ink(method, methods),
                    "dash": BASELINE if method.startswith("adam") else "solid",
                },
                marker={"symbol": dims.index(dim)},
                customdata=[row.neurons for _, row in kept],
                hovertemplate="%{x} facts, %{customdata} neurons: %{y:.3f}<extra></extra>",
            )
    figure.update_xaxes(
        type="log", title="facts", tickvals=sorted({case.facts for case in curve.cases})
    )
    figure.update_yaxes(
        title="bits per parameter, all facts recalled", rangemode="tozero", gridcolor=GREY
    )
    return styled(
        figure,
        "How many facts fit",
        "random permutations on a sphere; dotted: gradient descent",
        height=480,
    )


def truth_figure(truth: GroundTruth) -> go.Figure:
    """A row a method: how often its layer and token are right, and its precision and recall of
    neurons.
    """
    figure = go.Figure()
    parts = (("layer", BLUE), ("token", "#8fb0e2"), ("precision", ORANGE), ("recall", "#eeb68f"))
    for part, ink in parts:
        kept = [(row.method, getattr(row, part)) for row in truth.rows if getattr(row, part).n]
        figure.add_bar(
            y=[method for method, _ in kept],
            x=[estimate.value for _, estimate in kept],
            error_x=intervals([estimate for _, estimate in kept]),
            name=part if part in ("layer", "token") else f"neurons: {part}",
            marker_color=ink,
            orientation="h",
        )
    figure.update_yaxes(
        autorange="reversed",
        categoryorder="array",
        categoryarray=[row.method for row in truth.rows],
    )
    figure.update_xaxes(range=[0, 1.02], title="right", tickformat=".0%", gridcolor=GREY)
    figure.update_layout(
        barmode="group",
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return styled(
        figure,
        f"Locating against the truth: {truth.model}, {truth.kind}",
        f"{truth.facts} facts whose places are known",
        height=620,
    )


def fullness_figure(result: Fullness) -> go.Figure:
    """Recall over the number of facts in the same neurons, and where the first are lost."""
    figure = go.Figure(
        go.Scatter(
            x=[rung.facts for rung in result.rungs],
            y=[rung.recall.value for rung in result.rungs],
            error_y=intervals([rung.recall for rung in result.rungs]),
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            customdata=[rung.per_neuron for rung in result.rungs],
            hovertemplate="%{x} facts, %{customdata:.1f} a neuron: %{y:.1%}<extra></extra>",
        )
    )
    if result.fits is not None:
        label = f"{result.fits.facts:,} facts: {result.fits.per_neuron:.0f} a neuron"
        figure.add_vline(
            x=result.fits.facts,
            line={"color": ORANGE, "dash": "dot"},
            annotation_text=label,
            annotation_position="bottom left",
        )
    lowest = min(rung.recall.low for rung in result.rungs)
    figure.update_xaxes(title=f"facts in {result.neurons} neurons", rangemode="tozero")
    figure.update_yaxes(
        title="recall", tickformat=".0%", range=[min(0.85, lowest) - 0.02, 1.01], gridcolor=GREY
    )
    note = (
        f"{result.model}, layer {result.layer}, {result.answers} answers; the trained model answers"
        f" {result.known_per_neuron:.2f} facts for each of its neurons"
    )
    return styled(figure, "How full is an MLP?", note, height=420)


def _line_ink(method: str, methods: list[str]) -> str:
    """One ink for the compiler and gradient descent on the same kind of MLP; others in turn."""
    if method.startswith(("compiled", "adam")):
        return next((ink for end, ink in FAMILIES.items() if method.endswith(end)), MUTED)
    closed = [name for name in methods if not name.startswith(("compiled", "adam"))]
    return CLOSED[closed.index(method) % len(CLOSED)]


def _ink(method: str) -> str:
    return BLUE if method.startswith("compiled") else ORANGE if method.startswith("adam") else GREY


def _unmet(result: Capacity) -> str:
    unmet = [
        f"{row.method} ({row.recall:.1%} with {row.neurons:,} neurons)"
        for row in result.rows
        if row.recall < 1
    ]
    return (
        f"not reached: {', '.join(unmet)}"
        if unmet
        else "blue: Loci's compiler, orange: gradient descent, grey: closed forms"
    )
