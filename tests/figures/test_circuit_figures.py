"""Figures of heads, composition, paths: they show the numbers of their results."""

import pytest

from loci.circuits import (
    CompositionGraph,
    HeadScatter,
    compose,
    edges,
    extraction,
    fact_circuit,
    head_scores,
    induction,
    neuron_links,
    order_losses,
    paths,
    patterns,
    token_circuit,
)
from loci.errors import CircuitError
from loci.facts import Fact
from loci.figures import plot
from loci.model import Model

PROMPT = "Michael Jordan plays the sport of"


def test_grid_and_scatter_of_heads(demo: Model) -> None:
    found = head_scores(demo, samples=2)
    panels = {panel.hovertemplate: panel for panel in plot(found).data}
    grid = next(panel for name, panel in panels.items() if "behind the same token" in name)
    assert [list(row) for row in grid.z] == found.grid("induction")
    points = plot(HeadScatter(found, y="ov_positivity")).data[0]
    assert list(points.y) == [row.value("ov_positivity") for row in found.heads]
    with pytest.raises(CircuitError, match="no score"):
        HeadScatter(found, colour="charm")


def test_thresholds_of_the_composition_graph(demo: Model) -> None:
    figure = plot(compose(demo))
    steps = figure.layout.sliders[0].steps
    thresholds = [float(step.label) for step in steps]
    assert thresholds == sorted(thresholds, reverse=True)
    shown = [
        sum(
            len(trace.text or ())
            for trace, on in zip(figure.data[1:], step.args[0]["visible"][1:], strict=True)
            if on
        )
        for step in steps
    ]
    assert shown == [10, 20, 40, 80, 160]
    assert "MLP" in plot(compose(demo, mlps=True)).layout.xaxis.ticktext


def test_a_picture_stands_at_its_threshold(demo: Model) -> None:
    found = CompositionGraph(compose(demo), 0.24)
    figure = plot(found)
    drawn = [label for trace in figure.data[1:] if trace.visible for label in trace.text or ()]
    assert len(drawn) == len(found.edges) not in (10, 20, 40, 80, 160)
    assert float(figure.layout.sliders[0].steps[figure.layout.sliders[0].active].label) >= 0.24


def test_heads_in_the_corner_have_names(demo: Model) -> None:
    """No head of the model matches prefixes, so the names stand where the eigenvalues are most
    positive.
    """
    found = HeadScatter(head_scores(demo, samples=2))
    named = {name for name in plot(found).data[0].text if name}
    assert {"L0H0", "L0H3", "L0H5"} <= named and len(named) == 8
    resting = found.scores.top("first", 1)[0].name
    assert (
        resting not in named
        and resting in plot(HeadScatter(found.scores, colour="first")).data[0].text
    )


def test_patterns_change_between_plain_and_weighted(demo: Model) -> None:
    found = patterns(demo, PROMPT, ["L4H6", "L0H5"])
    figure = plot(found)
    plain, weighted = (button.args[0]["z"] for button in figure.layout.updatemenus[0].buttons)
    assert plain == [grid.tolist() for grid in found.plain.values()] and weighted == [
        grid.tolist() for grid in found.weighted.values()
    ]
    assert "Jordan" in figure.data[0].text[3][2]


def test_every_result_has_its_figure(demo: Model, jordan: Fact) -> None:
    for result in (
        paths(demo, PROMPT, "basketball", single=1),
        order_losses(demo, [PROMPT]),
        edges(
            demo,
            "Osaka is a city in the country of",
            "Lyon is a city in the country of",
            "Japan",
            top=3,
        ),
        token_circuit(demo, "L0H5", top=4),
        induction(demo, samples=2),
        neuron_links(demo, "L2N37"),
        fact_circuit(demo, jordan),
        extraction(demo, [jordan]),
    ):
        assert plot(result).data, type(result)
