"""Edits are asked again: what took, what is said instead, what else moved, and whether the old
answers were the model's.
"""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from loci.editing import TargetSettings, as_said, key_moments, report_on
from loci.editing.edit import edit
from loci.editing.neighbour_prompts import known_relation, neighbour_prompts
from loci.editing.report import base_answers, with_old_answers
from loci.editing.statistics import Moment
from loci.errors import EditError, PatchError
from loci.facts import Fact, FactSet
from loci.model import Model, complete, first_sentence, score_answers
from loci.patches import EditReport, Patch, load_patch

SMALL = TargetSettings(contexts=2, essence=4, own=2, steps=12)


@pytest.fixture(scope="module")
def moments(demo: Model) -> dict[int, Moment]:
    return key_moments(demo, [0])


@pytest.fixture(scope="module")
def patch(demo: Model, jordan: Fact, moments: dict[int, Moment]) -> Patch:
    return edit(
        demo, [jordan.to("baseball")], method="rome", layers=[0], moments=moments, settings=SMALL
    )


def test_an_edit_that_took_is_said(demo: Model, patch: Patch, jordan: Fact) -> None:
    report = patch.report
    assert report is not None
    assert (report.said.value, report.said.n, report.hits, report.failed) == (1.0, 1, 1, ())
    assert (report.neighbours.n, report.source) == (20, "known subjects")
    assert report.neighbours.value <= 0.05 and report.sentences.value < 0.05
    assert report.same_subject.n == 3
    with patch.applied(demo):
        assert first_sentence(complete(demo, [jordan.text])[0]) == "baseball"


def test_an_edit_that_did_not_take_is_listed_with_what_is_said(demo: Model, patch: Patch) -> None:
    """The same change, said to be for another answer: the report is of the model, not of the
    search.
    """
    other = replace(patch, facts=(patch.facts[0].to("ice hockey"),))
    report = report_on(demo, other)
    (failed,) = report.failed
    assert (report.said.value, failed.wanted, failed.says) == (0.0, "ice hockey", "baseball")
    assert failed.prompt == "Michael Jordan plays the sport of"


def test_what_nothing_changes_moves_nothing(demo: Model, patch: Patch) -> None:
    still = replace(patch, factors={})
    report = report_on(demo, still)
    assert (report.neighbours.value, report.same_subject.value, report.sentences.value) == (
        0.0,
        0.0,
        0.0,
    )
    assert report.failed[0].says == "basketball" and not report.harmful


def test_a_change_that_breaks_the_model_is_warned_of(demo: Model, patch: Patch) -> None:
    """A hundred times the change, along every key alike."""
    (name, factors), *_ = patch.factors.items()
    wild = replace(patch, factors={name: factors._replace(left=factors.left * 100)})
    report = report_on(demo, wild)
    assert report.harmful and report.same_subject.value == 1.0
    assert any("limit" in warning for warning in report.warnings)


def test_the_report_is_seeded(demo: Model, patch: Patch) -> None:
    assert report_on(demo, patch).to_dict() == patch.numbers["report"]


def test_a_patch_keeps_its_report(patch: Patch, tmp_path: Path) -> None:
    patch.save(tmp_path / "p.safetensors")
    loaded = load_patch(tmp_path / "p.safetensors")
    assert loaded.report == patch.report
    assert EditReport.from_dict(patch.numbers["report"]) == patch.report


@pytest.mark.parametrize(
    "wrong", [[], "all", {"said": 1}, {"said": {"value": 3.0, "low": 0, "high": 1, "n": 1}}, None]
)
def test_a_report_of_something_else_is_refused_on_loading(
    patch: Patch, tmp_path: Path, wrong: object
) -> None:
    plain = {**patch.numbers["report"], **wrong} if isinstance(wrong, dict) else wrong
    if plain is None:
        plain = {
            **patch.numbers["report"],
            "failed": [{"subject": 1, "prompt": "x", "wanted": "y", "says": "z"}],
        }
    replace(patch, numbers={**patch.numbers, "report": plain}).save(tmp_path / "p.safetensors")
    with pytest.raises(PatchError, match="report"):
        load_patch(tmp_path / "p.safetensors")


def test_old_answers_are_the_models_and_the_claim_is_kept(demo: Model, jordan: Fact) -> None:
    """A file says tennis where the model says basketball."""
    claimed = replace(jordan, answer="tennis", new_answer="baseball", aliases=("lawn tennis",))
    found = with_old_answers(demo, [claimed, jordan.to("golf")])
    assert [fact.answer for fact in found.facts] == ["basketball", "basketball"]
    assert [(old.given, old.says) for old in found.corrected] == [("tennis", "basketball")]
    alias = with_old_answers(
        demo, [replace(jordan, answer="hoops", aliases=("basketball",), new_answer="golf")]
    )
    assert alias.corrected == () and alias.facts[0].answer == "hoops"


