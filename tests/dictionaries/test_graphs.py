"""Graphs that sum to what they explain, and that name the neurons that were planted."""

from collections.abc import Callable

import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from loci.dictionaries import Dictionary, attribution_graph
from loci.dictionaries.graph_results import AttributionGraph
from loci.errors import DictionaryError
from loci.model import Model
from loci.writing import planted
from loci.writing.planted_models import PlantedModel

PROMPT = "Michael Jordan plays the sport of"


def small(demo: Model, family: str) -> Model:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": demo.d_vocab, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 3, "num_attention_heads": 4,
        "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0,
        "initializer_range": 0.2,
    }  # fmt: skip
    if family == "llama":
        hf = LlamaForCausalLM(
            LlamaConfig(**sizes, num_key_value_heads=2, mlp_bias=True, attention_bias=True)
        )
    elif family == "gemma2":
        hf = Gemma2ForCausalLM(
            Gemma2Config(**sizes, num_key_value_heads=2, head_dim=8, query_pre_attn_scalar=8)
        )
    else:
        hf = GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, use_parallel_residual=family == "parallel"))
    for name, parameter in hf.named_parameters():
        if name.endswith("bias") or "norm" in name:  # nothing may drop out by being 0 or 1
            torch.nn.init.normal_(parameter, 0.3, 0.2)
    return Model(hf, demo.tokenizer, family)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "parallel", "sequential"])
def test_everything_that_goes_into_a_node_sums_to_it(family: str, demo: Model, tiny: Model) -> None:
    model = tiny if family == "gpt2" else small(demo, family)
    graph = attribution_graph(model, PROMPT, "basketball", against="tennis", followed=40, tested=2)
    total, expected = graph.completeness
    logits = model(model.ids([model.tokenize(PROMPT).ids]))[0, -1]
    first, second = (
        model.tokenize(f"{PROMPT} {word}").ids[-1] for word in ("basketball", "tennis")
    )
    if family != "gemma2":  # whose logits are capped behind the score
        assert expected == pytest.approx(float(logits[first] - logits[second]), abs=1e-3)
    assert total == pytest.approx(expected, abs=1e-3)
    assert graph.worst < 1e-4 and graph.followed == 40


def held_change(model: Model, layer: int, position: int, unit: int) -> float:
    """What the score loses by a neuron of the last layer: nothing but the final norm stands behind
    it.
    """
    row = torch.zeros(model.d_vocab)
    row[model.tokenize(f"{PROMPT} basketball").ids[-1]] = 1
    row -= 1 / len(row)
    ids = model.ids([model.tokenize(PROMPT).ids])
    act = model.read(ids, f"mlp_act.{layer}")[f"mlp_act.{layer}"][0, position, unit]
    stream = model.read(ids, f"resid_post.{layer}")[f"resid_post.{layer}"][0, -1]
    norm = model.module("final_norm")
    scale = norm.weight / (stream.var(unbiased=False) + norm.eps).sqrt()
    value = act * model.W_down(layer)[:, unit]
    return float(((value - value.mean()) * scale) @ (model.W_U.T @ row))


def test_direct_effects_by_hand(tiny: Model) -> None:
    graph = attribution_graph(tiny, PROMPT, "basketball", followed=60, tested=0)
    last = [node for node in graph.units() if node.layer == 2]
    assert len(last) > 3
    for node in last:
        assert node.effect == pytest.approx(
            held_change(tiny, 2, node.position, node.unit), abs=1e-4
        )


@pytest.fixture(scope="module")
def plain() -> PlantedModel:
    return planted("one-per-fact")


@pytest.mark.parametrize("gated", [False, True])
def test_planted_neurons_are_named(gated: bool, plain: PlantedModel) -> None:
    world = planted("one-per-fact", gated=True) if gated else plain
    for fact, place in list(zip(world.facts, world.places, strict=True))[::24]:
        graph = attribution_graph(world.model, fact.text, fact.answer, followed=24, tested=1)
        best = graph.units()[0]
        assert (best.layer, best.unit) == (place.layer, place.neurons[0])
        assert (
            best.position
            == len(world.model.tokenize(f"{fact.text[: fact.subject_span[1]]}").ids) - 1
        )
        assert graph.interventions.measured[0] > 1  # without it, the score falls
        assert graph.worst < 1e-4


