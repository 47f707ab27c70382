import copy
import re
from html import unescape
from pathlib import Path

import pytest
from tests.report.test_report import Balanced

from loci.auditing import Scorecard, audit
from loci.auditing.forensics import candidates_of, forensics
from loci.editing import TargetSettings
from loci.editing.edit import edit
from loci.errors import OutputError
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.patches import Patch
from loci.report import forensics_page, save, scorecard_page


@pytest.fixture(scope="module")
def patch(demo: Model, jordan: Fact) -> Patch:
    return edit(
        demo, [jordan.to("golf")], settings=TargetSettings(contexts=1, essence=2, own=0, steps=6)
    )


@pytest.fixture(scope="module")
def card(demo: Model, world: FactSet, patch: Patch) -> Scorecard:
    return audit(demo, patch, world, controls=("no edit",))


def words(html: str) -> str:
    """What a reader sees of a page that is whole and needs no network."""
    markup = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)=|@import|url\(", markup)
    parser = Balanced()
    parser.feed(html)
    assert not parser.stack
    return unescape(re.sub(r"<[^>]+>", " ", markup))


def test_the_audit_report_has_every_metric_and_every_case(card: Scorecard) -> None:
    seen = words(scorecard_page(card))
    for case in card.cases:
        assert case.fact.text in seen and case.said in seen
        assert all(line in seen for line in case.changed)
    assert "no edit" in seen
    assert f"{card.metrics['specificity'].value:.1%}" in seen


def test_names_are_escaped(card: Scorecard) -> None:
    case = card.cases[0]._replace(said="<b>&")
    html = scorecard_page(Scorecard("a<b", True, "rome", 1, (0,), card.metrics, (case,)))
    assert "&lt;b&gt;&amp;" in html and "a&lt;b" in html


def test_the_forensics_report_names_weights_and_candidates(
    demo: Model, world: FactSet, patch: Patch
) -> None:
    edited = Model(copy.deepcopy(demo.hf), demo.tokenizer, "edited", demo.layout)
    patch.add_to(edited)
    found = forensics(demo, edited, candidates_of(world.of("athlete_sport"))[:60])
    seen = words(forensics_page(found))
    assert found.verdict in seen
    assert all(change.name in seen for change in found.weights)
    assert all(subject.subject in seen for subject in found.subjects)


def test_html_is_a_report_where_there_is_one(card: Scorecard, tmp_path: Path) -> None:
    save(card, tmp_path / "card.html")
    assert "Every case" in (tmp_path / "card.html").read_text()
    save(card, tmp_path / "card.json")
    with pytest.raises(OutputError, match="ending"):
        save(card, tmp_path / "card.txt")
