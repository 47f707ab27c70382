"""Images without a browser: what a figure says stands in the picture, for every kind of mark."""

import re
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from loci.figures.static import static_image
from loci.figures.theme import DIVERGING, styled


def words(figure: go.Figure) -> set[str]:
    """All text of its SVG."""
    return set(re.findall(r">([^<>\n]+)</text>", static_image(figure, "svg").decode()))


def test_a_heat_map_has_its_title_words_and_scale() -> None:
    figure = make_subplots(cols=2, subplot_titles=["the state", "the MLP"], shared_yaxes=True)
    for column in (1, 2):
        heat = go.Heatmap(z=[[0, 1, 2]] * 2, y=["0 Jordan*", "1 of"], colorscale=DIVERGING)
        figure.add_trace(heat, row=1, col=column)
    figure.update_yaxes(
        autorange="reversed", tickvals=["0 Jordan*", "1 of"], ticktext=["Jordan*", "of"]
    )
    said = words(styled(figure, "Where &lt;it&gt; is", "clean 0.76", height=300))
    assert {"Where &lt;it&gt; is", "clean 0.76", "the state", "the MLP", "Jordan*", "of"} <= said


def test_lines_bars_bands_points_and_notes() -> None:
    figure = go.Figure()
    figure.add_trace(go.Scatter(x=[0, 1, 1, 0], y=[0, 0, 1, 1], fill="toself", showlegend=False))
    line = {"color": "rgba(10, 20, 30, .5)", "dash": "dot"}
    figure.add_trace(go.Scatter(x=[0, 1], y=[1, 2], mode="lines+text", text=["a", ""], line=line))
    figure.add_trace(go.Bar(x=["one", "two"], y=[1, 2], name="bars", error_y={"array": [0.1, 0]}))
    figure.add_trace(go.Bar(x=["one", "two"], y=[2, 1], name="more bars"))
    figure.add_trace(go.Box(x=["one"] * 3, y=[1, 2, 3], name="points", marker={"size": 4}))
    figure.add_hline(y=1.5, annotation_text="chance")
    figure.add_vrect(x0=0, x1=1, fillcolor="grey")
    figure.update_yaxes(title="P(answer)", range=[0, 3], tickformat=".0%")
    said = words(styled(figure, "All marks", height=300))
    assert {"one", "two", "a", "chance", "bars", "more bars", "P(answer)", "100%"} <= said


def test_logarithms_colours_by_value_tables_and_flows() -> None:
    points = go.Scatter(
        x=[1, 10], y=[1, 2], mode="markers", marker={"color": [0.1, 0.9], "showscale": True}
    )
    figure = go.Figure(points).update_xaxes(type="log", range=[0, 2])
    assert "All" in words(styled(figure, "All", height=300))
    table = go.Table(header={"values": ["", "the edit"]}, cells={"values": [["drift"], ["0.01"]]})
    assert {"drift", "0.01", "the edit"} <= words(go.Figure(table))
    flow = go.Sankey(
        node={"label": ["L0H1", "L5H2", "Paris"], "color": ["grey"] * 3},
        link={"source": [0, 1], "target": [1, 2], "value": [1, 2], "color": ["blue", "red"]},
    )
    assert {"L0H1", "L5H2", "Paris"} <= words(go.Figure(flow))


def test_the_same_figure_is_the_same_file(tmp_path: Path) -> None:
    figure = styled(go.Figure(go.Bar(x=[1, 2], y=[3, 4])), "Bars", height=300)
    assert static_image(figure, "svg") == static_image(figure, "svg")
    assert static_image(figure, "png").startswith(b"\x89PNG")
