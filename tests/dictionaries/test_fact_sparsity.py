"""Counts against planted neurons, the neuron trace, and features that are neurons."""

from dataclasses import replace

import pytest
import torch

from loci.dictionaries import fact_sparsity
from loci.dictionaries.fact_units import BASES, FactSparsity
from loci.dictionaries.subject_output import SubjectOutput
from loci.errors import DictionaryError
from loci.facts import Fact
from loci.locating import trace_neurons
from loci.locating.corruption import Corruption
from loci.locating.runs import prepare
from loci.model import Model
from loci.writing import planted
from tests.dictionaries.test_graphs import exact, small


@pytest.fixture(scope="module")
def counted() -> FactSparsity:
    made = planted("superposed", subjects=12)
    facts, layer = list(made.facts)[:4], made.places[0].layer
    return fact_sparsity(made.model, exact(made.model, layer), facts, samples=2)


def test_features_that_are_neurons_need_as_many(counted: FactSparsity) -> None:
    assert counted.taken >= 2
    for feature, neuron in zip(counted.of("features"), counted.of("neurons"), strict=True):
        assert feature[3:6] == pytest.approx(neuron[3:6], rel=1e-3)
        assert feature.together == pytest.approx(1, abs=1e-3)
    for row in counted.rows:
        assert row.needed is not None and 1 <= row.needed <= row.differ
        assert row.together == pytest.approx(1, abs=1e-3)  # each basis spans the whole change


def test_single_units_are_those_of_the_neuron_trace(tiny: Model, jordan: Fact) -> None:
    runs = prepare(tiny, jordan, Corruption("noise", 3.0, 3, 0))
    place = SubjectOutput(runs, 0, exact(tiny, 0), 0)
    units, output, _ = place.restored("neurons")
    expected = trace_neurons(tiny, jordan, 0, samples=3).effects
    chosen = torch.tensor([3, 17, int(expected.argmax())])
    mask = torch.zeros(3, units)
    mask[torch.arange(3), chosen] = 1
    assert place._effects(output(mask)).tolist() == pytest.approx(
        expected[chosen].tolist(), rel=1e-3, abs=1e-9
    )


def test_one_planted_neuron_carries_its_fact() -> None:
    made = planted("one-per-fact", subjects=12)
    fact, place = made.facts[5], made.places[5]
    found = fact_sparsity(made.model, exact(made.model, place.layer), [fact], samples=2)
    for basis in ("features", "neurons"):
        [row] = found.of(basis)
        assert row.needed == 1 and row.top[0] == place.neurons[0]
    [row] = found.of("random directions")
    assert row.needed is not None and row.needed > 4


def test_norms_behind_the_mlp_are_kept(demo: Model) -> None:
    model = small(demo, "gemma2")
    fact = Fact("Michael Jordan", "{} plays the sport of", "basketball")
    runs = prepare(model, fact, Corruption("noise", 3.0, 2, 0))
    place = SubjectOutput(runs, 1, replace(exact(demo, 1), target="mlp_out.1"), 0)
    _, output, change = place.restored("neurons")
    whole = output(torch.ones(1, change.shape[1]))
    clean = runs.clean_states["mlp_out.1"][:, place.token]
    assert torch.allclose(whole[0], clean.expand_as(whole[0]), atol=1e-4)


def test_nothing_and_nonsense(demo: Model, jordan: Fact) -> None:
    none = fact_sparsity(demo, exact(demo, 5), [jordan], samples=1)
    assert none.taken == 0 and "do not live there" in none.summary()[0]
    assert set(BASES) == {"features", "neurons", "random directions"}
    with pytest.raises(DictionaryError, match="MLP's output"):
        fact_sparsity(demo, replace(exact(demo, 1), target="resid_post.1"), [jordan])
