"""Every public result goes the same way to terminal, page, notebook, table and figure."""

import importlib
import io
from collections.abc import Callable
from pathlib import Path

import plotly.graph_objects as go
import pytest

import loci
from loci.cli.show import base
from loci.cli.terminal import Terminal
from loci.facts import Fact
from loci.figures import has_figure
from loci.model import Model
from loci.report import notebook, page_of
from loci.result import Result
from loci.studies.superposition import bounds
from tests.test_result import results

PARTS = {"Traced", "TwoTokens", "SingleStep", "Effects", "LocalContext", "Ladder", "Story"}
"""Bases, parts of another result, and the one that is a page of several."""


def kinds() -> list[type[Result]]:
    return [own for own in results() if own.__name__ not in PARTS]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_a_kind_declares_its_words_numbers_and_figure(kind: type[Result]) -> None:
    assert kind.about.kind and kind.about.question
    said = [kind.summary, kind.tables, kind.title]
    assert any(own is not getattr(Result, own.__name__) for own in said), "it says nothing"
    if kind.about.figure:
        module, _, name = kind.about.figure.partition(".")
        assert callable(getattr(importlib.import_module(f"loci.figures.{module}"), name))


MAKERS: dict[str, Callable[[Model, Fact], Result]] = {
    "trace": lambda model, fact: loci.trace(model, fact, samples=2),
    "lens": lambda model, fact: loci.lens(model, fact.text),
    "census": lambda model, fact: loci.census(model),
    "ask": lambda model, fact: loci.ask(model, [fact.text]),
    "recall": lambda model, fact: loci.recall(model, [fact]),
    "read": lambda model, fact: loci.read(model, "L1N126", ["Gary Payton plays basketball."]),
    "updates": lambda model, fact: loci.sub_updates(model, fact.text),
    "bounds": lambda model, fact: bounds(100, 80.0),
}


@pytest.mark.parametrize("verb", MAKERS)
def test_a_result_goes_every_way(
    demo: Model, jordan: Fact, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = MAKERS[verb](demo, jordan)
    screen = io.StringIO()
    monkeypatch.setattr(base, "console", Terminal(file=screen, width=100, highlight=False))
    base.show(found)
    told, page, cell = screen.getvalue(), page_of(found), notebook(found)
    assert "Traceback" not in told and told.strip()
    for table in found.tables():
        assert len(table.rows) and all(table.headings[0] in text for text in (told, page, cell))
    assert found.about.question.split(",")[0][:20] in page
    frame = found.to_frame()
    assert len(frame) > 0
    found.save(tmp_path / "a.json")
    assert (tmp_path / "a.json").stat().st_size > 2
    if has_figure(found):
        assert isinstance(found.plot(), go.Figure)
