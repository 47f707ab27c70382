import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from loci.errors import OutputError, PatchError
from loci.facts import Fact
from loci.model import Model, modules, open_model
from loci.model.fingerprint import hashed_once
from loci.patches import UNDO, Factors, Patch, apply_to_folder, load_patch, revert_to_folder

FACT = Fact(
    "Michael Jordan",
    "{} plays the sport of",
    "basketball",
    relation="sport",
    paraphrases=("The sport of {} is",),
).to("baseball")


def patch_for(model: Model, scale: float = 0.1, layer: int = 1, rank: int = 2) -> Patch:
    torch.manual_seed(1)
    factors = Factors(
        torch.randn(model.d_model, rank) * scale, torch.randn(rank, model.d_mlp) * scale
    )
    return Patch(
        "test",
        model.fingerprint,
        model.name,
        {f"W_down.{layer}": factors},
        (FACT,),
        {"seconds": 1.5},
    )


def bits(model: Model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone().view(torch.int32) for name, p in model.hf.named_parameters()}


def test_applied_adds_the_product_and_takes_it_off_bit_for_bit(tiny: Model) -> None:
    patch, before = patch_for(tiny), bits(tiny)
    weight = tiny.W_down(1).clone()
    with patch.applied(tiny):
        torch.testing.assert_close(tiny.W_down(1), weight + patch.factors["W_down.1"].delta.float())
        assert tiny.fingerprint != patch.base
    after = bits(tiny)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_bits_are_back_after_an_error(tiny: Model) -> None:
    before = tiny.fingerprint
    with pytest.raises(KeyboardInterrupt), patch_for(tiny).applied(tiny):
        raise KeyboardInterrupt
    assert tiny.fingerprint == before


@torch.no_grad()
def test_a_zero_patch_changes_the_logits_by_exactly_nothing(demo: Model) -> None:
    ids = demo.ids([demo.tokenize(FACT.text).ids])
    bare = demo(ids)
    with patch_for(demo, scale=0.0).applied(demo):
        assert (demo(ids) - bare).abs().max() == 0


def test_round_trip(tiny: Model, tmp_path: Path) -> None:
    patch = patch_for(tiny)
    patch.save(tmp_path / "p.safetensors")
    again = load_patch(tmp_path / "p.safetensors")
    assert (again.id, again.base, again.facts, again.numbers, again.layers) == (
        patch.id,
        patch.base,
        patch.facts,
        patch.numbers,
        [1],
    )
    assert torch.equal(again.factors["W_down.1"].left, patch.factors["W_down.1"].left)
    assert again.to_dict()["weights"]["W_down.1"]["rank"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["p.safetensors"]


def test_another_base_is_refused_with_both_fingerprints(tiny: Model, demo: Model) -> None:
    patch = patch_for(tiny)
    with pytest.raises(PatchError) as refused, patch.applied(demo):
        pass
    assert patch.base[:19] in str(refused.value)
    assert demo.fingerprint[:19] in str(refused.value)


def test_broken_and_foreign_files(tiny: Model, tmp_path: Path) -> None:
    whole = tmp_path / "p.safetensors"
    patch_for(tiny).save(whole)
    data = whole.read_bytes()
    for cut in (0, 7, 200, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:cut])
        with pytest.raises(PatchError, match="truncated"):
            load_patch(tmp_path / "cut")
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign")
    with pytest.raises(PatchError, match="no patch of Loci"):
        load_patch(tmp_path / "foreign")
    save_file(
        {"W_down.1.left": torch.zeros(2, 1)},
        tmp_path / "half",
        metadata={"loci": '{"schema": "loci.patch/1"}'},
    )
    with pytest.raises(PatchError, match="broken header"):
        load_patch(tmp_path / "half")
    save_file(
        {"x": torch.zeros(2)}, tmp_path / "new", metadata={"loci": '{"schema": "loci.patch/9"}'}
    )
    with pytest.raises(PatchError, match=r"loci\.patch/9"):
        load_patch(tmp_path / "new")
    with pytest.raises(PatchError, match="no patch file"):
        load_patch(tmp_path / "none")


