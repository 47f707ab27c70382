"""The texts by which an edit is searched."""

import pytest

from loci.editing import TargetSettings, training_prompts
from loci.editing.phrasings import likely_prefixes, own_phrasings
from loci.facts import Fact, FactSet
from loci.model import Model, OwnAnswer, score_answers
from loci.model.answers import AnswerScore, with_answer
from loci.text import background


@pytest.fixture(scope="module")
def players(world: FactSet) -> list[Fact]:
    """Basketball, and baseball."""
    names = ("Michael Jordan", "Magic Johnson", "Babe Ruth")
    return [
        fact.to("golf")
        for name in names
        for fact in world.about(name)
        if fact.relation == "athlete_sport"
    ]


def test_lines_ask_in_own_words_and_keep_what_is_said(demo: Model, jordan: Fact) -> None:
    wish = jordan.to("baseball")
    (prompts,) = training_prompts(demo, [wish], TargetSettings(contexts=2, essence=12, own=3))
    wanted, kept = (
        [prompt for prompt in prompts if prompt.answer],
        [prompt for prompt in prompts if not prompt.answer],
    )
    assert 3 < len(wanted) <= 6
    for prompt in wanted:
        assert demo.decode(prompt.answer).strip().startswith("baseball")
        stem = demo.decode(prompt.ids[1 : prompt.positions[0] + 1]).strip()
        assert score_answers(demo, [(stem, "basketball")])[0].greedy, (
            "the untouched model ends the text with the old answer"
        )
        assert "Jordan".endswith(demo.token_text(prompt.ids[prompt.subject]).strip())
    for prompt in kept:
        said = demo(demo.ids([prompt.ids]))[0, list(prompt.positions)].argmax(-1).tolist()
        assert not any(
            demo.token_text(token).strip() in ("basketball", "baseball") for token in said
        )


def test_facts_of_one_subject_do_not_retain_each_others_answers(
    demo: Model, world: FactSet
) -> None:
    """Text about the subject ends where any of its edited answers is due, and is a phrasing of that
    fact.
    """
    wishes = [fact.to("golf") for fact in world.about("Maldives")]
    starts = [with_answer(demo, fact.text, fact.answer, " ") for fact in wishes]
    firsts = {tokens.ids[first] for tokens, (first, _) in starts}
    assert len(firsts) == len(wishes) >= 3
    settings = TargetSettings(contexts=1, essence=24, own=2)
    kept = [
        prompt
        for own in training_prompts(demo, wishes, settings)
        for prompt in own
        if not prompt.answer
    ]
    assert len(kept) > len(wishes)
    for prompt in kept:
        said = demo(demo.ids([prompt.ids]))[0, list(prompt.positions)].argmax(-1).tolist()
        assert not firsts & set(said), demo.decode(prompt.ids)


SAYS = (  # continuation, own answer, old answer, stop
    (" basketball for the NBA. He", "basketball", "basketball", ""),
    (" basketball. He", "basketball", "basketball", "."),
    (" the sport of Basketball.", "the sport", "the sport", ""),
    (" Basketball\nHe", "Basketball", "Basketball", ""),
    (" basket ball", "basket", "basket ball", ""),
    (" hoops. He", "hoops", "hoops", "."),
    ("", "", "basketball", ""),
)


def test_the_old_answer_is_no_more_than_an_answer(
    demo: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a pretrained model says behind its answer belongs neither to the old answer nor to the
    new.
    """
    fact = Fact("Michael Jordan", "{} plays the sport of", "basketball", aliases=("basket ball",))
    old: list[str] = []
    monkeypatch.setattr(
        "loci.editing.prompts.own_answers",
        lambda model, prompts: [OwnAnswer(own, says, 1.0) for says, own, *_ in SAYS],
    )
    monkeypatch.setattr(
        "loci.editing.prompts.own_phrasings",
        lambda model, facts, due, answers, most: old.extend(answers) or (),
    )
    settings = TargetSettings(contexts=0, essence=0)
    prompts = training_prompts(demo, [fact.to("baseball")] * len(SAYS), settings)
    assert old == [case[2] for case in SAYS]
    wanted = [demo.decode(own[0].answer).strip() for own in prompts]
    assert wanted == [f"baseball{case[3]}" for case in SAYS]


def test_what_is_asked_of_one_subject_is_tried_on_all_of_its_relation(
    demo: Model, players: list[Fact]
) -> None:
    """The phrasings that hold for most come first; those that do not hold are left out, and so is
    the prompt itself.
    """
    due = [
        (0, "Michael Jordan is a star of"),
        (0, "Michael Jordan plays the sport of"),
        (1, "The sport played by Magic Johnson is"),
        (1, "Magic Johnson jumps, and other fans of"),
        (1, "Magic Johnson met Magic Johnson in"),
    ]
    asked = {
        (i, text)
        for i, text, _ in own_phrasings(demo, players, due, [fact.answer for fact in players], 9)
    }
    form = {"Michael Jordan is a star of", "Magic Johnson is a star of", "Babe Ruth is a star of"}
    other = {f"The sport played by {fact.subject} is" for fact in players}
    assert {text for _, text in asked} == form | other
    assert all(players[i].subject in text for i, text in asked)
    one = [
        (text, at)
        for i, text, at in own_phrasings(demo, players, due, [fact.answer for fact in players], 1)
        if i == 2
    ]
    assert len(one) == 1
    assert one[0][0][one[0][1] :].startswith("Babe Ruth")


def test_what_holds_for_more_subjects_comes_first(
    demo: Model, players: list[Fact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often something else came up."""
    rare, common = "Magic Johnson is", "Fans of Michael Jordan watch"

    def scores(model: Model, pairs: list[tuple[str, str]]) -> list[AnswerScore]:
        holds = [text == rare or text.startswith("Fans of") for text, _ in pairs]
        return [AnswerScore(0.0, 1, greedy=hold, said=hold) for hold in holds]

    monkeypatch.setattr("loci.editing.phrasings.score_answers", scores)
    found = own_phrasings(demo, players, [(1, rare), (1, rare), (0, common)], ["?"] * 3, 1)
    assert [text for _, text, _ in found] == [f"Fans of {fact.subject} watch" for fact in players]


def test_relations_and_prompts_are_kept_apart(demo: Model, players: list[Fact]) -> None:
    """What is asked in one relation is not tried in another, though it would hold."""
    apart = [
        players[0],
        Fact("Magic Johnson", "The sport of {} is", "basketball", new_answer="golf"),
    ]
    found = list(
        own_phrasings(demo, apart, [(0, "Michael Jordan is a star of")], ["basketball"] * 2, 9)
    )
    assert [i for i, _, _ in found] == [0]


def test_heads_lead_to_subjects_of_the_kind(demo: Model, world: FactSet) -> None:
    facts = list(world.relations["country_capital"])[:8]
    heads = likely_prefixes(demo, facts, 4, background(demo))
    assert [len(own) for own in heads] == [4] * 8
    flat = {head for own in heads for head in own}
    assert {"The capital of", "The capital city of"} <= flat
    assert len(flat) > 4, "subjects of one relation do not all stand behind the same"
    assert not any(head.endswith(".") for head in flat)
