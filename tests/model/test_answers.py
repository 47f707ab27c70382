"""Teacher-forced scoring against free generation."""

import pytest
import torch

from loci.errors import ModelError
from loci.facts import FactSet
from loci.model import Model, answer_of, complete, next_tokens, score_answers


def test_greedy_is_what_generation_says(demo: Model, world: FactSet) -> None:
    """For right and for wrong answers: `greedy` holds exactly when the free completion begins with the answer, as whole words."""
    facts = world.sample(40, seed=3)
    pairs = [(f.text, f.answer) for f in facts] + [(f.text, g.answer) for f, g in zip(facts, reversed(facts), strict=True)]
    said = complete(demo, [prompt for prompt, _ in pairs], tokens=12)
    scores = score_answers(demo, pairs)
    for (_, answer), text, score in zip(pairs, said, scores, strict=True):
        begins = text.startswith(f" {answer}") and not text[len(answer) + 1 : len(answer) + 2].isalnum()
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
