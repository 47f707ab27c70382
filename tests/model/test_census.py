"""Counts against the parameters themselves, against published figures, and without any weights."""

import json
from pathlib import Path

import pytest
import torch

import loci
from loci.errors import ModelError
from loci.model import Model, census, open_empty, published
from tests.model.families import MIXTURES, SUPPORTED, make


@pytest.mark.parametrize("name", SUPPORTED)
def test_every_parameter_is_counted_once(name: str, demo: Model) -> None:
    model = make(name, demo)
    found = census(model)
    assert (
        found.total
        == sum(p.numel() for p in model.hf.parameters())
        == sum(found.exclusive.values())
    )
    assert (found.parts["other"] > 0) == (name == "gemma3-multimodal"), (
        "the part that sees is no part of the decoder"
    )
    assert (found.parts["positions"] > 0) == (name in ("gpt2", "gpt-neo", "opt"))
    assert found.parts["unembedding"] == (
        0 if model.tied else model.W_U.numel() + (model.b_U.numel() if model.b_U.any() else 0)
    )
    experts: list[tuple[int, ...]] = [(e,) for e in range(model.n_experts)] or [()]
    each = (model.W_up, model.W_down, model.W_gate) if model.gated else (model.W_up, model.W_down)
    mlp = sum(
        W(layer, *e).numel() for W in each for layer in range(model.n_layers) for e in experts
    )
    assert found.parts["mlp_weights"] == mlp
    heads = sum(getattr(model, f"W_{n}")(0).numel() for n in "QO") + sum(
        getattr(model, f"W_{n}")(0, expand=False).numel() for n in "KV"
    )
    biases = found.parts["attention"] - model.n_layers * heads
    assert (
        0
        <= biases
        < model.n_layers * 4 * model.n_heads * model.d_head + model.n_layers * model.d_model
    )
    assert found.questions == model.d_mlp * (2 if name in MIXTURES else 1)


@torch.no_grad()
def test_matrix_flops_are_those_of_a_run(demo: Model) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    for name in ("gpt2", "llama", "gemma2"):
        model = make(name, demo)
        with model.eager(), FlopCounterMode(display=False) as counter:
            model(model.ids([[0, 1, 2, 3, 4, 5, 6, 7]]))
        flops = census(model).flops_per_token
        attending = flops["attending"] * 8 / model.n_ctx  # scores and mixing over eight positions
        assert counter.get_total_flops() / 8 == pytest.approx(
            flops["matrices"] + attending, rel=1e-3
        )


def test_the_lessons_figures() -> None:
    found = published("gpt3-175b")
    assert found.parts["mlp_weights"] == 115_964_116_992
    assert found.parts["mlp"] == 115_970_015_232
    assert found.parts["attention"] == 57_982_058_496
    assert found.parts["embedding"] == found.parts["unembedding"] == 617_558_016
    assert found.total == 175_181_291_520 == sum(found.exclusive.values())
    assert (found.shapes["W_up"], found.shapes["W_down"], found.questions) == (
        (49_152, 12_288),
        (12_288, 49_152),
        49_152,
    )
    with pytest.raises(ModelError, match="gpt3-175b"):
        published("gpt5")


def test_known_sizes_from_a_type_alone() -> None:
    """Totals as published with the checkpoints: GPT-2, Llama-2-7B, Mistral-7B, GPT-J-6B,
    Mixtral-8x7B.
    """
    known = {
        "gpt2": 124_439_808,
        "llama": 6_738_415_616,
        "gptj": 6_050_882_784,
        "mixtral": 46_702_792_704,
    }
    for name, total in known.items():
        assert census(open_empty(name)).total == total, name


def test_a_configuration_is_enough(demo: Model, tmp_path: Path) -> None:
    demo.config.save_pretrained(tmp_path)
    loaded = census(demo)
    for source in (tmp_path, tmp_path / "config.json"):
        found = census(open_empty(source))
        assert (found.parts, found.total, found.tied) == (loaded.parts, loaded.total, True)
    document = found.to_dict()
    assert json.loads(json.dumps(document))["schema"] == "loci.census/1"
    assert {"embedding", "attention", "mlp", "mlp_weights", "norms", "unembedding"} <= set(
        document["parts"]
    )
    assert loci.plot(found).data
