"""Planted models: they answer all their facts, and the planted neurons, and no others,
hold them.
"""

import pytest
import torch

from loci.auditing import Guess, score_locators
from loci.auditing.ground_truth import last_token
from loci.errors import FactError, WriteError
from loci.facts import Fact
from loci.model import Model, open_model, score_answers
from loci.writing import PlantedModel, load_planted, planted, save_planted

CASES = [(kind, gated) for kind in ("one-per-fact", "superposed") for gated in (False, True)]


@pytest.fixture(scope="module", params=CASES, ids=str)
def made(request) -> PlantedModel:
    kind, gated = request.param
    return planted(kind, gated=gated, subjects=20)


def test_it_knows_its_facts_in_every_phrasing(made: PlantedModel) -> None:
    asked = [(text, fact.answer) for fact in made.facts for text in (fact.text, *fact.asked())]
    assert all(score.greedy for score in score_answers(made.model, asked))


def test_silencing_the_planted_neurons_loses_the_fact_and_decoys_do_nothing(
    made: PlantedModel,
) -> None:
    for index in (0, 7, 23):
        fact, place = made.facts[index], made.places[index]
        others = [
            i
            for i in range(made.model.d_mlp)
            if i not in {n for p in made.places for n in p.neurons}
        ]
        assert not _answers(made.model, fact, place.layer, list(place.neurons))
        assert _answers(made.model, fact, place.layer, others)
        assert _answers(made.model, fact, 4, list(range(made.model.d_mlp)))


def _answers(model: Model, fact: Fact, layer: int, silent: list[int]) -> bool:
    """Whether the answer is the likeliest with some neurons at 0 at the subject's last token."""
    token = last_token(model, fact)

    def silence(act: torch.Tensor) -> torch.Tensor:
        act = act.clone()
        act[:, token, silent] = 0
        return act

    with torch.no_grad(), model.patched({f"mlp_act.{layer}": silence}):
        logits = model(model.ids([model.tokenize(fact.text).ids]))[0, -1]
    return model.decode([int(logits.argmax())]) == fact.answer


def test_saved_and_opened_as_any_model(tmp_path) -> None:
    made = planted("superposed", subjects=8, neurons=8)
    save_planted(made, tmp_path / "planted")
    again = load_planted(tmp_path / "planted")
    assert again.places == made.places
    assert list(again.facts) == list(made.facts)
    opened = open_model(tmp_path / "planted")
    assert opened.fingerprint == made.model.fingerprint
    with pytest.raises(WriteError, match="no planted model"):
        load_planted(tmp_path)


def test_scores() -> None:
    made = planted("one-per-fact", subjects=8)
    places = dict(zip(made.facts, made.places, strict=True))

    def right(model: Model, fact: Fact) -> Guess:
        place = places[fact]
        return Guess(
            place.layer,
            last_token(model, fact),
            tuple((place.layer, n) for n in place.neurons),
            chosen=True,
        )

    def half(model: Model, fact: Fact) -> Guess:
        return Guess(neurons=(*right(model, fact).neurons, (0, 0)), chosen=True)

    def never(model: Model, fact: Fact) -> Guess:
        raise FactError("no idea")

    first, second, third = score_locators(
        made, {"right": right, "half": half, "never": never}, count=6
    ).rows
    assert [first.layer.value, first.token.value, first.precision.value, first.recall.value] == [
        1,
        1,
        1,
        1,
    ]
    assert (second.precision.value, second.recall.value, second.layer.n) == (0.5, 1, 0)
    assert third.gave_up == 6
    with pytest.raises(FactError, match="one fact at least"):
        score_locators(made, {"right": right}, count=0)


def test_bad_wishes() -> None:
    with pytest.raises(WriteError, match="no kind"):
        planted("scattered")  # type: ignore[arg-type]
    with pytest.raises(WriteError, match="subjects"):
        planted(subjects=1)
    with pytest.raises(WriteError, match="neurons"):
        planted("superposed", neurons=0)
    with pytest.raises(WriteError, match="no room"):
        planted("superposed", neurons=1)
