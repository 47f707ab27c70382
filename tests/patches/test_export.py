"""Patches in the forms of others, family by family: PEFT's own logits, and dense sums, against `applied`."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from loci.errors import ModelError, PatchError
from loci.model import Model
from loci.patches import Patch, export_delta, export_peft
from tests.model.families import MIXTURES, SUPPORTED, make
from tests.patches.making import all_names, patch_of

TEXT = "Michael Jordan plays the sport of"
DENSE = [name for name in SUPPORTED if name not in MIXTURES]


@torch.no_grad()
def logits(model: Model) -> torch.Tensor:
    return model(model.ids([model.tokenize(TEXT).ids]))


@pytest.mark.parametrize("family", DENSE)
@torch.no_grad()
def test_dense_changes_under_the_state_dicts_names(demo: Model, tmp_path: Path, family: str) -> None:
    model = make(family, demo)
    patch = patch_of(model, all_names(model))
    export_delta(patch, model, tmp_path / "delta.safetensors")
    state = model.hf.state_dict()
    with patch.applied(model):
        wanted, after = logits(model), {name: tensor.clone() for name, tensor in state.items()}
    deltas = load_file(tmp_path / "delta.safetensors")
    assert deltas
    for name, delta in deltas.items():
        torch.testing.assert_close(state[name] + delta, after[name], atol=1e-6, rtol=1e-5)
        state[name] += delta
    torch.testing.assert_close(logits(model), wanted, atol=1e-4, rtol=1e-4)
    with safe_open(tmp_path / "delta.safetensors", "pt") as file:
        assert json.loads(file.metadata()["loci"])["base"] == patch.base


@pytest.mark.parametrize("family", ["gpt2", "pythia", "llama", "phi3", "gemma2", "bloom", "falcon-rw", "gpt-j"])
def test_peft_loads_the_adapter_and_says_the_same(demo: Model, tmp_path: Path, family: str) -> None:
    peft = pytest.importorskip("peft")
    model = make(family, demo)
    first, second = patch_of(model, all_names(model, 1), rank=3), patch_of(model, ["W_down.0"], rank=1, seed=5)
    patch = Patch("test", first.base, first.base_name, {**first.factors, **second.factors}, first.facts)
    base = logits(model)
    with patch.applied(model):
        wanted = logits(model)
    export_peft(patch, model, tmp_path / "adapter")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.PeftModel.from_pretrained(model.hf, tmp_path / "adapter")
    with torch.no_grad():
        found = adapted(input_ids=model.ids([model.tokenize(TEXT).ids])).logits
        merged = adapted.merge_and_unload()(input_ids=model.ids([model.tokenize(TEXT).ids])).logits
    assert (wanted - base).abs().max() > 1e-2
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(merged, wanted, atol=1e-4, rtol=1e-4)


def test_peft_on_half_precision(demo: Model, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = make("llama", demo)
    model.hf.bfloat16()
    patch = patch_of(model, all_names(model))
    with patch.applied(model):
        wanted = logits(model).float()
    export_peft(patch, model, tmp_path / "adapter")
    with torch.no_grad():
        adapted = peft.PeftModel.from_pretrained(model.hf, tmp_path / "adapter")
        found = adapted(input_ids=model.ids([model.tokenize(TEXT).ids])).logits.float()
    assert (found - wanted).norm() < 0.03 * wanted.norm()


def test_another_base_is_refused_and_nothing_written(tiny: Model, demo: Model, tmp_path: Path) -> None:
    patch = patch_of(tiny, ["W_down.1"])
    for export in (export_delta, export_peft):
        with pytest.raises(PatchError, match="not the same base"):
            export(patch, demo, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_mixtures_experts_are_no_weights_of_a_patch(demo: Model) -> None:
    model = make("mixtral", demo)
    with pytest.raises(ModelError, match="mixture"):
        model.weight("W_down.1")
