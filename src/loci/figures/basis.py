"""How privileged each basis is, layer by layer, beside random rotations of the same vectors."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.theme import BLUE, GREY, MUTED, by_layer, styled
from loci.reading.privileged_basis import Bases, Basis


def basis_figure(result: Bases) -> go.Figure:
    """Median excess kurtosis of the coordinates with 95 % intervals: residual stream behind the
    embedding, and neurons.
    """
    panels = {
        "residual stream (first: rows of W_E)": (*result.of("embedding"), *result.of("residual")),
        "neurons": result.of("neurons"),
    }
    panels = {title: rows for title, rows in panels.items() if rows}
    figure = make_subplots(
        rows=1, cols=len(panels), subplot_titles=list(panels), horizontal_spacing=0.12
    )
    for col, rows in enumerate(panels.values(), start=1):
        _panel(figure, rows, col)
    figure.update_annotations(font_size=13)
    figure.add_hline(y=0, line={"color": GREY, "dash": "dash"})
    figure.update_yaxes(gridcolor=GREY)
    figure.update_yaxes(title="excess kurtosis", col=1)
    figure.update_xaxes(title="layer", type="category")
    left = f"; without neurons: {result.missing['neurons']}" if result.missing else ""
    note = (
        f"median over coordinates, 95 % intervals, {result.tokens:,} tokens of text; a Gaussian has"
        f" 0{left}"
    )
    styled(figure, f"How privileged is each basis of {result.model}?", note, height=440)
    return figure.update_layout(margin={"t": 100}, legend={"orientation": "h", "y": -0.2})


def _panel(figure: go.Figure, rows: tuple[Basis, ...], col: int) -> None:
    at = ["W_E" if row.layer is None else str(row.layer) for row in rows]
    for name, ink, estimates in (
        ("the model's own basis", BLUE, [row.own_median for row in rows]),
        ("a random rotation", MUTED, [row.rotated_median for row in rows]),
    ):
        line = by_layer(estimates, at, name, ink, ".3g")
        figure.add_trace(line.update(showlegend=col == 1, legendgroup=name), row=1, col=col)