def test_nan_factors(tiny: Model, tmp_path: Path) -> None:
    patch_for(tiny, scale=float("nan")).save(tmp_path / "p")
    with pytest.raises(PatchError, match="NaN"):
        load_patch(tmp_path / "p")


@pytest.mark.parametrize("dtype", ["float32", "auto"])
@torch.no_grad()
def test_folder_opens_in_plain_transformers_and_reverts_bit_for_bit(
    tmp_path: Path, dtype: str
) -> None:
    base = open_model("demo", dtype=dtype)
    patch = patch_for(base, scale=0.3)
    apply_to_folder(patch, base, tmp_path / "edited")
    assert base.fingerprint == patch.base
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "edited", dtype=base.dtype)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "edited")
    ids = torch.tensor([tokenizer(FACT.text)["input_ids"]])
    with patch.applied(base):
        base.W_down(1).copy_(
            base.W_down(1).half()
        )  # as the folder stores it, whatever the model was held in
        assert torch.equal(plain(ids).logits, base(ids))

    edited = open_model(tmp_path / "edited", dtype=dtype)
    assert edited.fingerprint != patch.base
    revert_to_folder(patch, edited, tmp_path / "edited", tmp_path / "restored")
    restored = open_model(tmp_path / "restored", dtype=dtype)
    assert restored.fingerprint == patch.base
    for (name, a), (_, b) in zip(
        base.hf.named_parameters(), restored.hf.named_parameters(), strict=True
    ):
        assert torch.equal(a.view(torch.int16), b.view(torch.int16)), name


def test_a_full_disk_leaves_the_old_patch(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.safetensors"
    patch_for(tiny).save(path)
    old = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        patch_for(tiny, scale=2.0).save(path)
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["p.safetensors"]


def test_revert_refuses_what_it_cannot_restore(demo: Model, tmp_path: Path) -> None:
    patch = patch_for(demo, scale=0.3)
    apply_to_folder(patch, demo, tmp_path / "edited")
    (tmp_path / "edited" / UNDO).unlink()
    edited = open_model(tmp_path / "edited")
    with pytest.raises(PatchError, match="is missing"):
        revert_to_folder(patch, edited, tmp_path / "edited", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_folder_with_files_in_it_is_not_replaced(demo: Model, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(OutputError, match="files in it"):
        apply_to_folder(patch_for(demo), demo, tmp_path)
    assert (tmp_path / "mine").read_text() == "x"


def test_edits_and_audits_hash_the_model_once(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty patches put on and taken off inside a marked function: one pass over the weights. What
    is written in between is seen, and outside of such functions every question is a pass.
    """
    passes: list[str] = []
    hashed = modules.fingerprint
    monkeypatch.setattr(modules, "fingerprint", lambda *given: passes.append("") or hashed(*given))
    change = patch_for(tiny).factors
    passes.clear()

    @hashed_once
    def fifty(model: Model) -> None:
        for _ in range(50):
            with Patch("test", model.fingerprint, model.name, change, ()).applied(model):
                pass

    fifty(tiny)
    assert len(passes) == 1

    @hashed_once
    def written(model: Model) -> list[str]:
        found = [model.fingerprint]
        with Patch("test", model.fingerprint, model.name, change, ()).applied(model):
            found.append(model.fingerprint)
            with Patch("test", model.fingerprint, model.name, change, ()).applied(model):
                model.weight("W_down.0")[0, 0] += 1  # not what the patch changes, and not put back
            found.append(model.fingerprint)
        return [*found, model.fingerprint]

    clean, patched, spoilt, after = written(tiny)
    assert len({clean, patched, spoilt, after}) == 4
    assert tiny.fingerprint == after
    before = len(passes)
    assert tiny.fingerprint == tiny.fingerprint
    assert len(passes) == before + 2