def exact(model: Model, layer: int) -> Dictionary:
    """A ReLU MLP is a transcoder whose features are its neurons."""
    return Dictionary(
        *(t.detach().clone() for t in (model.W_up(layer), model.b_up(layer), model.W_down(layer).T,
            model.b_down(layer))),
        activation="relu", transcoder=True, point=f"mlp_in.{layer}", target=f"mlp_out.{layer}",
    )  # fmt: skip


def by_unit(graph: AttributionGraph, layer: int) -> dict[tuple[int, int], float]:
    return {
        (node.position, node.unit): node.effect
        for node in graph.nodes
        if node.layer == layer and node.kind in ("neuron", "feature")
    }


def test_features_that_are_neurons_make_the_same_graph(
    demo: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loci.dictionaries.attribution_graphs.KEPT_NODES", 2.0)
    neurons = attribution_graph(demo, PROMPT, followed=40, tested=8)
    features = attribution_graph(
        demo,
        PROMPT,
        followed=40,
        tested=8,
        transcoders={layer: exact(demo, layer) for layer in (2, 4)},
    )
    assert {node.kind for node in features.nodes} >= {"feature", "neuron", "embedding", "logit"}
    taken = features.interventions  # a feature that is a neuron is taken out as the neuron is
    zeroed = dict(zip(neurons.interventions.nodes, neurons.interventions.measured, strict=True))
    assert any("F" in name for name in taken.nodes)
    for name, lost in zip(taken.nodes, taken.measured, strict=True):
        assert zeroed.get(name.replace("F", "N"), lost) == pytest.approx(lost, abs=1e-3)
    assert features.total == pytest.approx(features.score, abs=1e-3)
    for layer in (2, 4):
        one, two = by_unit(neurons, layer), by_unit(features, layer)
        shared = [place for place in one if place in two and place[0] > 0]
        assert len(shared) >= 2
        for place in shared:
            assert two[place] == pytest.approx(one[place], abs=0.05)


def test_errors_and_skips_close_the_sum(demo: Model) -> None:
    """A transcoder that explains little: what it leaves is an error node, and everything still
    sums.
    """
    torch.manual_seed(0)
    poor = exact(demo, 3)
    poor = Dictionary(
        poor.W_enc[:100], poor.b_enc[:100], poor.W_dec[:100], poor.b_dec, "topk", k=5,
        skip=0.1 * torch.randn(256, 256),
        transcoder=True, point="mlp_in.3", target="mlp_out.3",
    )  # fmt: skip
    graph = attribution_graph(demo, PROMPT, followed=60, tested=0, transcoders={3: poor})
    assert graph.total == pytest.approx(graph.score, abs=1e-3) and graph.worst < 1e-4
    assert any(node.kind == "error" and node.layer == 3 for node in graph.nodes)


def test_document_and_figure(plain: PlantedModel) -> None:
    fact = plain.facts[0]
    graph = attribution_graph(plain.model, fact.text, fact.answer, followed=8, tested=2)
    lines, points = graph.plot().data[:-1], graph.plot().data[-1]
    shown = {node.id: node for node in graph.nodes if node.kind != "bias"}
    assert len(points.x) == len(shown) and [text.partition("<")[0] for text in points.text] == list(
        shown
    )
    assert len(lines) == sum(edge.source in shown for edge in graph.edges)
    assert list(points.y) == [node.layer for node in shown.values()]
    document = graph.to_dict()
    assert document["schema"] == "loci.attribution_graph/1"
    ids = [node["id"] for node in document["nodes"]]
    assert len(set(ids)) == len(ids)
    assert all({edge["from"], edge["to"]} <= set(ids) for edge in document["edges"])
    assert (
        set(document["completeness"]) >= {"sum", "expected"} and document["interventions"]["n"] <= 2
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda d: Dictionary(**{**vars(d), "point": "mlp_in.2"}),
            "takes transcoders from mlp_in.3 to mlp_out.3",
        ),
        (
            lambda d: Dictionary(**{**vars(d), "b_in": torch.zeros(256)}),
            "linear where a feature is on",
        ),
    ],
)
def test_transcoders_that_do_not_fit(
    demo: Model, change: Callable[[Dictionary], Dictionary], said: str
) -> None:
    with pytest.raises(DictionaryError, match=said):
        attribution_graph(demo, PROMPT, "basketball", transcoders={3: change(exact(demo, 3))})
