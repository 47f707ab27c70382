"""Every page has one frame: words, verdict, a figure for any width,
numbers with their intervals.
"""

import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
import torch
from tests.report.test_audits import words
from tests.test_result import results

import loci
from loci.auditing import Scorecard
from loci.auditing.questions import EditCase
from loci.facts import Fact
from loci.figures import plot
from loci.figures.dispatch import has_figure
from loci.figures.scorecard import POOR_INK, scorecard_figure
from loci.locating import Trace, locate, trace
from loci.locating.trace_words import cells_words
from loci.model import Model
from loci.report import notebook, page_of, save
from loci.report.stacking import stacked
from loci.stats import share
from loci.writing import gate


def test_every_kind_is_described() -> None:
    """Whatever can be written as a page says what it is and which question it answers."""
    parts = {"Traced", "TwoTokens", "SingleStep", "Effects", "LocalContext", "Ladder"}
    silent = {kind.__name__ for kind in results() if not (kind.about.kind and kind.about.question)}
    assert silent <= parts | {"Story", "WordNeurons", "NeuronKind", "QueryRows"}


def test_the_gates_page_says_what_a_learner_should_see() -> None:
    seen = words(page_of(gate(0.1)))
    assert "its row asks for both names" in seen
    assert "Only the full name opens the gate in 2 of 4 settings" in seen
    figure = plot(gate(0.1))
    assert figure.layout.width is None, "it fits the page"
    assert figure.layout.xaxis.tickfont.size >= 12


def test_a_page_without_a_figure(tmp_path: Path, demo: Model) -> None:
    found = loci.doctor(demo)
    assert not has_figure(found)
    save(found, tmp_path / "doctor.html")
    html = (tmp_path / "doctor.html").read_text()
    assert "Every check that applies holds." in words(html) and len(html) < 100_000


def layouts(html: str) -> list[dict]:
    found = re.findall(r'<script type="application/json">(.*?)</script>', html, flags=re.DOTALL)
    return [json.loads(one) for one in found]


def test_titles_are_text_and_panels_stack(demo: Model, jordan: Fact) -> None:
    found = trace(demo, jordan, samples=2)
    html = page_of(found)
    (figure,) = layouts(html)
    assert "basketball" in words(html) and not figure["layout"].get("title")
    assert "width" not in figure["layout"]
    wide, slim = (figure[name] for name in ("layout", "narrow"))
    assert (
        wide["xaxis"]["domain"][1] < 0.4
        and [slim[a]["domain"] for a in ("xaxis", "xaxis2", "xaxis3")] == [[0, 1]] * 3
    )
    tops = [slim[axis]["domain"] for axis in ("yaxis", "yaxis2", "yaxis3")]
    assert tops[0][0] > tops[1][1] > tops[1][0] > tops[2][1], "one below the other"
    assert slim["height"] > wide["height"]
    assert [note["x"] for note in slim["annotations"]] == [0, 0, 0]


def test_stacking_moves_what_has_no_axes() -> None:
    figure = {
        "layout": {"xaxis": {"domain": [0, 0.4], "anchor": "y"}, "yaxis": {"domain": [0, 1]}},
        "data": [
            {"type": "bar", "name": "a"},
            {"type": "sankey", "domain": {"x": [0.6, 1], "y": [0, 1]}},
        ],
    }
    layout, domains = stacked(figure, 300)
    assert layout["xaxis"]["domain"] == [0, 1] and domains[1]["x"] == [0, 1]
    assert layout["yaxis"]["domain"][0] > domains[1]["y"][1]


def test_words_leave_out_what_is_so_by_construction(demo: Model, jordan: Fact) -> None:
    """The last token after the last layer gives all back; the subject's cells say something, ties
    included.
    """
    said = cells_words(trace(demo, jordan))
    first = said.splitlines()[0]
    assert first.startswith("The state at the last subject token “Jordan” gives back")
    assert "layers 0 to" in first and "from layer 4 on the last token carries more" in first


