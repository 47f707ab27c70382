"""Neurons added to a model: the model itself stays, the new neurons do what was promised at their
keys, and nothing elsewhere.
"""

from dataclasses import replace

import pytest
import torch
from tests.model.families import make
from transformers import AutoModelForCausalLM

from loci.errors import FactError, PatchError, WriteError
from loci.facts import FactSet
from loci.model import Model, open_model, score_answers
from loci.patches import (
    AddedNeurons,
    Patch,
    apply_to_folder,
    beside,
    compress,
    diff_patches,
    export_delta,
    load_patch,
    merge,
    revert_to_folder,
    widened,
)
from loci.patches.neurons import ACTIVATIONS
from loci.writing import install, new_facts
from loci.writing.donor_values import _Line, _margins, _step, mended, states_of, values
from loci.writing.installation import installed
from loci.writing.key_detectors import SHARP, Detectors, detectors, shown


@pytest.fixture(scope="module")
def small(world: FactSet) -> FactSet:
    return FactSet(world.relations["athlete_sport"])


@pytest.fixture(scope="module")
def patch(demo: Model, small: FactSet) -> Patch:
    return installed(demo, new_facts(small, 6), 1, small)[0]


def test_new_facts_are_about_nobody(world: FactSet, small: FactSet) -> None:
    made = new_facts(small, 12)
    assert len({fact.subject for fact in made}) == 12
    assert not {fact.subject for fact in made} & set(world.subjects)
    assert all(fact.held_out and not set(fact.held_out) & set(fact.paraphrases) for fact in made)
    with pytest.raises(FactError, match="are asked for"):
        new_facts(FactSet(small[:5]), 3)
    with pytest.raises(FactError, match="1 or more"):
        new_facts(small, 0)


def test_a_wider_model_is_the_same_where_its_neurons_are_silent(
    demo: Model, ids: torch.Tensor
) -> None:
    silent = AddedNeurons(torch.zeros(3, demo.d_model), -torch.ones(3), torch.ones(demo.d_model, 3))
    wide = widened(demo, {1: silent})
    assert wide.d_mlp == demo.d_mlp + 3
    with torch.no_grad():
        assert torch.allclose(wide(ids), demo(ids), atol=1e-4)


def test_beside_the_mlp_or_in_it(demo: Model, ids: torch.Tensor) -> None:
    """The same neurons as a hook and as weights: the same logits."""
    source = torch.Generator().manual_seed(0)
    up, down = (torch.randn(5, demo.d_model, generator=source) / 10 for _ in range(2))
    neurons = {
        2: AddedNeurons(up, torch.randn(5, generator=source), down.T),
        4: AddedNeurons(up[:2], torch.zeros(2), down[:2].T),
    }
    with torch.no_grad():
        with beside(demo, neurons):
            hooked = demo(ids)
        assert torch.allclose(widened(demo, neurons)(ids), hooked, atol=1e-3)
        assert not torch.allclose(hooked, demo(ids), atol=1e-3)


def test_states_become_the_promised_ones_at_new_subjects_alone(demo: Model, small: FactSet) -> None:
    """At its own key each pair of neurons writes its value exactly; at known subjects nothing
    changes.
    """
    facts = new_facts(small, 6)
    fingerprint, gates = demo.fingerprint, detectors(demo, facts, 1, small)
    wanted, known = values(demo, facts, 1, small), small[:20]
    before, usual = states_of(demo, facts, 1), states_of(demo, known, 1)
    with beside(demo, {1: gates.neurons(wanted)}):
        assert torch.allclose((states_of(demo, facts, 1) - before).double(), wanted, atol=1e-3)
        assert torch.allclose(states_of(demo, known, 1), usual, atol=1e-3)
    assert not gates.crowded
    assert demo.fingerprint == fingerprint


def test_slopes_by_finite_differences(demo: Model, small: FactSet) -> None:
    facts = new_facts(small, 3)
    gates, begun = detectors(demo, facts, 1, small), values(demo, facts, 1, small)
    lines = _Line.all_of(demo, list(enumerate(facts)))
    source, h = torch.Generator().manual_seed(0), 1e-2
    way = torch.randn(3, demo.d_model, generator=source, dtype=torch.float64)

    def margins(by: float) -> tuple[torch.Tensor, torch.Tensor]:
        with beside(demo, {1: gates.neurons(begun + by * way)}):
            return _margins(demo, 1, lines)

    by_hand = (margins(h)[0] - margins(-h)[0]) / (2 * h)
    assert torch.allclose((margins(0)[1] * way).sum(1), by_hand, rtol=2e-2, atol=2e-2)


