"""Neurons added to a model: the model itself stays, the new neurons do what was promised at their keys, and nothing elsewhere."""

import pytest
import torch

from loci.errors import FactError, WriteError
from loci.facts import FactSet
from loci.model import Model
from loci.writing import MLP, new_facts, widened
from loci.writing.install import _gates, _states


@pytest.fixture(scope="module")
def small(world: FactSet) -> FactSet:
    return FactSet(world.relations["athlete_sport"])


def test_new_facts_are_about_nobody(world: FactSet, small: FactSet) -> None:
    made = new_facts(small, 12)
    assert len({fact.subject for fact in made}) == 12
    assert not {fact.subject for fact in made} & set(world.subjects)
    assert all(fact.held_out and not set(fact.held_out) & set(fact.paraphrases) for fact in made)
    with pytest.raises(FactError, match="are asked for"):
        new_facts(FactSet(small[:5]), 3)


def test_a_wider_model_is_the_same_where_its_neurons_are_silent(demo: Model, ids: torch.Tensor) -> None:
    silent = MLP("relu", torch.zeros(3, demo.d_model), torch.ones(demo.d_model, 3), -torch.ones(3))
    wide = widened(demo, 1, silent)
    assert wide.d_mlp == demo.d_mlp + 3
    with torch.no_grad():
        assert torch.allclose(wide(ids), demo(ids), atol=1e-4)


def test_states_become_the_promised_ones_at_new_subjects_alone(demo: Model, small: FactSet) -> None:
    """At its own key each pair of neurons writes its value exactly; at known subjects nothing changes."""
    facts = new_facts(small, 6)
    before, fingerprint = _states(demo, facts, 1), demo.fingerprint
    mlp, crowded = _gates(demo, facts, 1, small)
    wide = widened(demo, 1, mlp)
    after = _states(wide, facts, 1)
    if not crowded:
        assert torch.allclose(after - before, mlp.W_down[:, :6].T, atol=1e-3)
    known = small[:20]
    assert torch.allclose(_states(wide, known, 1), _states(demo, known, 1), atol=1e-3)
    assert demo.fingerprint == fingerprint


def test_what_cannot_be_widened(tiny: Model, small: FactSet) -> None:
    from loci.writing import install

    with pytest.raises(WriteError, match="ReLU"):
        install(tiny, new_facts(small, 2))
    with pytest.raises(WriteError, match="no facts"):
        install(tiny, [])
