"""The procedures that Loci is compared with do what their papers say, on the embedded model."""

import pytest
import torch
from benchmarks.judge import Judge, entropy
from benchmarks.known import relations
from benchmarks.published_editors import layers_of, published
from benchmarks.tuned_editors import breadth_first, retrieved

from loci.facts import Fact
from loci.model import Model, score_answers

JORDAN = Fact("Michael Jordan", "{} plays the sport of", "basketball").to("baseball")
BIRD = Fact("Larry Bird", "{} plays the sport of", "basketball").to("golf")
PREFIXES = ("In the summer", "It is said that", "The")


@pytest.mark.parametrize(("method", "facts"), [("rome", [JORDAN]), ("alphaedit", [JORDAN, BIRD])])
def test_edits_by_published_procedures_are_said(
    demo: Model, method: str, facts: list[Fact]
) -> None:
    before = {name: value.clone() for name, value in demo.hf.named_parameters()}
    patch = published(demo, facts, method, PREFIXES)
    assert all(torch.equal(value, before[name]) for name, value in demo.hf.named_parameters())
    with patch.applied(demo):
        scores = score_answers(demo, [(fact.text, fact.new_answer or "") for fact in facts])
    assert patch.layers == layers_of(demo, method)
    # of two facts at once AlphaEdit, whose λ is that for GPT-J, reaches one in a model this small
    assert sum(score.probability > 0.3 for score in scores) >= 1


def test_fine_tuning_stays_within_its_bound(demo: Model) -> None:
    patch = published(demo, [JORDAN], "ft-l", PREFIXES)
    (change,) = patch.factors.values()
    assert 0 < float(change.delta.abs().max()) <= 5e-5 * 1.001


def test_breadth_first_tuning_says_its_facts_and_keeps_to_one_layer(demo: Model) -> None:
    patch = breadth_first(demo, [JORDAN, BIRD], seed=0)
    with patch.applied(demo):
        scores = score_answers(
            demo, [(fact.text, fact.new_answer or "") for fact in (JORDAN, BIRD)]
        )
    assert patch.layers == [3] and all(score.probability > 0.5 for score in scores)


def test_retrieval_says_the_edit_whose_subject_is_named() -> None:
    prefix = retrieved([JORDAN, BIRD])
    assert prefix("The sport of Larry Bird is") == "Larry Bird plays the sport of golf. "
    assert prefix("Serena Williams plays the sport of") == ""


def test_the_judge_measures_no_drift_of_the_base_and_repetition(demo: Model) -> None:
    judge = Judge(demo.hf, demo.tokenizer)
    gained, divergence = judge.drift(judge, ["Michael Jordan plays the sport of basketball."])
    assert gained == divergence == [0.0]
    assert entropy("a b a b a b a b a".split(), 2) == 1.0
    assert entropy("a b c d e".split(), 2) == 2.0


@torch.no_grad()
def test_the_judge_says_what_greedy_generation_says(demo: Model) -> None:
    judge = Judge(demo.hf, demo.tokenizer)
    asked = [
        (f"{subject} plays the sport of", answer)
        for subject in ("Michael Jordan", "Serena Williams")
        for answer in ("basketball", "tennis", "basket", "golf")
    ]
    for (prompt, answer), given in zip(asked, judge.gives(asked), strict=True):
        made = demo.hf.generate(demo.ids([demo.tokenize(prompt).ids]), max_new_tokens=4)
        said = demo.tokenizer.decode(made[0], skip_special_tokens=True).partition(" sport of ")[2]
        assert given == (said.split(".")[0].strip() == answer), (said, answer)
    assert judge.gives(asked)[0]


def test_subjects_with_several_answers_are_left_out(tmp_path) -> None:
    folder = tmp_path / "pararel"
    folder.mkdir()
    facts = '[["a", "x"], ["a", "y"], ["b", "x"], ["c", "y"], ["d", "z"]]'
    (folder / "P1.json").write_text(
        f'{{"prompts": ["{{}} is", "What is {{}}?", "{{}} is"], "facts": {facts}}}'
    )
    assert list(relations(tmp_path)) == [("P1", ["{} is"], {"b": "x", "c": "y", "d": "z"})]