def test_a_tie_is_told(demo: Model, jordan: Fact) -> None:
    found = trace(demo, jordan, samples=1)
    grid = found.grids["mlp"].clone().zero_()
    grid[1, 2] = grid[3, 2] = 0.5
    tied = Trace(**{**vars(found), "grids": {"mlp": grid}})
    assert (
        "layer 1 at the last subject token “Jordan” gives back most: +0.50 (as much, within 0.02:"
        " layer 3" in cells_words(tied)
    )


def card_with(efficacy: float, specificity: float) -> Scorecard:
    fact = Fact("a", "{} is", "b").to("c")
    case = EditCase(fact, "c", 0.5, {"efficacy": (True,)}, ())
    hits = {"efficacy": share([efficacy] * 20), "specificity": share([specificity] * 20)}
    return Scorecard(
        "m", True, "rome", 1, (0,), hits, (case,), {"in-context": hits, "retrieval": hits}
    )


@pytest.mark.parametrize(
    ("efficacy", "specificity", "grade"),
    [(1, 1, "good"), (1, 0.9, "mixed"), (0.62, 0.97, "bad"), (1, 0.5, "bad")],
)
def test_an_audit_ends_in_a_verdict(efficacy: float, specificity: float, grade: str) -> None:
    card = card_with(efficacy, specificity)
    said, found = " ".join(card.summary()), card.grade()
    assert found == grade and f"{efficacy:.0%}" in said and f"{specificity:.0%}" in said


@pytest.mark.parametrize(
    ("other", "value", "said"),
    [
        ("paraphrase", 1.0, "It took, in other words too, and little else moved."),
        ("paraphrase", 0.5, "It took as asked, but not in all other words: do not ship this."),
        ("same_subject", 0.9, "It took as asked, but the subject's other facts moved."),
    ],
)
def test_a_verdict_names_the_share_that_is_low(other: str, value: float, said: str) -> None:
    card = card_with(1, 1)
    hits = {**card.metrics, other: share([value] * 20)}
    assert replace(card, metrics=hits).summary()[0].endswith(said)
    nothing = replace(card, metrics={**card.metrics, "efficacy": share([0.0] * 20)})
    assert nothing.summary()[0].endswith("It did not take: do not ship this.")


def test_controls_never_cover_the_edit() -> None:
    figure = scorecard_figure(card_with(1, 0.5))
    edit, *controls = (trace for trace in figure.data if trace.type == "scatter")
    assert not set(edit.y) & {y for control in controls for y in control.y}
    assert len({control.marker.symbol for control in controls}) == len(controls)
    assert POOR_INK in edit.marker.color, "what is bad is red"


def test_a_notebook_gets_words_then_a_figure(demo: Model, jordan: Fact) -> None:
    found = locate(demo, jordan)
    html = notebook(found)
    assert found.words in unescape(html) and "Plotly" in html
    assert len(notebook(found)) < 200_000, "plotly.js is sent once"
    assert found.about.question in html and found._repr_html_()


def test_a_neuron_has_a_figure_and_a_page(demo: Model) -> None:
    card = replace(
        loci.read(demo, "L1N126", ["Gary Payton plays the sport of basketball."] * 3), tokens=3
    )
    assert len(loci.plot(card).data[0].y) == 20
    assert "What neuron L1N126 writes" in words(page_of(card))


def test_what_users_write_is_escaped_once() -> None:
    found = Trace(**{**vars(card_trace()), "prompt": "<i>A & B</i> plays"})
    html = page_of(found)
    assert (
        "<i>A" not in html
        and "&lt;i&gt;A &amp; B&lt;/i&gt; plays" in html
        and "&amp;lt;" not in html
    )


def card_trace() -> Trace:
    about = {
        "model": "m",
        "bos": True,
        "prompt": "p",
        "subject": "s",
        "answer": "a",
        "known": True,
        "clean": 1.0,
        "corrupted": 0.5,
    }
    how = {
        "samples": 1,
        "noise": 3.0,
        "corruption": "noise",
        "seed": 0,
        "tokens": ("s", "is"),
        "subject_span": (0, 1),
        "window": 1,
    }
    return Trace(**about, **how, grids={"state": torch.eye(2)})
