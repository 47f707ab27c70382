"""Ways of hiding a subject, severed paths and single neurons, each against a plain run."""

import pytest
import torch
from tests.conftest import tiny_gpt2
from tests.model.families import make

from loci.errors import FactError, ModelError
from loci.facts import Fact, FactSet
from loci.locating import HOWS, KINDS, SEVERED, Corruption, neuron_attribution, trace, trace_neurons
from loci.locating.corruption import embedding_std
from loci.model import Model

FACT = Fact("Michael Jordan", "{} plays the sport of", "golf", relation="athlete_sport")


def corrupted(model: Model, how: Corruption) -> tuple[torch.Tensor, torch.Tensor, slice]:
    """Embeddings before and after, and where the subject stands."""
    tokens = model.tokenize(FACT.text)
    span = tokens.span(FACT.subject_span)
    with torch.no_grad():
        embed = model.read(model.ids([tokens.ids]).expand(how.draws, -1), "embed")["embed"]
        after = how.edit(model, FACT, span)(embed)
    assert after is not None
    return embed, after, slice(*span)


@pytest.mark.parametrize("how", HOWS)
def test_only_the_subject_is_corrupted_and_seeds_repeat(how: str, demo: Model) -> None:
    corruption = Corruption(how, 2.0, samples=4, seed=3)
    before, after, span = corrupted(demo, corruption)
    assert torch.equal(corrupted(demo, corruption)[1], after)
    changed = (before != after).any(-1)
    assert changed[:, span].any(0).all()
    assert not changed[:, : span.start].any()
    assert not changed[:, span.stop :].any()
    assert corruption.draws == (1 if how == "mean" else 4)


def test_noise_is_as_large_as_it_says(demo: Model) -> None:
    E = demo.W_E
    covariance = E.T.cov()
    for how, sigma in (
        ("noise", 2 * E.std()),
        ("fixed", torch.tensor(2.0)),
        ("gaussian", 2 * covariance.diagonal().mean().sqrt()),
    ):
        before, after, span = corrupted(demo, Corruption(how, 2.0, samples=800))
        assert float((after - before)[:, span].square().mean().sqrt()) == pytest.approx(
            float(sigma), rel=0.02
        ), how
    before, after, span = corrupted(demo, Corruption("gaussian", 1.0, samples=6000))
    found = (after - before)[:, span].flatten(0, 1).T.cov()
    torch.testing.assert_close(found, covariance, atol=0.06 * float(covariance.abs().max()), rtol=0)


def test_resampled_subjects_are_known_ones(demo: Model, world: FactSet) -> None:
    _, after, span = corrupted(demo, Corruption("resample", samples=6, seed=1))
    ids = (after[:, span, None] - demo.W_E).square().sum(-1).argmin(-1)
    names = {demo.decode(row).strip() for row in ids.tolist()}
    athletes = {fact.subject for fact in world if fact.relation == "athlete_sport"}
    assert names <= athletes - {FACT.subject}
    assert len(names) > 3
    stranger = Fact(
        "Xqzt Vbnmk Wrtzp Qqqxx", "{} plays the sport of", "golf", relation="athlete_sport"
    )
    with pytest.raises(FactError, match="no known subject has"):
        trace(demo, stranger, corruption="resample", samples=1)
    with pytest.raises(FactError, match="there is no corruption"):
        Corruption("loud")


