"""Teacher-forced scoring against free generation."""

import itertools

import pytest
import torch

from loci.errors import ModelError
from loci.facts import FactSet
from loci.facts.matching import matches
from loci.model import Model, answer_of, complete, next_tokens, own_answers, score_answers
from loci.model.answer_rule import _answer
from loci.model.generation import Made


def test_greedy_is_what_generation_says(demo: Model, world: FactSet) -> None:
    """For right and for wrong answers: `greedy` holds exactly when the free completion begins with
    the answer, as whole words.
    """
    facts = world.sample(40, seed=3)
    pairs = [(f.text, f.answer) for f in facts] + [
        (f.text, g.answer) for f, g in zip(facts, reversed(facts), strict=True)
    ]
    said = complete(demo, [prompt for prompt, _ in pairs], tokens=12)
    scores = score_answers(demo, pairs)
    for (_, answer), text, score in zip(pairs, said, scores, strict=True):
        begins = (
            text.startswith(f" {answer}") and not text[len(answer) + 1 : len(answer) + 2].isalnum()
        )
        assert score.greedy == begins
    assert 30 < sum(score.greedy for score in scores) < 60


def test_a_prefix_of_the_answer_is_not_the_answer(demo: Model) -> None:
    """ "Michael Jordan plays … basketball": the tokens of "basket" alone must not count."""
    prompt = "Michael Jordan plays the sport of"
    assert score_answers(demo, [(prompt, "basketball")])[0].greedy
    assert not score_answers(demo, [(prompt, "basket")])[0].greedy


def test_logprobs_do_not_depend_on_the_batch(demo: Model, world: FactSet) -> None:
    pairs = [(f.text, f.answer) for f in world.sample(12, seed=5)]
    together = score_answers(demo, pairs)
    alone = [score_answers(demo, [pair])[0] for pair in pairs]
    assert [s.logprob for s in together] == pytest.approx([s.logprob for s in alone], abs=1e-4)


def test_logprob_is_the_sum_over_the_tokens(tiny: Model) -> None:
    prompt, answer = "Michael Jordan played for the team called", "Chicago Bulls"
    tokens = tiny.tokenize(f"{prompt} {answer}")
    with torch.no_grad():
        logprobs = tiny(tiny.ids([tokens.ids]))[0].log_softmax(-1)
    start = len(tiny.tokenize(prompt))
    expected = sum(float(logprobs[i - 1, tokens.ids[i]]) for i in range(start, len(tokens)))
    score = score_answers(tiny, [(prompt, answer)])[0]
    assert score.tokens == len(tokens) - start > 1
    assert score.logprob == pytest.approx(expected, abs=1e-5)


def test_nan_weights_are_not_scored(tiny: Model) -> None:
    tiny.weight("W_down.1")[0, 0] = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        score_answers(tiny, [("Michael Jordan plays the sport of", "golf")])


def test_next_tokens_and_own_answer(demo: Model) -> None:
    prompt = "Michael Jordan plays the sport of"
    (token, probability), *_ = next_tokens(demo, prompt)
    assert token.strip() == "basketball"
    assert 0.5 < probability <= 1
    assert answer_of(demo, prompt) == "basketball"
    with pytest.raises(ModelError, match="empty"):
        answer_of(demo, " ")


def test_said_is_that_the_completion_begins_with_the_answer(demo: Model, world: FactSet) -> None:
    """Spelled otherwise, in right and wrong answers: `said` is what the normalised completion says;
    `greedy` asks for the tokens.
    """
    facts = world.sample(20, seed=6)
    spelled = [(f.text, f"The {f.answer.upper()}") for f in facts] + [
        (f.text, g.answer) for f, g in itertools.pairwise(facts)
    ]
    texts = complete(demo, [prompt for prompt, _ in spelled], tokens=16)
    scores = score_answers(demo, spelled)
    assert [score.said for score in scores] == [
        matches(text, answer) for (_, answer), text in zip(spelled, texts, strict=True)
    ]
    assert (
        sum(score.said for score in scores[:20]) > 15 > sum(score.greedy for score in scores[:20])
    )


def test_the_own_answer_of_a_known_fact_is_its_answer(demo: Model, world: FactSet) -> None:
    """Of several words too, without being told where they end; its probability is that of its
    tokens.
    """
    facts = [fact for fact in world if " " in fact.answer][:40] + list(world.sample(20, seed=1))
    own = own_answers(demo, [fact.text for fact in facts])
    scores = score_answers(demo, [(fact.text, fact.answer) for fact in facts])
    known = [i for i, score in enumerate(scores) if score.greedy]
    assert len(known) > 50
    assert [own[i].text for i in known] == [facts[i].answer for i in known]
    assert [own[i].probability for i in known] == pytest.approx(
        [scores[i].probability for i in known], abs=1e-3
    )
    assert {own[i].warning for i in known if own[i].probability > 0.2} == {None}


@pytest.mark.parametrize(
    ("pieces", "probabilities", "answer", "warned"),
    [
        ([" basketball", " for", " the", " NBA"], [0.7, 0.3, 0.9, 0.5], "basketball", None),
        ([" New", " York", " City", ","], [0.5, 0.95, 0.4, 0.9], "New York", None),
        ([" the", " capital"], [0.4, 0.5], "the", "function word"),
        ([" the", " United", " States", " of"], [0.4, 0.92, 0.99, 0.95], "the United States", None),
        ([" golf", "."], [0.04, 0.9], "golf", "P = 0.040"),
        ([" Ba", "sket", "ball", " for"], [0.9, 0.9, 0.9, 0.3], "Basketball", None),
    ],
)
def test_the_shortest_answer(
    pieces: list[str], probabilities: list[float], answer: str, warned: str | None
) -> None:
    class Speller:
        def decode(self, ids: list[int]) -> str:
            return "".join(pieces[i] for i in ids)

    found = _answer(Speller(), Made(list(range(len(pieces))), probabilities))  # type: ignore[arg-type]
    assert found.text == answer
    assert warned in found.warning if warned and found.warning else found.warning is warned
