"""Which facts a model knows: against what it says itself, phrasing by phrasing, from the published
forms.
"""

from dataclasses import replace
from pathlib import Path

import pytest

import loci as library
from loci.auditing import Discovery, discover
from loci.errors import FactError, ModelError
from loci.facts import Fact, FactSet, load_facts, save_facts
from loci.facts.matching import matches
from loci.figures import plot
from loci.locating.asking import known_of
from loci.model import Model, complete


@pytest.fixture(scope="module")
def known(demo: Model, world: FactSet) -> Discovery:
    asked = world.sample_each(1, seed=1)
    return discover(
        demo,
        [*asked, Fact("Michael Jordan", "{} plays the sport of", "curling", relation="made up")],
    )


def test_it_is_what_the_model_says(demo: Model, world: FactSet, known: Discovery) -> None:
    """Every phrasing, by plain generation of each prompt."""
    asked = world.sample_each(1, seed=1)
    prompts = [text for fact in asked for text in (fact.text, *fact.asked())]
    says = dict(zip(prompts, complete(demo, prompts, 10), strict=True))
    for fact in asked:
        texts = dict.fromkeys((fact.prompt, *fact.paraphrases, *fact.held_out))
        right = [text for text in texts if matches(says[fact.fill(text)], fact.answer)]
        found = next(
            (f for f in known.facts if (f.subject, f.relation) == (fact.subject, fact.relation)),
            None,
        )
        assert ([found.prompt, *found.paraphrases] if found else []) == right


def test_it_counts(known: Discovery) -> None:
    assert known.asked - 1 == sum(
        own.asked for name, own in known.by_relation.items() if name != "made up"
    )
    assert known.known == len(known.facts) == sum(own.known for own in known.by_relation.values())
    assert known.by_relation["made up"] == (1, 0)
    assert known.known > 0.9 * known.asked
    assert known.prompts > 2 * known.asked


def test_a_prompt_is_done_once_its_answer_is_there(demo: Model, world: FactSet) -> None:
    """Not when its first token is: what is left to say is most of the work."""
    done: list[tuple[int, int]] = []
    asked = [world[0], Fact("Michael Jordan", "{} plays the sport of", "curling")]
    found = discover(demo, asked, phrasings=1, progress=lambda *step: done.append(step))
    assert {whole for _, whole in done} == {2} and sum(step for step, _ in done) == 2
    assert found.known == 1 and done[-1][0] == 1


def test_its_file_is_a_fact_file(demo: Model, known: Discovery, tmp_path: Path) -> None:
    save_facts(known.facts, tmp_path / "known.jsonl")
    again = load_facts(tmp_path / "known.jsonl")
    assert list(again) == list(known.facts)
    assert library.recall(demo, again.sample(20)).trained.value == 1.0
    known.save(tmp_path / "found.json")
    assert Discovery.load(tmp_path / "found.json") == known
    assert plot(known).data


def test_shots_are_from_the_file(demo: Model, world: FactSet) -> None:
    facts = world.of("athlete_sport").sample(12)
    found = discover(demo, facts, shots=3, phrasings=1)
    assert (found.shots, found.prompts, found.asked) == (3, 12, 12)
    assert {fact.prompt for fact in found.facts} <= {fact.prompt for fact in facts}
    with pytest.raises(FactError, match="12 shots"):
        discover(demo, facts, shots=12)
    with pytest.raises(ModelError, match="no chat template"):
        discover(demo, facts, chat=True)


def test_answers_are_spelt_as_the_model_spells_them(demo: Model, jordan: Fact) -> None:
    odd = replace(jordan, answer="BASKETBALL language", aliases=())
    (found,) = discover(demo, odd).facts
    assert (found.answer, found.aliases) == ("basketball", ("BASKETBALL language",))
    assert [fact.answer for fact in known_of(demo, [odd, jordan])] == ["basketball", "basketball"]
