"""Patches on disk in every form that weights are stored: sharded, tied, half precision, Conv1D and
Linear, gated and not.
"""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from loci.errors import OutputError, PatchError
from loci.model import Model, open_model
from loci.patches import (
    UNDO,
    apply_to_folder,
    diff_models,
    export_peft,
    patch_between,
    revert_to_folder,
)
from loci.patches.diff import rounding
from tests.model.families import make
from tests.patches.making import BIRD, all_names, patch_of

DTYPES = [torch.float16, torch.bfloat16, torch.float32]


def stored(demo: Model, family: str, dtype: torch.dtype, folder: Path) -> Model:
    """A family's model as a sharded checkpoint, opened from there."""
    model = make(family, demo)
    model.hf.to(dtype).save_pretrained(folder, max_shard_size="100KB")
    model.tokenizer.save_pretrained(folder)
    assert len(json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]) > 1
    return open_model(folder, dtype="auto")


def bits(model: Model | torch.nn.Module) -> dict[str, torch.Tensor]:
    hf = model.hf if isinstance(model, Model) else model
    return {name: p.detach().clone() for name, p in hf.named_parameters()}


@pytest.mark.parametrize(
    ("family", "dtype"),
    list(zip(["gpt2", "llama", "phi3", "gemma", "pythia", "qwen3"], DTYPES * 2, strict=True)),
)
@torch.no_grad()
def test_there_and_back(demo: Model, tmp_path: Path, family: str, dtype: torch.dtype) -> None:
    base = stored(demo, family, dtype, tmp_path / "base")
    assert base.dtype == dtype
    patch, before = patch_of(base, all_names(base)), bits(base)
    apply_to_folder(patch, base, tmp_path / "edited")
    with patch.applied(base):
        wanted = bits(base)
    plain = bits(AutoModelForCausalLM.from_pretrained(tmp_path / "edited", dtype="auto"))
    assert all(torch.equal(plain[name], wanted[name]) for name in wanted)

    edited = open_model(tmp_path / "edited", dtype="auto")
    revert_to_folder(patch, edited, tmp_path / "edited", tmp_path / "back")
    back = bits(open_model(tmp_path / "back", dtype="auto"))
    assert all(torch.equal(back[name], before[name]) for name in before)


def test_a_patch_that_is_on_already(demo: Model, tmp_path: Path) -> None:
    patch, other = patch_of(demo, ["W_down.1"]), patch_of(demo, ["W_down.1"], [BIRD], seed=7)
    apply_to_folder(patch, demo, tmp_path / "edited")
    edited = open_model(tmp_path / "edited")
    with pytest.raises(PatchError, match="it has this patch already"):
        apply_to_folder(patch, edited, tmp_path / "twice")
    with pytest.raises(PatchError, match=f"not the same base .it has the patch {patch.id}"):
        apply_to_folder(other, edited, tmp_path / "other")
    with (
        patch.applied(demo),
        pytest.raises(PatchError, match="it has this patch already"),
        patch.applied(demo),
    ):
        pass
    with (
        patch.applied(demo),
        pytest.raises(PatchError, match=f"has the patch {patch.id}"),
        other.applied(demo),
    ):
        pass
    with patch.applied(demo):
        pass
    assert sorted(file.name for file in tmp_path.iterdir()) == ["edited"]


def test_patches_made_one_on_the_other_come_off_one_by_one(demo: Model, tmp_path: Path) -> None:
    first = patch_of(demo, ["W_down.1"])
    apply_to_folder(first, demo, tmp_path / "one")
    one = open_model(tmp_path / "one")
    second = patch_of(one, ["W_down.1", "W_up.2"], [BIRD], seed=3)
    apply_to_folder(second, one, tmp_path / "two")
    revert_to_folder(second, open_model(tmp_path / "two"), tmp_path / "two", tmp_path / "one again")
    assert open_model(tmp_path / "one again").fingerprint == second.base
    with pytest.raises(PatchError, match="not the model that this patch was applied to"):
        revert_to_folder(first, open_model(tmp_path / "two"), tmp_path / "two", tmp_path / "no")


def test_only_the_patch_that_is_on_comes_off(demo: Model, tmp_path: Path) -> None:
    """Of two patches of one base, one is on: the other does not come off, although the base would
    be the same.
    """
    on, other = patch_of(demo, ["W_down.1"]), patch_of(demo, ["W_down.1"], [BIRD], seed=3)
    apply_to_folder(on, demo, tmp_path / "edited")
    with pytest.raises(PatchError, match=f"has the patch {on.id}, not {other.id}"):
        revert_to_folder(
            other, open_model(tmp_path / "edited"), tmp_path / "edited", tmp_path / "back"
        )
    assert not (tmp_path / "back").exists()


