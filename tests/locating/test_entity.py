"""Entity neurons: one is planted, and found; trials against runs one at a time."""

from dataclasses import replace

import pytest
import torch

import loci
from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.locating import EntityNeuron, EntityNeurons
from loci.locating.asking import ask, probability
from loci.locating.entity_cells import NEUTRAL, NeuronTrial, activations, tried
from loci.locating.entity_search import _selective
from loci.model import Model
from loci.stats import share


def test_a_trial_is_a_run_with_one_neuron_set(demo: Model, jordan: Fact) -> None:
    asked = ask(demo, jordan)
    start, end = asked.subject

    def set_(act: torch.Tensor) -> torch.Tensor:
        new = act.clone()
        new[:, start:end, 126] = -7.5
        return new

    with demo.patched({"mlp_act.1": set_}), torch.no_grad():
        alone = probability(demo(asked.ids)[None], asked.targets)
    osaka = ask(demo, Fact("Osaka", "{} is a city in the country of", "Japan"))
    found = tried(
        demo,
        [NeuronTrial(asked), NeuronTrial(osaka, (0, 3), 1.0), NeuronTrial(asked, (1, 126), -7.5)],
    )
    torch.testing.assert_close(found[2].probability, float(alone), rtol=1e-4, atol=1e-6)
    assert found[0].said and found[0].probability > 0.9 and found[2] != found[0]


def test_activations_stand_at_the_subject_s_last_token(demo: Model, jordan: Fact) -> None:
    read = activations(demo, {"Michael Jordan": ["Yes, {} plays", *NEUTRAL], "Osaka": NEUTRAL})
    tokens = demo.tokenize("Yes, Michael Jordan plays")
    at = tokens.span((5, 19))[1] - 1
    whole = demo.read(demo.ids([tokens.ids]), *demo.names("mlp_act"))
    expected = torch.stack([act[0, at] for act in whole.values()])
    torch.testing.assert_close(read["Michael Jordan"][0], expected, rtol=1e-3, atol=1e-4)
    assert len(read["Osaka"]) == len(NEUTRAL)


def test_the_neuron_that_fires_for_one_alone_comes_first() -> None:
    torch.manual_seed(0)
    acts = {name: 0.1 * torch.randn(6, 2, 8) for name in ("a", "b", "c", "d")}
    acts["a"][:, 1, 5] += 3
    acts["a"][:3, 0, 2] += 9  # in half of the prompts: not the entity's
    acts["b"][:, 1, 4] += 3
    acts["c"][:, 1, 4] += 3
    ((cell, score, value, others), *_) = _selective(acts, "a", ["b", "c", "d"], 2)
    assert cell == (1, 5) and score > 10 and value == pytest.approx(3, abs=0.3)
    assert abs(others) < 0.1


def neuron(lost: float, lost_others: float, lost_controls: float) -> EntityNeuron:
    shares = [share([value] * 10) for value in (lost, lost_others, lost_controls, 0.5, 0.1)]
    return EntityNeuron(1, 5, 12.0, 3.0, 0.0, *shares)


@pytest.mark.parametrize(
    ("lost", "lost_others", "lost_controls", "its"),
    [(1, 0, 0, True), (0.4, 0, 0, False), (1, 0.5, 0, False), (1, 0, 0.9, False)],
)
def test_a_neuron_is_an_entity_s_by_its_controls(
    lost: float, lost_others: float, lost_controls: float, its: bool
) -> None:
    own = neuron(lost, lost_others, lost_controls)
    found = EntityNeurons("m", True, "a", 10, 6, 3, "X", share([0.0] * 10), (own,), 0)
    assert own.is_entity == its and found.summary()[0].startswith("None") != its


def test_an_entity_of_the_embedded_model(demo: Model, world: FactSet, jordan: Fact) -> None:
    found = loci.entity_neurons(demo, "Michael Jordan", world, subjects=4, candidates=2)
    assert found.facts >= 4 and found.subjects == 4 and len(found.neurons) == 2
    assert found.neurons[0].selectivity >= found.neurons[1].selectivity
    plain = found.to_dict()
    assert plain["schema"] == "loci.entity/1" and plain["neurons"][0]["lost"]["n"] == found.facts
    own = FactSet([replace(jordan, subject="Nobody", answer="qqq")])
    with pytest.raises(FactError, match="nothing is known of"):
        loci.entity_neurons(demo, "Nobody")
    with pytest.raises(FactError, match="knows none"):
        loci.entity_neurons(demo, "Nobody", own)
    with pytest.raises(FactError, match="at least 1"):
        loci.entity_neurons(demo, "Michael Jordan", world, subjects=0)
