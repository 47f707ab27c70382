"""Probes on states whose answer is known, against a plain solve, and with controls that fail as
they should.
"""

import pytest
import torch
from tests.model.families import make

from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.locating import probe
from loci.locating.probing import _held_out, _states
from loci.model import Model


def test_separable_states_are_read_and_noise_is_not() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 4
    noise = torch.randn(200, 16, generator=generator, dtype=torch.float64)
    part = torch.arange(0, 200, 5)
    centres = 6 * torch.randn(4, 16, generator=generator, dtype=torch.float64)
    assert sum(_held_out(noise + centres[labels], labels, part, 4, 1.0)) == len(part)
    assert sum(_held_out(noise, labels, part, 4, 1.0)) < 0.5 * len(part)


def test_held_out_subjects_do_not_train_the_probe() -> None:
    """Their answers may be anything: what the probe says of them stays the same."""
    X = torch.randn(60, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels, part = torch.arange(60) % 3, torch.arange(0, 60, 4)
    right = torch.tensor(_held_out(X, labels, part, 3, 1.0))
    other = labels.clone()
    other[part] = (other[part] + 1) % 3
    turned = torch.tensor(_held_out(X, other, part, 3, 1.0))
    assert not (right & turned).any()


@torch.no_grad()
def test_states_are_those_of_single_runs(demo: Model, world: FactSet) -> None:
    facts = world.sample(7, seed=3)
    states = _states(demo, facts)
    for fact, found in zip(facts, states, strict=True):
        tokens = demo.tokenize(fact.text)
        at = tokens.span(fact.subject_span)[1] - 1
        with demo.watch("resid_pre.0", "resid_post.4") as reads:
            demo(demo.ids([tokens.ids]))
        torch.testing.assert_close(
            found[0].float(), reads["resid_pre.0"][0, at], atol=1e-5, rtol=1e-5
        )
        torch.testing.assert_close(
            found[5].float(), reads["resid_post.4"][0, at], atol=1e-4, rtol=1e-4
        )


def test_the_embedded_model_looks_sports_up_at_the_name(demo: Model, world: FactSet) -> None:
    found = probe(demo, [fact for fact in world if fact.relation == "athlete_sport"])
    assert found.relation == "athlete_sport"
    assert len(found.accuracy) == demo.n_layers + 1
    best = max(found.accuracy[1:], key=lambda e: e.value)
    assert best.value > max(e.value for e in found.shuffled) + 0.1
    assert best.value > found.accuracy[0].value
    document = found.to_dict()
    assert document["schema"] == "loci.probe/1"
    assert len(document["shuffled"]) == 7


@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2", "mixtral"])
def test_other_families(name: str, demo: Model, world: FactSet) -> None:
    model = make(name, demo)
    found = probe(model, [fact for fact in world if fact.relation == "athlete_sport"][:60], folds=3)
    assert len(found.accuracy) == model.n_layers + 1


def test_too_few_answers(demo: Model) -> None:
    with pytest.raises(FactError, match="two answers that 5 subjects have"):
        probe(demo, [Fact(f"Person {i}", "{} plays the sport of", "golf") for i in range(20)])
