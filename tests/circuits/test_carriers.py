"""A fact's carriers: their parts sum to those of paths, their losses are those of plain cuts,
neurons' parts sum to their MLP's.
"""

import pytest
import torch
from torch import Tensor

from loci.circuits import FactCircuit, extraction, fact_circuit
from loci.circuits.frozen_run import freeze
from loci.errors import CircuitError
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.model.answers import with_answer
from loci.model.names import parse_head
from tests.model.families import make


@pytest.fixture(scope="module")
def found(demo: Model, jordan: Fact) -> FactCircuit:
    return fact_circuit(demo, jordan)


@torch.no_grad()
def test_direct_parts_are_what_heads_write(demo: Model, jordan: Fact, found: FactCircuit) -> None:
    """Forwards, head by head: without what biases write, direct and elsewhere are the head's whole
    part of the score.
    """
    tokens, (start, _) = with_answer(demo, jordan.text, jordan.answer)
    frozen = freeze(demo, demo.ids([tokens.ids[:start]]))
    u = frozen.final.read(demo.W_U.float()[tokens.ids[start]].expand_as(frozen.last))[0, -1]
    for carrier in (found.heads[0], found.heads[7], found.heads[-1]):
        layer, h = parse_head(carrier.head, demo)
        written = frozen.layers[layer].by_head(frozen.layers[layer].stream)[0, h, -1]
        assert carrier.direct + carrier.elsewhere == pytest.approx(float(written @ u), abs=1e-3)


@torch.no_grad()
def test_losses_are_those_of_plain_cuts(demo: Model, jordan: Fact, found: FactCircuit) -> None:
    tokens, (start, _) = with_answer(demo, jordan.text, jordan.answer)
    ids = demo.ids([tokens.ids[:start]])
    for carrier in found.heads[:2]:
        layer, h = parse_head(carrier.head, demo)

        def cut(scores: Tensor, h: int = h) -> Tensor:
            scores = scores.clone()
            scores[:, h, -1, slice(*found.subject_span)] = -1e9
            return scores

        with demo.patched({f"attn_scores.{layer}": cut}):
            p = float(demo(ids)[0, -1].softmax(-1)[tokens.ids[start]])
        assert carrier.lost == pytest.approx(1 - p / found.probability, abs=1e-4)


def test_cut_together_more_is_lost_than_one_by_one(demo: Model, jordan: Fact) -> None:
    one = fact_circuit(demo, jordan, shown=1, neurons=0)
    assert one.together == pytest.approx(one.heads[0].lost, abs=1e-4)
    assert fact_circuit(demo, jordan, shown=48, neurons=0).together > 0.9


def test_neurons_are_parts_of_their_mlps(demo: Model, jordan: Fact) -> None:
    """Over all neurons of the first MLP, the parts through a head and the bias' are the MLP's."""
    whole = fact_circuit(demo, jordan, neurons=6 * 1024 * 4, shown=2)
    head = whole.shown[0]
    of_first = [role for role in whole.neurons if role.neuron.startswith("L0N")]
    tokens, (start, _) = with_answer(demo, jordan.text, jordan.answer)
    span = whole.subject_span
    assert len(of_first) == 1024 * (span[1] - span[0])
    with torch.no_grad():
        frozen = freeze(demo, demo.ids([tokens.ids[:start]]))
        layer, h = parse_head(head, demo)
        end = torch.zeros_like(frozen.last)
        end[:, -1] = demo.W_U[tokens.ids[start]]
        back = frozen.layers[layer].back(frozen.final.read(end))[h, 0, slice(*span)]
        bias = float((back @ demo.b_down(0)).sum())
    assert sum(role.through[head] for role in of_first) + bias == pytest.approx(
        whole.writers["L0MLP"][head], abs=1e-2
    )
    strengths = [abs(role.total) for role in whole.neurons]
    assert strengths == sorted(strengths, reverse=True)


def test_the_demo_carries_jordan_by_few_late_heads(found: FactCircuit) -> None:
    assert found.probability > 0.9 and found.score > 0
    assert {int(carrier.head[1]) for carrier in found.heads[:4]} <= {2, 3, 4, 5}
    assert found.heads[0].direct > 0 and found.heads[0].attention > 0.1
    assert len(found.neurons) == 12 and found.to_dict()["schema"] == "loci.fact_circuit/1"


@pytest.mark.parametrize("name", ["gemma2", "llama", "mixtral", "pythia"])
def test_other_forms(demo: Model, jordan: Fact, name: str) -> None:
    model = make(name, demo)
    found = fact_circuit(model, jordan, against="baseball")
    assert len(found.heads) == model.n_layers * model.n_heads and (found.neurons == ()) == (
        name == "mixtral"
    )


def test_extraction(demo: Model, world: FactSet) -> None:
    facts = world.of("athlete_sport").sample(4, seed=1)
    found = extraction(demo, facts)
    assert found.n == 4 and len(found.heads) == 48 and found.heads[0].lost.n == 4
    assert found.heads[0].direct.value >= found.heads[1].direct.value
    assert found.together.n == 4 and found.together.value == pytest.approx(
        sum(fact_circuit(demo, f, neurons=0).together for f in facts) / 4
    )
    assert found.to_dict()["schema"] == "loci.extraction/1"
    with pytest.raises(CircuitError, match="no facts"):
        extraction(demo, [])
