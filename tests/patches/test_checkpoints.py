"""What is in a checkpoint stays in it: apply and revert, file by file and tensor by tensor, for
every family and form of folder.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from loci.errors import OutputError, PatchError
from loci.model import Model, open_model, open_weights
from loci.model.stored import stored
from loci.patches import (
    UNDO,
    AddedNeurons,
    Factors,
    Patch,
    apply_to_folder,
    diff_models,
    load_patch,
    readback,
    revert_to_folder,
)
from loci.patches.carried import KEPT
from tests.model.families import MIXTURES, SUPPORTED, make
from tests.patches.making import BIRD, JORDAN, all_names, patch_of

DENSE = [name for name in SUPPORTED if name not in MIXTURES]
DTYPES = [torch.float16, torch.bfloat16, torch.float32]
FILES = {
    "generation_config.json": '{"repetition_penalty": 1.1,\n "_from_model_config": true}',
    "chat_template.jinja": "{% for m in messages %}{{ m.content }}\n{% endfor %}",
    "additional_chat_templates/tools.jinja": "{{ tools }}",
    "modeling_mine.py": "raise SystemExit('never run')\n",
    "README.md": "# Mine\r\n",
    "LICENSE": "as it is",
    ".gitattributes": "*.safetensors filter=lfs\n",
    "training_args.bin": "no weights",
    "special/deep/notes.txt": "é\n",
}


def checkpoint(
    demo: Model, family: str, dtype: torch.dtype, folder: Path, *, shards: bool = True
) -> Path:
    """A family's folder with all that people keep in one: tensors of no model class, metadata,
    templates, code, odd files.
    """
    model = make(family, demo)
    model.hf.to(dtype).save_pretrained(folder, max_shard_size="100KB" if shards else "1GB")
    demo.tokenizer.save_pretrained(folder)
    add_tensors(
        folder,
        {
            "v_head.summary.weight": torch.randn(1, 32),
            "mask": torch.ones(3, 3, dtype=torch.bool),
            "step": torch.tensor(7),
        },
    )
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


def add_tensors(
    folder: Path, more: dict[str, torch.Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Into the last weight file, and its index."""
    path = sorted(folder.glob("model*.safetensors"))[-1]
    save_file(
        load_file(path) | more,
        path,
        metadata=metadata or {"format": "pt", "made": "by hand", "note": "é"},
    )
    index = folder / "model.safetensors.index.json"
    if index.exists():
        plain = json.loads(index.read_text())
        plain["weight_map"] |= dict.fromkeys(more, path.name)
        index.write_text(json.dumps(plain))


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def back(patch: Patch, edited: Path, folder: Path) -> list[str]:
    def never() -> Model:
        raise AssertionError("the model is not needed")

    return revert_to_folder(patch, never, edited, folder)


@pytest.mark.parametrize(
    ("family", "dtype"), [(name, DTYPES[i % 3]) for i, name in enumerate(DENSE)]
)
@torch.no_grad()
def test_every_family_there_and_back_by_every_file(
    demo: Model, tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    folder = checkpoint(demo, family, dtype, tmp_path / "base")
    base = open_model(folder, dtype="auto")
    patch = patch_of(base, all_names(base))
    made = apply_to_folder(patch, base, tmp_path / "edited")
    before, after = hashes(folder), hashes(tmp_path / "edited")
    changed = {name for name in before if before[name] != after[name]}
    assert after.keys() - before.keys() == {UNDO}
    assert changed
    assert all(name.endswith(".safetensors") for name in changed)
    assert set(made.rounding) == set(patch.factors)

    old, new = stored(folder), stored(tmp_path / "edited")
    touched = [
        name
        for name, tensor in old.tensors.items()
        if tensor.read_bytes() != new.tensors[name].read_bytes()
    ]
    assert len(touched) == len({base_place(base, name) for name in patch.factors})
    assert {name: (t.dtype, t.shape, t.file.name) for name, t in old.tensors.items()} == {
        name: (t.dtype, t.shape, t.file.name) for name, t in new.tensors.items()
    }
    with safe_open(max((tmp_path / "edited").glob("model*.safetensors")), "pt") as file:
        assert file.metadata() == {"format": "pt", "made": "by hand", "note": "é"}
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "edited", dtype="auto")
    with patch.applied(base):
        assert all(torch.equal(p, base.parameter(name)) for name, p in plain.named_parameters())

    assert back(patch, tmp_path / "edited", tmp_path / "back") == []
    assert hashes(tmp_path / "back") == before


