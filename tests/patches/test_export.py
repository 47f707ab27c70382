"""Patches in the forms of others, family by family: PEFT's own logits, and dense sums, against
`applied`.
"""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from loci.errors import ModelError, PatchError
from loci.model import Model, Source, open_model
from loci.patches import Factors, Patch, export_delta, export_peft
from tests.model.families import MIXTURES, SUPPORTED, make
from tests.patches.making import all_names, patch_of

TEXT = "Michael Jordan plays the sport of"
DENSE = [name for name in SUPPORTED if name not in MIXTURES]


@torch.no_grad()
def logits(model: Model) -> torch.Tensor:
    return model(model.ids([model.tokenize(TEXT).ids]))


@pytest.mark.parametrize("family", DENSE)
@torch.no_grad()
def test_dense_changes_under_the_state_dicts_names(
    demo: Model, tmp_path: Path, family: str
) -> None:
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


@pytest.mark.parametrize(
    "family", ["gpt2", "pythia", "llama", "phi3", "gemma2", "bloom", "falcon-rw", "gpt-j"]
)
def test_peft_loads_the_adapter_and_says_the_same(demo: Model, tmp_path: Path, family: str) -> None:
    peft = pytest.importorskip("peft")
    model = make(family, demo)
    first, second = (
        patch_of(model, all_names(model, 1), rank=3),
        patch_of(model, ["W_down.0"], rank=1, seed=5),
    )
    patch = Patch(
        "test", first.base, first.base_name, {**first.factors, **second.factors}, first.facts
    )
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


def test_another_base_is_refused_and_nothing_written(
    tiny: Model, demo: Model, tmp_path: Path
) -> None:
    patch = patch_of(tiny, ["W_down.1"])
    for export in (export_delta, export_peft):
        with pytest.raises(PatchError, match="not the same base"):
            export(patch, demo, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_mixtures_experts_are_no_weights_of_a_patch(demo: Model) -> None:
    model = make("mixtral", demo)
    with pytest.raises(ModelError, match="mixture"):
        model.weight("W_down.1")


@pytest.mark.parametrize("where", ["demo", "a folder", "a name for elsewhere"])
def test_the_adapter_names_a_base_that_peft_finds(
    demo: Model, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the model was named by a relative path, and in its adapter's README."""
    peft = pytest.importorskip("peft")
    shutil.copytree(demo.source.folder, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    model = open_model("demo" if where == "demo" else "mine")
    patch = patch_of(model, ["W_down.1"])
    with patch.applied(model):
        wanted = logits(model)
    name = export_peft(patch, model, "adapter", base="mine" if "elsewhere" in where else None)
    assert (
        json.loads(Path("adapter/adapter_config.json").read_text())["base_model_name_or_path"]
        == name
    )
    assert name in Path("adapter/README.md").read_text()
    assert Path(name).is_absolute() == ("elsewhere" not in where)
    with torch.no_grad():
        found = peft.AutoPeftModelForCausalLM.from_pretrained("adapter", dtype=torch.float32)
        said = found(input_ids=model.ids([model.tokenize(TEXT).ids])).logits
    torch.testing.assert_close(said, wanted, atol=1e-4, rtol=1e-4)


def test_a_hub_id_stays_one(tiny: Model, tmp_path: Path) -> None:
    tiny.name, tiny.source = "me/tiny", Source(tmp_path / "snapshots" / "abc", False, False)
    assert export_peft(patch_of(tiny, ["W_down.1"]), tiny, tmp_path / "adapter") == "me/tiny"
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("me/tiny", "abc")


@torch.no_grad()
@pytest.mark.parametrize("form", [export_delta, export_peft])
def test_changes_beyond_single_precision_are_not_exported(
    tiny: Model, tmp_path: Path, form
) -> None:
    weight = tiny.weight("W_down.1")
    factors = Factors(
        torch.full((weight.shape[0], 1), 1e30).double() ** 1.5,
        torch.full((1, weight.shape[1]), 1e30).double(),
    )
    patch = Patch("test", tiny.fingerprint, "tiny", {"W_down.1": factors}, ())
    with pytest.raises(PatchError, match="float32 ends at"):
        form(patch, tiny, tmp_path / "x")
    assert not list(tmp_path.iterdir())