def test_the_least_step_gives_what_is_lacking() -> None:
    J, lack = (
        torch.randn(3, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
        torch.tensor([1.0, 0, 2]).double(),
    )
    step = _step(J, lack, 100.0)
    assert torch.allclose(J @ step, lack, atol=0.1)
    assert torch.allclose(J.T @ torch.linalg.pinv(J.T) @ step, step)
    assert float(_step(J, lack, 1e-3).norm()) == pytest.approx(3e-4)


def test_the_least_wrong_value_is_mended(demo: Model, small: FactSet) -> None:
    """Values that say nothing are mended until all phrasings answer."""
    facts = new_facts(small, 3)
    gates = detectors(demo, facts, 1, small)
    begun = 0.3 * values(demo, facts, 1, small)
    found = mended(demo, facts, 1, gates, begun)
    asked = [(one.text, one.answer) for fact in facts for one in shown(fact)]
    with beside(demo, {1: gates.neurons(found)}):
        assert all(score.greedy for score in score_answers(demo, asked))


def test_the_patch_gives_the_promised_logits_on_disk_and_goes_off_again(
    demo: Model, patch: Patch, tmp_path
) -> None:
    ids = demo.ids([demo.tokenize(patch.facts[0].text).ids])
    patch.save(tmp_path / "new.safetensors")
    again = load_patch(tmp_path / "new.safetensors")
    assert again.id == patch.id
    assert again.to_dict()["neurons"] == {"1": 12}
    assert again.layers == [1]
    fingerprint = demo.fingerprint
    with torch.no_grad():
        with again.applied(demo):
            promised = demo(ids)
        apply_to_folder(again, demo, tmp_path / "wide")
        wide = open_model(tmp_path / "wide")
        assert torch.allclose(
            wide(ids), promised, atol=1e-2
        )  # the embedded model stores half precision
        assert not torch.allclose(demo(ids), promised, atol=5e-2)
    assert wide.d_mlp == demo.d_mlp + 12
    revert_to_folder(again, wide, tmp_path / "wide", tmp_path / "back")
    assert open_model(tmp_path / "back").fingerprint == fingerprint == demo.fingerprint


def test_what_knows_only_changes_of_weights_refuses_neurons(
    demo: Model, patch: Patch, tmp_path
) -> None:
    other = replace(patch, facts=())
    for refused in (
        lambda: merge([patch, other]),
        lambda: compress(patch, 1),
        lambda: diff_patches(patch, other),
        lambda: export_delta(patch, demo, tmp_path / "delta.safetensors"),
    ):
        with pytest.raises(PatchError, match="adds neurons"):
            refused()
    broken = Patch(
        "install",
        patch.base,
        "",
        {},
        (),
        neurons={1: AddedNeurons(torch.ones(2, 4), torch.ones(3), torch.ones(4, 2))},
    )
    broken.save(tmp_path / "broken.safetensors")
    with pytest.raises(PatchError, match="do not fit"):
        load_patch(tmp_path / "broken.safetensors")


def test_facts_are_installed_and_others_kept(demo: Model, small: FactSet) -> None:
    made = install(demo, new_facts(small, 8, seed=1), 1, known=small)
    assert made.recall.value == 1
    assert made.held_out.value >= 0.75
    assert made.kept.value >= 0.99
    assert made.neurons == 16
    assert made.drift.value < 0.01


def test_what_cannot_be_installed(demo: Model, small: FactSet) -> None:
    facts = new_facts(small, 2)
    for model, wanted, layer, match in (
        (make("mistral", demo), facts, 1, "takes no neurons"),
        (demo, [], 1, "no facts"),
        (demo, facts, 9, "layers are"),
        (demo, [facts[0], facts[0]], 1, "stands twice"),
        (demo, small[:1], 1, "known already"),
    ):
        with pytest.raises(WriteError, match=match):
            install(model, wanted, layer, known=small)
    with pytest.raises(FactError, match="none to learn"):
        install(demo, [replace(facts[0], answer="quidditch")], 1, known=small)


@pytest.mark.parametrize(
    ("act", "error"), [("relu", 0.0), ("gelu", 0.17), ("gelu_new", 0.17), ("silu", 0.28)]
)
def test_sharp_neurons_act_as_steps(act: str, error: float) -> None:
    """Two neurons of each activation write fire · value, as near as the activation is to a ReLU at
    so many times its inputs.
    """
    source = torch.Generator().manual_seed(0)
    rows, keys, written = (
        torch.randn(n, 6, generator=source, dtype=torch.float64) for n in (3, 200, 3)
    )
    gates = Detectors(
        rows, torch.zeros(3).double(), torch.ones(3).double(), 0, 1.0 if act == "relu" else SHARP
    )
    found = gates.neurons(written).written(keys.float(), ACTIVATIONS[act])
    allowed = 2 * error / SHARP * written.abs().sum(0) + 1e-3
    assert ((found - gates.fire(keys) @ written).abs() <= allowed).all()


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "pythia", "llama"])
def test_gelu_and_gated_models_take_new_facts(
    name: str, demo: Model, small: FactSet, tmp_path
) -> None:
    """At its key each new subject's state moves by its value, and plain transformers says of the
    saved model what the patch promised.
    """
    model, facts = make(name, demo), new_facts(small, 3)
    patch = installed(model, facts, 1, small)[0]
    ids = model.ids([model.tokenize(facts[0].text).ids])
    with patch.applied(model):
        promised = model(ids)
    apply_to_folder(patch, model, tmp_path / "wide")
    assert torch.allclose(
        AutoModelForCausalLM.from_pretrained(tmp_path / "wide").eval()(ids).logits,
        promised,
        atol=1e-3,
    )
    gates, wanted = detectors(model, facts, 1, small), values(model, facts, 1, small)
    before = states_of(model, facts, 1)
    with beside(model, {1: gates.neurons(wanted)}):
        moved = (states_of(model, facts, 1) - before).double()
    assert float((moved - wanted).norm() / wanted.norm()) < 0.05