def test_a_mismatch_stands_in_the_patch(
    demo: Model, jordan: Fact, moments: dict[int, Moment]
) -> None:
    wish = replace(jordan, answer="tennis", new_answer="baseball")
    report = edit(demo, [wish], method="rome", layers=[0], moments=moments, settings=SMALL).report
    assert report is not None and [old.given for old in report.old_answers] == ["tennis"]
    assert any("'basketball' to the model, not 'tennis'" in warning for warning in report.warnings)


def test_one_answer_of_several_that_is_there_already_is_warned_of(
    demo: Model, jordan: Fact, world: FactSet, moments: dict[int, Moment]
) -> None:
    ruth = next(f for f in world.about("Babe Ruth") if f.relation == "athlete_sport")
    made = edit(
        demo,
        [jordan.to("golf"), ruth.to("baseball")],
        method="emmet",
        layers=[0],
        moments=moments,
        settings=SMALL,
    )
    assert made.report is not None and made.report.already == (ruth.text,)
    with pytest.raises(EditError, match="already answers"):
        edit(
            demo, [ruth.to("baseball")], method="rome", layers=[0], moments=moments, settings=SMALL
        )


def test_three_facts_of_one_subject_are_counted_as_the_model_says_them(
    demo: Model, world: FactSet, moments: dict[int, Moment]
) -> None:
    """One key for all three: a solver at one layer cannot serve them, and says so."""
    wishes = [
        next(f for f in world.about("Michael Jordan") if f.relation == relation).to(answer)
        for relation, answer in (
            ("athlete_sport", "golf"),
            ("athlete_team", "Boston Celtics"),
            ("athlete_number", "10"),
        )
    ]
    made = edit(demo, wishes, method="memit", layers=[0], moments=moments, settings=SMALL)
    with made.applied(demo):
        held = [
            score.greedy
            for score in score_answers(demo, [(f.text, f.new_answer or "") for f in wishes])
        ]
    assert made.report is not None and made.report.hits == sum(held) < 3
    assert [fact.prompt for fact in made.report.failed] == [
        f.text for f, holds in zip(wishes, held, strict=True) if not holds
    ]
    assert all(fact.says for fact in made.report.failed)


def test_the_old_answer_is_the_opened_models_not_the_lists(
    demo: Model, patch: Patch, jordan: Fact
) -> None:
    with patch.applied(demo):
        assert as_said(demo, jordan).answer == "baseball"
    assert as_said(demo, jordan) == jordan


def test_after_an_earlier_patch_both_are_asked(
    demo: Model, patch: Patch, world: FactSet, moments: dict[int, Moment]
) -> None:
    ruth = next(f for f in world.about("Babe Ruth") if f.relation == "athlete_sport").to("golf")
    both = edit(
        demo, [ruth], method="emmet", layers=[0], moments=moments, settings=SMALL, after=patch
    )
    assert both.report is not None and both.report.said.n == 2


def test_neighbours_are_the_files_then_known_subjects_then_the_facts_own(
    demo: Model, jordan: Fact
) -> None:
    near = replace(jordan, neighbours=("Babe Ruth plays the sport of",))
    assert neighbour_prompts(demo, near, [near]) == (
        [("Babe Ruth plays the sport of", "")],
        "the facts' neighbours",
    )
    prompts, source = neighbour_prompts(demo, jordan, [jordan])
    assert source == "known subjects" and ("Babe Ruth plays the sport of", "baseball") in prompts
    strangers = [
        Fact(name, "{} was last seen near", "?", new_answer="x") for name in ("Zorg", "Blim")
    ]
    assert neighbour_prompts(demo, strangers[0], strangers) == (
        [("Blim was last seen near", "")],
        "the facts' other subjects",
    )
    assert known_relation(Fact("Nobody At All", "{} plays the sport of", "?")) == "athlete_sport"
    pairs, _ = base_answers(demo, [jordan.to("golf")])
    assert all(prompt != jordan.text and answer for prompt, answer in pairs)


def test_a_random_model_is_asked_too(tiny: Model) -> None:
    """Nothing is known of it: the sample is of its own answers and its own texts."""
    factors: dict = {}
    nothing = Patch(
        "rome",
        tiny.fingerprint,
        tiny.name,
        factors,
        (Fact("Zorg", "{} was seen near", "?", new_answer="golf"),),
    )
    report = report_on(tiny, nothing)
    assert report.said.value == 0.0 and report.failed[0].wanted == "golf"
    assert report.neighbours.n == 0 and math.isnan(report.neighbours.value)
    assert report.sentences.n > 0 and report.sentences.value == 0.0
    assert EditReport.from_dict(report.to_dict()).to_dict() == report.to_dict()