def base_place(model: Model, name: str) -> str:
    from loci.patches.places import place_of

    return place_of(model, name).parameter


def test_the_embedded_model(demo: Model, tmp_path: Path) -> None:
    """Opened in single precision or as stored, it goes to the same folder, in half precision as it
    is.
    """
    patch = patch_of(demo, ["W_down.1"])
    apply_to_folder(patch, demo, tmp_path / "edited")
    apply_to_folder(patch, open_model("demo", dtype="auto"), tmp_path / "again")
    one, other = hashes(tmp_path / "edited"), hashes(tmp_path / "again")
    assert {name: sha for name, sha in one.items() if name != UNDO} == {
        name: sha for name, sha in other.items() if name != UNDO
    }
    found = stored(tmp_path / "edited")
    assert {tensor.dtype for tensor in found.tensors.values()} == {"F16"}
    back(patch, tmp_path / "edited", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(demo.source.folder)


def test_mixed_dtypes_and_names_without_their_beginning(demo: Model, tmp_path: Path) -> None:
    """As GPT-2 lies on the hub: `h.0.mlp…`, with masks; one matrix kept in float32."""
    folder = checkpoint(demo, "gpt2", torch.bfloat16, tmp_path / "base", shards=False)
    path = folder / "model.safetensors"
    bare = {name.removeprefix("transformer."): tensor for name, tensor in load_file(path).items()}
    bare["h.1.mlp.c_proj.weight"] = bare["h.1.mlp.c_proj.weight"].float() + 1e-6
    bare["h.1.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8)
    save_file(bare, path)
    base = open_model(folder, dtype="auto")
    patch = patch_of(base, ["W_down.1", "W_up.1"])
    apply_to_folder(patch, base, tmp_path / "edited")
    new = load_file(tmp_path / "edited" / "model.safetensors")
    assert new.keys() == bare.keys()
    assert (new["h.1.mlp.c_proj.weight"].dtype, new["h.1.mlp.c_fc.weight"].dtype) == (
        torch.float32,
        torch.bfloat16,
    )
    wanted = bare["h.1.mlp.c_proj.weight"].double() + patch.factors["W_down.1"].delta.T
    assert torch.equal(new["h.1.mlp.c_proj.weight"], wanted.float())
    back(patch, tmp_path / "edited", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(folder)


def test_a_tied_unembedding_stays_as_it_was_stored(demo: Model, tmp_path: Path) -> None:
    """Twice where it was stored twice."""
    folder = checkpoint(demo, "gemma", torch.bfloat16, tmp_path / "base", shards=False)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(
        tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()},
        path,
        metadata={"format": "pt"},
    )
    base = open_model(folder, dtype="auto")
    patch = patch_of(base, ["W_gate.1"])
    apply_to_folder(patch, base, tmp_path / "edited")
    new = load_file(tmp_path / "edited" / "model.safetensors")
    assert torch.equal(new["lm_head.weight"], new["model.embed_tokens.weight"])
    assert base.tied
    back(patch, tmp_path / "edited", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(folder)


def test_a_patch_upon_a_patch_comes_off_in_turn(demo: Model, tmp_path: Path) -> None:
    folder = checkpoint(demo, "phi3", torch.bfloat16, tmp_path / "base")
    base = open_model(folder, dtype="auto")
    first = patch_of(base, ["W_gate.1"])
    apply_to_folder(first, base, tmp_path / "one")
    one = open_model(tmp_path / "one", dtype="auto")
    second = patch_of(one, ["W_up.1", "W_down.0"], [BIRD], seed=3)
    apply_to_folder(second, one, tmp_path / "two")
    assert (tmp_path / "two" / KEPT / UNDO).exists()
    with pytest.raises(
        PatchError, match=r"not the model that this patch was applied to .it has the patch"
    ):
        back(first, tmp_path / "two", tmp_path / "no")
    back(second, tmp_path / "two", tmp_path / "one again")
    assert hashes(tmp_path / "one again") == hashes(tmp_path / "one")
    back(first, tmp_path / "one again", tmp_path / "zero")
    assert hashes(tmp_path / "zero") == hashes(folder)


def test_weights_in_other_forms_are_kept_apart(demo: Model, tmp_path: Path) -> None:
    """Who loads those would have the base: they come back with a revert."""
    folder = checkpoint(demo, "llama", torch.float32, tmp_path / "base", shards=False)
    for name in (
        "pytorch_model.bin",
        "consolidated.safetensors",
        "model.fp16.safetensors",
        "llama.Q4.gguf",
        "original/consolidated.00.pth",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"weights")
    before = hashes(folder)
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref")
    shutil.copytree(folder, folder / "checkpoint-5", ignore=lambda *_: ["checkpoint-5"])
    base = open_model(folder, dtype="auto")
    patch = patch_of(base, ["W_down.1"])
    made = apply_to_folder(patch, base, folder / "edited")
    assert len(made.other_weights) == 5
    assert made.left_out == (".git/", "checkpoint-5/")
    assert not {"pytorch_model.bin", "llama.Q4.gguf"} & {
        path.name for path in (folder / "edited").iterdir()
    }
    back(patch, folder / "edited", tmp_path / "back")
    assert hashes(tmp_path / "back") == before


@pytest.mark.parametrize("shards", [False, True])
def test_pickled_weights_are_written_as_safetensors_and_come_back(
    demo: Model, tmp_path: Path, shards: bool
) -> None:
    folder = checkpoint(demo, "gpt2", torch.float16, tmp_path / "base", shards=shards)
    for path in folder.glob("*.safetensors"):
        torch.save(
            load_file(path),
            path.with_name(
                path.name.replace("model", "pytorch_model").replace("safetensors", "bin")
            ),
        )
        path.unlink()
    index = folder / "model.safetensors.index.json"
    if shards:
        index.rename(folder / "pytorch_model.bin.index.json")
        text = (folder / "pytorch_model.bin.index.json").read_text()
        (folder / "pytorch_model.bin.index.json").write_text(
            text.replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
        )
    base = open_model(folder, dtype="auto", pickle=True)
    patch = patch_of(base, ["W_down.1"])
    made = apply_to_folder(patch, base, tmp_path / "edited")
    assert made.unpickled
    assert not list((tmp_path / "edited").glob("pytorch_model*"))
    names = stored(tmp_path / "edited").tensors
    assert {
        names["v_head.summary.weight"].dtype,
        names["mask"].dtype,
        names["transformer.h.1.mlp.c_proj.weight"].dtype,
    } == {
        "F32",
        "BOOL",
        "F16",
    }
    back(patch, tmp_path / "edited", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(folder)


def test_a_model_from_the_local_cache_of_the_hub(demo: Model, tmp_path: Path) -> None:
    """By its id, without a network: its files are links to blobs, what is written are files."""
    place = tmp_path / "hf" / "hub" / "models--me--llama"
    snapshot = place / "snapshots" / ("a" * 40)
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("a" * 40)
    (place / "blobs").mkdir()
    folder = checkpoint(demo, "llama", torch.bfloat16, tmp_path / "base")
    before = hashes(folder)
    for i, name in enumerate(before):
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, place / "blobs" / str(i))
        (snapshot / name).symlink_to(place / "blobs" / str(i))
    base = open_model(folder)
    patch_of(base, ["W_down.1"]).save(tmp_path / "p.safetensors")
    env = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
    ran = subprocess.run(
        [sys.executable, "-m", "loci", "patch", "apply", "p.safetensors", "-m", "me/llama", "-o",
            "edited"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert not [path for path in (tmp_path / "edited").rglob("*") if path.is_symlink()]
    back(load_patch(tmp_path / "p.safetensors"), tmp_path / "edited", tmp_path / "back")
    assert hashes(tmp_path / "back") == before


@torch.no_grad()
def test_neurons_leave_all_else_as_it_was(demo: Model, tmp_path: Path) -> None:
    folder = checkpoint(demo, "llama-biased", torch.bfloat16, tmp_path / "base")
    base = open_model(folder, dtype="auto")
    made = torch.Generator().manual_seed(0)
    part = AddedNeurons(
        *(torch.randn(*shape, generator=made) for shape in ((2, 32), (2,), (32, 2)))
    )
    patch = Patch(
        "install",
        base.fingerprint,
        base.name,
        patch_of(base, ["W_down.1"]).factors,
        (JORDAN,),
        {},
        {1: part},
    )
    apply_to_folder(patch, base, tmp_path / "wide")
    before, after = stored(folder), stored(tmp_path / "wide")
    assert after.tensors.keys() == before.tensors.keys()
    assert after.tensors["model.layers.1.mlp.down_proj.weight"].shape == (32, 50)
    assert all(after.tensors[name].dtype == tensor.dtype for name, tensor in before.tensors.items())
    old, new = hashes(folder), hashes(tmp_path / "wide")
    weights = {path.name for path in folder.glob("*.safetensors")}
    changed = {name for name in old if old[name] != new.get(name)}
    assert changed <= {"config.json", "model.safetensors.index.json", *weights}
    back(patch, tmp_path / "wide", tmp_path / "back")
    assert hashes(tmp_path / "back") == hashes(folder)


@torch.no_grad()
def test_a_model_made_or_changed_in_memory_is_saved_as_it_is(
    tiny: Model, demo: Model, tmp_path: Path
) -> None:
    folder = checkpoint(demo, "llama", torch.float32, tmp_path / "base")
    changed = open_model(folder)
    changed.W_E[5] += 1
    for i, model in enumerate((tiny, changed)):
        patch = patch_of(model, ["W_down.1"])
        apply_to_folder(patch, model, tmp_path / f"{i}")
        with patch.applied(model):
            assert open_model(tmp_path / f"{i}").fingerprint == model.fingerprint
        back(patch, tmp_path / f"{i}", tmp_path / f"{i} back")
        assert open_weights(tmp_path / f"{i} back").fingerprint == model.fingerprint


# before anything is written
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(torch.float32, 3e38), (torch.float16, 300.0), (torch.bfloat16, 3e38), (torch.float32, 1e25)],
)
def test_what_would_not_be_finite_is_refused(
    demo: Model, tmp_path: Path, dtype: torch.dtype, size: float
) -> None:
    """Finite factors whose product, or whose sum, the stored dtype cannot hold."""
    folder = checkpoint(demo, "llama", dtype, tmp_path / "base")
    base = open_model(folder, dtype="auto")
    weight = base.weight("W_down.1")
    factors = Factors(
        torch.full((weight.shape[0], 1), size), torch.full((1, weight.shape[1]), size)
    )
    patch = Patch("test", base.fingerprint, base.name, {"W_down.1": factors}, (JORDAN,))
    patch.save(tmp_path / "p.safetensors")
    with pytest.raises(
        PatchError,
        match=r"W_down\.1 with the change added holds .* ends at .*: nothing was changed",
    ):
        apply_to_folder(load_patch(tmp_path / "p.safetensors"), base, tmp_path / "edited")
    with pytest.raises(PatchError, match="ends at"), patch.applied(base):
        pass
    assert base.fingerprint == patch.base
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "p.safetensors"]


def test_logits_that_would_not_be_finite_are_refused(demo: Model, tmp_path: Path) -> None:
    folder = checkpoint(demo, "gpt2", torch.float32, tmp_path / "base")
    base = open_model(folder)
    weight = base.weight("W_down.1")
    factors = Factors(
        torch.full((weight.shape[0], 1), 1e19), torch.full((1, weight.shape[1]), 1e19)
    )
    factors.left[::2] *= -1
    patch = Patch("test", base.fingerprint, base.name, {"W_down.1": factors}, (JORDAN,))
    with pytest.raises(PatchError, match="logits that are not finite: nothing was written"):
        apply_to_folder(patch, base, tmp_path / "edited")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_weight_that_is_stored_otherwise_is_refused(demo: Model, tmp_path: Path) -> None:
    folder = checkpoint(demo, "llama", torch.float32, tmp_path / "base")
    base = open_model(folder)
    (folder / "pipe.txt").symlink_to("nowhere")
    with pytest.raises(PatchError, match=r"pipe\.txt: no regular file"):
        apply_to_folder(patch_of(base, ["W_down.1"]), base, tmp_path / "edited")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


# reading back
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["another tensor", "the sum", "another file", "the undo data"])
def test_what_is_written_wrong_is_found_on_reading_back(
    demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """A disk that changes one byte behind the writer's back."""
    folder = checkpoint(demo, "llama", torch.float16, tmp_path / "base", shards=False)
    base = open_model(folder, dtype="auto")
    real = readback.check_bytes

    def spoiled(aside: Path, *rest: object) -> None:
        tensors = stored(aside).tensors
        name = {
            "another tensor": "v_head.summary.weight",
            "the sum": "model.layers.1.mlp.down_proj.weight",
        }.get(what)
        path, at = (
            (aside / "model.safetensors", tensors[name].start) if name else (aside / "README.md", 0)
        )
        if what == "the undo data":
            path, at = aside / UNDO, (aside / UNDO).stat().st_size - 1
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)
        real(aside, *rest)

    monkeypatch.setattr("loci.patches.folders.check_bytes", spoiled)
    with pytest.raises(
        OutputError, match=r"on reading it back, .* is not what was to be written: nothing is left"
    ):
        apply_to_folder(patch_of(base, ["W_down.1"]), base, tmp_path / "edited")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_folder_that_plain_transformers_reads_otherwise_is_found(
    demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = checkpoint(demo, "llama", torch.float32, tmp_path / "base")
    base = open_model(folder)
    real = readback.check_model

    def spoiled(aside: Path, *rest: object) -> None:
        config = json.loads((aside / "config.json").read_text())
        (aside / "config.json").write_text(
            json.dumps(config | {"rope_parameters": {"rope_theta": 3.0, "rope_type": "default"}})
        )
        real(aside, *rest)

    monkeypatch.setattr("loci.patches.folders.check_model", spoiled)
    with pytest.raises(OutputError, match="gives other logits of what was written"):
        apply_to_folder(patch_of(base, ["W_down.1"]), base, tmp_path / "edited")
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


# the way back
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def edited(demo: Model, tmp_path: Path) -> tuple[Patch, Path]:
    folder = checkpoint(demo, "llama", torch.bfloat16, tmp_path / "base", shards=False)
    base = open_model(folder, dtype="auto")
    patch = patch_of(base, ["W_down.1"])
    apply_to_folder(patch, base, tmp_path / "edited")
    return patch, tmp_path / "edited"


def test_files_that_were_changed_or_added_since_stay(
    edited: tuple[Patch, Path], tmp_path: Path
) -> None:
    patch, folder = edited
    (folder / "generation_config.json").write_text("{}")
    (folder / "scores.json").write_text("[1]")
    assert back(patch, folder, tmp_path / "back") == ["generation_config.json"]
    assert (tmp_path / "back" / "generation_config.json").read_text() == "{}"
    assert (tmp_path / "back" / "scores.json").read_text() == "[1]"
    assert not (tmp_path / "back" / UNDO).exists()


def spoil(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **said: object) -> None:
    path = folder / UNDO
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    header = json.loads(metadata["loci"]) | said
    save_file(
        load_file(path) if tensors is None else tensors,
        path,
        metadata={**metadata, "loci": json.dumps(header)},
    )


NAME = "original/model.layers.1.mlp.down_proj.weight"


@pytest.mark.parametrize(
    ("tensors", "said", "says"),
    [
        ({NAME: torch.ones(32, 48, dtype=torch.complex64)}, {}, "is complex64"),
        ({NAME: torch.ones(32, 48, dtype=torch.int32)}, {}, "is int32"),
        ({NAME: torch.ones(32, 48, dtype=torch.bool)}, {}, "is bool"),
        ({NAME: torch.ones(32, 48).to(torch.float8_e4m3fn)}, {}, "is float8_e4m3fn"),
        ({NAME: torch.full((32, 48), torch.nan, dtype=torch.bfloat16)}, {}, "NaN"),
        ({NAME: torch.ones(32, 48)}, {}, "does not fit the weights"),
        ({NAME: torch.ones(48, 32, dtype=torch.bfloat16)}, {}, "does not fit the weights"),
        ({"original/none": torch.ones(3)}, {}, "does not fit the weights"),
        ({"W_down.1": torch.ones(32, 48)}, {}, "no part of undo data"),
        (
            {NAME: torch.ones(32, 48, dtype=torch.bfloat16)},
            {},
            r"model\.safetensors was changed since",
        ),
        (None, {"schema": "loci.undo/9"}, "schema 'loci.undo/9'"),
        (None, {"base": "sha256:1"}, "base"),
        (None, {"files": []}, "files"),
        (None, {"kept": {}}, "kept"),
        (None, {"kept": ["/etc/passwd"]}, "kept"),
        (None, {"files": {"../x": "0" * 64}}, "files"),
        (None, {"files": {"gone": "0" * 64}}, "has lost gone"),
        (None, {"written": None}, "written"),
    ],
)
def test_undo_data_that_are_none(
    edited: tuple[Patch, Path],
    tmp_path: Path,
    tensors: dict[str, torch.Tensor] | None,
    said: dict[str, object],
    says: str,
) -> None:
    patch, folder = edited
    spoil(folder, tensors, **said)
    with pytest.raises(PatchError, match=says) as refused:
        back(patch, folder, tmp_path / "back")
    assert "\n" not in str(refused.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "edited"]


@pytest.mark.parametrize("family", ["llama", "phi3", "gpt2"])
def test_folders_of_an_earlier_version(demo: Model, tmp_path: Path, family: str) -> None:
    """Named weights, [out, in], and nothing said of the files."""
    folder = checkpoint(demo, family, torch.bfloat16, tmp_path / "base")
    base = open_model(folder, dtype="auto")
    patch = patch_of(base, ["W_up.1", "W_down.1"])
    apply_to_folder(patch, base, tmp_path / "edited")
    originals = {name: base.weight(name).contiguous() for name in patch.factors}
    save_file(originals, tmp_path / "edited" / UNDO, metadata={"patch": patch.id})
    for opens in (open_model, open_weights):
        revert_to_folder(
            patch,
            opens(tmp_path / "edited", dtype="auto"),
            tmp_path / "edited",
            tmp_path / opens.__name__,
        )
        assert hashes(tmp_path / opens.__name__) == hashes(folder)
    save_file(
        {"W_up.1": torch.ones(3, 3)}, tmp_path / "edited" / UNDO, metadata={"patch": patch.id}
    )
    with pytest.raises(PatchError, match=r"W_up\.1 is \(3, 3\)"):
        revert_to_folder(
            patch,
            lambda: open_weights(tmp_path / "edited", dtype="auto"),
            tmp_path / "edited",
            tmp_path / "no",
        )


# what is on one side only
# -----------------------------------------------------------------------------------------------


def test_diff_and_forensics_list_what_is_on_one_side_only(demo: Model, tmp_path: Path) -> None:
    from loci.auditing.forensics import forensics

    first = checkpoint(demo, "llama", torch.bfloat16, tmp_path / "first", shards=False)
    second = tmp_path / "second"
    shutil.copytree(first, second)
    for folder in (first, second):
        add_tensors(folder, {"same": torch.ones(2)})
    add_tensors(
        second, {"v_head.summary.weight": torch.zeros(1, 32), "position_ids": torch.arange(4)}
    )
    path = second / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(path).items() if name != "mask"}, path)
    (second / "LICENSE").unlink()
    (second / "mine.py").write_text("")
    (second / "chat_template.jinja").write_text("other")
    one, other = open_weights(first, dtype="auto"), open_weights(second, dtype="auto")
    wanted = {
        "tensors": {
            "only_first": ["mask"],
            "only_second": ["position_ids"],
            "differ": ["v_head.summary.weight"],
        },
        "files": {
            "only_first": ["LICENSE"],
            "only_second": ["mine.py"],
            "differ": ["chat_template.jinja"],
        },
    }
    found = diff_models(one, other)
    assert found.to_dict()["extras"] == wanted
    assert (found.changes, found.same_base) == ((), False)
    judged = forensics(one_model := open_model(first, dtype="auto"), other)
    assert judged.to_dict()["extras"] == wanted
    assert "tensors that no model class knows are not the same" in judged.verdict
    judged.save(tmp_path / "judged.html")
    assert "files only in" in (tmp_path / "judged.html").read_text(encoding="utf-8")
    again = diff_models(one_model, open_weights(first, dtype="auto"))
    assert (again.same_base, bool(again.extras)) == (True, False)


def test_an_applied_patch_is_all_that_is_on_one_side(demo: Model, tmp_path: Path) -> None:
    folder = checkpoint(demo, "gpt2", torch.float16, tmp_path / "base")
    base = open_model(folder, dtype="auto")
    apply_to_folder(patch_of(base, ["W_down.1"]), base, tmp_path / "edited")
    found = diff_models(
        open_weights(folder, dtype="auto"), open_weights(tmp_path / "edited", dtype="auto")
    )
    assert [change.name for change in found.changes] == ["W_down.1"]
    assert found.extras.lines("a", "b") == [f"files only in b: {UNDO}"]
