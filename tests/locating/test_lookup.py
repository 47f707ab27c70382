"""The fact-finding tests: their sums, their identities, models where the answer is known
beforehand, and other families.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import tiny_gpt2
from tests.model.families import make

from loci.errors import FactError, ModelError
from loci.facts import FactSet
from loci.locating import effects, local_context, lookup, probe, single_step, two_tokens
from loci.locating.asking import ask
from loci.locating.neuron_effects import PAIRS, ablated
from loci.locating.single_step_lookup import _Grid
from loci.model import Model
from loci.survey import text_means


@pytest.fixture(scope="module")
def athletes(world: FactSet) -> list:
    return [fact for fact in world if fact.relation == "athlete_sport"]


def test_parts_of_the_excess_sum_to_it(demo: Model, athletes: list) -> None:
    """The stream is a sum, so the excess of its end is that of its parts; whatever the layer."""
    for layer in (0, 3):
        found = single_step(demo, athletes, count=6, read_after=layer)
        whole = torch.tensor(found.start) + found.attn.sum(1) + found.mlp.sum(1)
        torch.testing.assert_close(
            whole, torch.tensor(found.excess), atol=1e-5, rtol=1e-4, check_dtype=False
        )
        assert found.step.abs().sum() > 0
        assert found.attn.shape[1] == layer + 1


def test_linear_mlps_make_no_step(demo: Model, athletes: list) -> None:
    """Without a non-linearity nothing can arise at it, though attention and norms still make an
    excess.
    """
    linear = single_step(tiny_gpt2(demo, activation="linear"), athletes, count=6, read_after=2)
    assert linear.step.abs().max() < 1e-5 * max(linear.excess)
    bent = single_step(tiny_gpt2(demo, activation="relu"), athletes, count=6, read_after=2)
    assert bent.step.abs().max() > 1e-3 * max(bent.excess)


@given(st.integers(3, 6), st.integers(0, 1000))
def test_a_sum_of_parts_has_no_excess(size: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, last = torch.randn(2, size, 5, generator=generator, dtype=torch.float64)
    grid = _Grid.__new__(_Grid)
    grid.size = size
    torch.testing.assert_close(grid._sum(first[:, None] + last[None]), first + last)
    planted = torch.zeros(size, size, 5, dtype=torch.float64)
    planted[0, 0] = 1
    assert torch.equal(grid._sum(planted)[0], torch.zeros(5)), (
        "what only AB has is no part of the sum at AB"
    )


def test_all_attention_left_is_the_name_alone(demo: Model, athletes: list) -> None:
    found = two_tokens(demo, athletes, heads_below=demo.n_layers)
    assert found.accuracy["attention by its mean"] == found.accuracy["subject alone"]
    assert found.accuracy["whole prompt"][1].value > found.commonest.value + 0.2
    assert found.accuracy["two tokens"][1].value > found.accuracy["last token"][1].value, (
        "both parts of a name are needed"
    )
    assert found.to_dict()["schema"] == "loci.two_tokens/1"


def test_where_the_prompt_is_the_name_both_probes_agree(demo: Model, athletes: list) -> None:
    """With nothing before the subject, the whole prompt is the name alone: the probe room's own
    figures come out.
    """
    bare = [replace(fact, paraphrases=(), held_out=()) for fact in athletes]
    found, expected = two_tokens(demo, bare), probe(demo, bare)
    assert [e.value for e in found.accuracy["whole prompt"]] == pytest.approx(
        [e.value for e in expected.accuracy]
    )
    assert found.accuracy["subject alone"] == found.accuracy["whole prompt"]


@torch.no_grad()
def test_ablated_neurons_against_hooked_runs(demo: Model, jordan) -> None:
    means = text_means(demo, *demo.names("mlp_act"))
    chosen = torch.tensor([5, 1030, 3000, 6143])
    found = ablated(demo, jordan, chosen, means)
    asked = ask(demo, jordan)
    token = asked.subject[1] - 1

    def logp(edits: dict) -> float:
        with demo.patched(edits):
            return float(demo(asked.ids)[0, -1].log_softmax(-1)[asked.targets[0]])

    for neuron, effect in zip(chosen.tolist(), found.tolist(), strict=True):
        layer, i = divmod(neuron, demo.d_mlp)

        def put(act: torch.Tensor, layer: int = layer, i: int = i) -> torch.Tensor:
            act = act.clone()
            act[:, token, i] = means[f"mlp_act.{layer}"][i]
            return act

        assert effect == pytest.approx(logp({}) - logp({f"mlp_act.{layer}": put}), abs=1e-5)


@torch.no_grad()
def test_a_neuron_at_its_own_value_has_no_effect(demo: Model, jordan) -> None:
    asked = ask(demo, jordan)
    with demo.watch(*demo.names("mlp_act")) as reads:
        demo(asked.ids)
    own = {name: act[0, asked.subject[1] - 1] for name, act in reads.items()}
    assert ablated(demo, jordan, torch.arange(0, 6144, 97), own).abs().max() < 1e-5


def test_two_phrasings_share_neurons_and_two_facts_do_not(demo: Model, world: FactSet) -> None:
    found = effects(
        demo, world, ["Michael Jordan", "Larry Bird", "Magic Johnson"], count=3, neurons=256
    )
    same, other, _ = (found.means[pair] for pair in PAIRS)
    assert same.value > other.value + 0.2
    assert len(found.subjects) == 3


def test_context_changes_nothing_before_the_first_layer(demo: Model) -> None:
    """Rotary models know no positions there; and the whole context is as similar as can be."""
    rotary = make("llama", demo)
    texts = [
        "Osaka is a city in the country of Japan and it is old",
        "Paris stands in the country of France and it is old too",
    ] * 3
    found = local_context(rotary, texts, lengths=(1, 3))
    for row in found.similarity.values():
        assert row[0].value == pytest.approx(1.0, abs=1e-5) or row[0].n == 0
    with pytest.raises(FactError, match="at least one token"):
        local_context(rotary, texts, lengths=(0,))
    with pytest.raises(FactError, match="two texts"):
        local_context(rotary, ["short"])


@pytest.mark.parametrize("name", ["llama", "mixtral"])
def test_other_families(name: str, demo: Model, world: FactSet) -> None:
    """What cannot be asked is left out with the reason: random models know no facts, mixtures have
    no single neurons.
    """
    few = FactSet(list(world.of("athlete_sport"))[:60])
    texts = [f"{f.text} {f.answer}." for f in few]
    found = lookup(make(name, demo), few, "athlete_sport", texts=texts, count=4, neurons=32)
    assert found.two_tokens is not None and found.context is not None
    assert "effects" in found.missing
    assert ("single_step" in found.missing) == (name == "mixtral")
    assert "Not asked (effects)" in found.words
    assert found.to_dict()["missing"] == found.missing


def test_what_cannot_be_asked(demo: Model, world: FactSet, athletes: list) -> None:
    with pytest.raises(FactError, match="there is no relation 'x'"):
        lookup(demo, world, "x")
    with pytest.raises(FactError, match="names of two parts"):
        single_step(
            demo,
            [f for f in world if f.relation == "country_continent" and " " not in f.subject],
            count=4,
        )
    with pytest.raises(FactError, match="layers are 0 … 5"):
        single_step(demo, athletes, read_after=6)
    with pytest.raises(ModelError, match="mixtures"):
        single_step(make("mixtral", demo), athletes, count=4, read_after=0)