def putting(source: dict[str, torch.Tensor], name: str, token: int):
    def edit(state: torch.Tensor) -> torch.Tensor:
        state = state.clone()
        state[:, token] = source[name][:, token]
        return state

    return edit


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "pythia", "llama", "gemma2"])
@pytest.mark.parametrize("kind", SEVERED)
def test_severed_paths_against_full_runs(name: str, kind: str, demo: Model) -> None:
    """The state clean at (layer, token), every later MLP (attention) held there at its corrupted
    output: one full run a cell.
    """
    model = make(name, demo)
    found = trace(model, FACT, kinds=(kind,), samples=3, seed=2)
    tokens = model.tokenize(f"{FACT.text} {FACT.answer}")
    ids, target = model.ids([tokens.ids[:-1]]).expand(3, -1), tokens.ids[-1]
    part = "mlp_out" if kind.endswith("mlp") else "attn_out"
    names = [f"{stem}.{layer}" for stem in (part, "resid_post") for layer in range(model.n_layers)]
    noise = Corruption("noise", 3.0, 3, 2).edit(model, FACT, found.subject_span)
    with model.watch(*names) as clean:
        model(ids)
    with model.patched({"embed": noise}), model.watch(*names) as held:
        low = model(ids)[:, -1].softmax(-1)[:, target].mean()
    for layer, token in (
        (0, found.subject_span[1] - 1),
        (1, len(found.tokens) - 1),
        (1, found.subject_span[0]),
    ):
        edits = {f"resid_post.{layer}": putting(clean, f"resid_post.{layer}", token)}
        edits |= {
            f"{part}.{i}": putting(held, f"{part}.{i}", token)
            for i in range(layer + 1, model.n_layers)
        }
        with model.patched({"embed": noise, **edits}):
            effect = model(ids)[:, -1].softmax(-1)[:, target].mean() - low
        assert float(found.grids[kind][layer, token]) == pytest.approx(float(effect), abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_single_neurons_against_full_runs(name: str, demo: Model) -> None:
    model = make(name, demo)
    found = trace_neurons(model, FACT, 1, samples=3, budget=100)
    assert len(found.effects) == model.d_mlp
    whole = trace(model, FACT, kinds=("mlp",), samples=3)
    assert found.together == pytest.approx(float(whole.grids["mlp"][1, found.token]), abs=1e-6)
    tokens = model.tokenize(f"{FACT.text} {FACT.answer}")
    ids, target = model.ids([tokens.ids[:-1]]).expand(3, -1), tokens.ids[-1]
    clean = model.read(ids, "mlp_act.1")["mlp_act.1"]
    noise = Corruption(samples=3).edit(model, FACT, whole.subject_span)
    for neuron, effect in [*found.top(2), (5, float(found.effects[5]))]:

        def put(act: torch.Tensor, neuron: int = neuron) -> torch.Tensor:
            act = act.clone()
            act[:, found.token, neuron] = clean[:, found.token, neuron]
            return act

        with model.patched({"embed": noise, "mlp_act.1": put}):
            assert float(
                model(ids)[:, -1].softmax(-1)[:, target].mean()
            ) - found.corrupted == pytest.approx(effect, abs=1e-6)


def test_single_neurons_of_the_embedded_model(demo: Model, jordan: Fact) -> None:
    """Exact effects of single neurons, and integrated gradients, which are an estimate of them,
    rank alike.
    """
    found = trace_neurons(demo, jordan, 0, samples=2)
    document = found.to_dict(5)
    assert document["schema"] == "loci.neuron_trace/1"
    assert len(document["neurons"]) == 5
    cheap = neuron_attribution(demo, jordan, samples=2).scores[0]
    ranks = torch.stack([found.effects.argsort().argsort(), cheap.argsort().argsort()]).double()
    assert float(ranks.corrcoef()[0, 1]) > 0.5
    with pytest.raises(FactError, match="tokens 0"):
        trace_neurons(demo, jordan, 0, token=99)
    with pytest.raises(ModelError, match=r"expected mlp_act\.0"):
        trace_neurons(demo, jordan, 9)


@pytest.mark.parametrize("name", ["llama", "pythia", "gemma2"])
def test_every_corruption_on_other_families(name: str, demo: Model) -> None:
    model = make(name, demo)
    for how in HOWS:
        found = trace(model, FACT, corruption=how, samples=2)
        assert set(found.grids) == set(KINDS)
        assert (found.corruption, found.samples) == (how, 1 if how == "mean" else 2)
        assert all(grid.isfinite().all() for grid in found.grids.values())


def test_the_embeddings_spread_is_that_of_the_weights_as_they_are(demo: Model) -> None:
    tiny = tiny_gpt2(demo)
    before = embedding_std(tiny)
    assert before == embedding_std(tiny) == float(tiny.W_E.std())
    with torch.no_grad():
        tiny.hf.get_input_embeddings().weight.mul_(2)
    assert embedding_std(tiny) == pytest.approx(2 * before, rel=1e-5)