def test_a_broken_undo_file(demo: Model, tmp_path: Path) -> None:
    patch = patch_of(demo, ["W_down.1"])
    apply_to_folder(patch, demo, tmp_path / "edited")
    undo = tmp_path / "edited" / UNDO
    undo.write_bytes(undo.read_bytes()[:100])
    with pytest.raises(PatchError, match="not a whole safetensors file"):
        revert_to_folder(
            patch, open_model(tmp_path / "edited"), tmp_path / "edited", tmp_path / "back"
        )


@pytest.mark.parametrize(
    ("family", "dtype"),
    [("gpt2", torch.float32), ("phi3", torch.float32), ("llama", torch.bfloat16)],
)
@torch.no_grad()
def test_the_difference_of_two_checkpoints_is_the_patch(
    demo: Model, tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    base = stored(demo, family, dtype, tmp_path / "base")
    patch = patch_of(base, all_names(base), rank=2)
    apply_to_folder(patch, base, tmp_path / "edited")
    edited = open_model(tmp_path / "edited", dtype="auto")
    found = diff_models(base, edited)
    assert {change.name: change.rank for change in found.changes} == dict.fromkeys(patch.factors, 2)
    for change in found.changes:
        assert change.norm == pytest.approx(patch.factors[change.name].norm, rel=1e-2)
        assert change.share == pytest.approx(
            change.norm / float(base.weight(change.name).double().norm()), rel=1e-6
        )

    again = patch_between(base, edited)
    for name, error in again.numbers["error"].items():
        delta = edited.weight(name).double() - base.weight(name).double()
        assert error == pytest.approx(
            float((delta - again.factors[name].delta).norm() / delta.norm()), abs=1e-6
        )
        assert error < (1e-5 if dtype == torch.float32 else 0.05)
        assert again.factors[name].rank == 2
    assert patch_between(base, edited, rank=1).factors["W_down.1"].rank == 1
    with again.applied(base):
        for name in patch.factors:
            torch.testing.assert_close(
                base.weight(name),
                edited.weight(name),
                atol=1e-5 if dtype == torch.float32 else 0.05,
                rtol=0.02,
            )
    assert diff_models(base, base).same_base


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_alone_stays_below_its_bound(dtype: torch.dtype) -> None:
    made = torch.Generator().manual_seed(0)
    exact = (
        torch.randn(60, 200, generator=made, dtype=torch.float64)
        * torch.randn(200, generator=made).double().exp()
    )
    stored = exact.to(dtype)
    top = float(torch.linalg.svdvals(stored.double() - exact)[0])
    assert top < rounding(stored) < 4 * top


@torch.no_grad()
def test_differences_that_no_patch_can_hold(demo: Model, tiny: Model, tmp_path: Path) -> None:
    patch = patch_of(demo, ["W_down.1"])
    apply_to_folder(patch, demo, tmp_path / "edited")
    edited = open_model(tmp_path / "edited")
    edited.W_E[5] += 1
    with pytest.raises(PatchError, match=r"wte\.weight differ too"):
        patch_between(demo, edited)
    found = patch_between(demo, edited, partial=True)
    assert (list(found.factors), found.numbers["left_out"]) == (
        ["W_down.1"],
        ["transformer.wte.weight"],
    )
    with pytest.raises(PatchError, match="not of one architecture"):
        diff_models(demo, tiny)
    with pytest.raises(PatchError, match="nothing to make a patch of"):
        patch_between(demo, demo)
    edited.W_down(1)[0, 0] = float("nan")
    with pytest.raises(PatchError, match="NaN"):
        diff_models(demo, edited)


def test_a_mixture_is_compared_and_not_patched(demo: Model) -> None:
    base, edited = make("mixtral", demo), make("mixtral", demo)
    with torch.no_grad():
        edited.W_down(1, expert=2)[0, 0] += 1
    (change,) = diff_models(base, edited).changes
    assert "experts.down_proj" in change.name
    with pytest.raises(PatchError, match="MLP weights alone"):
        patch_between(base, edited)


def test_folders_with_something_in_them_stay(demo: Model, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="files in it"):
        export_peft(patch_of(demo, ["W_down.1"]), demo, tmp_path)
