"""A patch written to a GGUF file, read by the gguf package: edited tensors as meant, all else byte
for byte, and the way back.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gguf")

import gguf

import loci
from loci.cli.app import main
from loci.errors import ModelError, OutputError, PatchError
from loci.facts import Fact
from loci.model import Model
from loci.patches import (
    Patch,
    apply_to_gguf,
    export_gguf_lora,
    gguf_files,
    load_patch,
    revert_gguf,
    undo_of,
    write_modelfile,
    written_type,
)
from tests.model.gguf.files import tiny, write
from tests.patches.making import all_names, patch_of, random_factors

STEMS = {"W_up": "ffn_up", "W_gate": "ffn_gate", "W_down": "ffn_down"}
STEP = {"F32": 1e-7, "F16": 2**-11, "BF16": 2**-8, "Q8_0": 1 / 127}
"""Rounding, as a share of a row's largest value."""


@pytest.fixture(scope="module")
def bases(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Model]]:
    """Files of three families, quantised where rows allow, and the models opened from them."""
    folder = tmp_path_factory.mktemp("gguf")
    made = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LOCI_CACHE", str(folder / "cache"))
        for name in ("llama", "gemma3", "gpt2"):
            path = write(
                folder / f"{name}.gguf",
                tiny(name, demo.d_vocab),
                name,
                demo,
                dtype=gguf.GGMLQuantizationType.Q8_0,
            )
            made[name] = path, loci.open(path)
    return made


def values(reader: gguf.GGUFReader, name: str) -> np.ndarray:
    found = next(t for t in reader.tensors if t.name == name)
    return gguf.dequantize(found.data, found.tensor_type).reshape(found.shape[::-1])


def edited(model: Model) -> Patch:
    """Random changes of two layers' weights."""
    first, second = (
        patch_of(model, all_names(model, 1)),
        patch_of(model, ["W_down.0"], rank=1, seed=5),
    )
    return Patch(
        "test", first.base, first.base_name, {**first.factors, **second.factors}, first.facts
    )


def tensor(name: str) -> str:
    stem, _, layer = name.partition(".")
    return f"blk.{layer}.{STEMS[stem]}.weight"


@pytest.mark.parametrize(
    ("family", "kind"), [("llama", "F16"), ("gemma3", "Q8_0"), ("gpt2", "BF16")]
)
def test_edited_tensors_as_meant_and_all_else_byte_for_byte(
    bases: dict[str, tuple[Path, Model]], tmp_path: Path, family: str, kind: str
) -> None:
    path, model = bases[family]
    patch = edited(model)
    made = apply_to_gguf(patch, model, path, tmp_path / "edited.gguf", stored_as=kind)
    before, after = gguf.GGUFReader(path), gguf.GGUFReader(tmp_path / "edited.gguf")
    assert [t.name for t in before.tensors] == [t.name for t in after.tensors]
    for key, field in before.fields.items():
        assert [part.tobytes() for part in field.parts] == [
            part.tobytes() for part in after.fields[key].parts
        ]
    exact = {
        tensor(name): values(before, tensor(name)) + f.delta.numpy()
        for name, f in patch.factors.items()
    }
    for old, new in zip(before.tensors, after.tensors, strict=True):
        if old.name not in exact:
            assert (old.tensor_type, old.data.tobytes()) == (
                new.tensor_type,
                new.data.tobytes(),
            ), old.name
            continue
        assert new.tensor_type.name == kind
        wanted, found = exact[old.name], values(after, old.name)
        assert np.abs(found - wanted).max() <= STEP[kind] * np.abs(wanted).max()
    assert {tensor(name) for name in made.rounding} == set(exact) == set(made.tensors)
    for name, error in made.rounding.items():
        off = np.linalg.norm(values(after, tensor(name)) - exact[tensor(name)])
        assert error == pytest.approx(off / patch.factors[name].norm, rel=1e-3)
    revert_gguf(patch, tmp_path / "edited.gguf", tmp_path / "back.gguf")
    assert (tmp_path / "back.gguf").read_bytes() == path.read_bytes()


@torch.no_grad()
def test_the_edited_file_opens_as_the_patched_model(
    bases: dict[str, tuple[Path, Model]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path / "cache"))
    path, model = bases["gemma3"]
    patch, ids = edited(model), model.ids([model.tokenize("Michael plays").ids])
    base = model(ids)
    apply_to_gguf(patch, model, path, tmp_path / "edited.gguf", stored_as="F32")
    assert torch.equal(model(ids), base)
    with patch.applied(model):
        wanted = model(ids)
    torch.testing.assert_close(
        loci.open(tmp_path / "edited.gguf")(ids), wanted, atol=1e-4, rtol=1e-4
    )
    assert not torch.allclose(wanted, base, atol=1e-2)


def test_answers_are_asked_with_the_weights_as_written(
    bases: dict[str, tuple[Path, Model]], tmp_path: Path
) -> None:
    """What the model says after the prompt is a fact's new answer; a weight that rounding ruins
    does not give it.
    """
    path, model = bases["llama"]
    patch = edited(model)
    with patch.applied(model):
        word = model.tokenizer.decode(
            [int(model(model.ids([model.tokenize("Osaka is").ids]))[0, -1].argmax())]
        ).strip()
    facts = (
        Fact("Osaka", "{} is", "old").to(word),
        Fact("Osaka", "{} was never", "old").to("Michael Jordan"),
    )
    asked = Patch("test", patch.base, patch.base_name, patch.factors, facts)
    made = apply_to_gguf(asked, model, path, tmp_path / "edited.gguf", stored_as="F32")
    with asked.applied(model):
        given = [
            score.said
            for score in loci.model.score_answers(
                model, [(f.text, f.new_answer or "") for f in facts]
            )
        ]
    assert (made.said.n, made.said.value) == (2, sum(given) / 2)
    assert made.failed == tuple(
        fact.text for fact, said in zip(facts, given, strict=True) if not said
    )
    assert "Osaka was never" in made.failed


def test_an_adapter_adds_the_patch(bases: dict[str, tuple[Path, Model]], tmp_path: Path) -> None:
    for family, (_, model) in bases.items():
        patch = edited(model)
        path = tmp_path / f"{family}.gguf"
        assert export_gguf_lora(patch, model, path) == family
        reader = gguf.GGUFReader(path)
        stated = {key: field.contents() for key, field in reader.fields.items()}
        assert (stated["general.type"], stated["adapter.type"], stated["general.architecture"]) == (
            "adapter",
            "lora",
            family,
        )
        parts = {t.name: t.data for t in reader.tensors}
        assert len(parts) == 2 * len(patch.factors)
        for name, factors in patch.factors.items():
            A, B = parts[f"{tensor(name)}.lora_a"], parts[f"{tensor(name)}.lora_b"]
            scale = (
                stated["adapter.lora.alpha"] / B.shape[1]
            )  # as llama.cpp: alpha over this pair's rank
            np.testing.assert_allclose(scale * B @ A, factors.delta.numpy(), atol=1e-5)


def test_a_modelfile_names_base_and_adapter(tmp_path: Path) -> None:
    made = write_modelfile(tmp_path, "llama3.2:1b", "./adapter.gguf")
    assert made.read_text() == "FROM llama3.2:1b\nADAPTER ./adapter.gguf\n"
    with pytest.raises(OutputError, match="not replaced"):
        write_modelfile(tmp_path, "other")


@pytest.mark.parametrize("name", ["Q4_K_M", "q6_k", "IQ4_XS", "int4"])
def test_types_that_cannot_be_written_are_refused(name: str) -> None:
    with pytest.raises(PatchError, match=r"cannot be written as .*F32, F16, BF16, Q8_0 can"):
        written_type(name)


def test_what_does_not_fit_is_refused_before_anything_is_written(
    bases: dict[str, tuple[Path, Model]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = bases["llama"]
    patch, out = edited(model), tmp_path / "edited.gguf"
    other = Patch("test", bases["gpt2"][1].fingerprint, "other", patch.factors, patch.facts)
    with pytest.raises(PatchError, match="not the same base"):
        apply_to_gguf(other, model, path, out)
    with pytest.raises(PatchError, match="is the base itself"):
        apply_to_gguf(patch, model, path, path)
    wild = {"W_down.0": random_factors(*model.weight("W_down.0").shape, 1, scale=1e4)}
    with pytest.raises(ModelError, match="more than F16 can"):
        apply_to_gguf(Patch("test", patch.base, "x", wild, ()), model, path, out)
    with monkeypatch.context() as patched:
        patched.setattr(
            gguf_files.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000})
        )
        with pytest.raises(OutputError, match="are free"):
            apply_to_gguf(patch, model, path, out)

    def full(place: Path, blocks: object) -> str:
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(gguf_files, "write_file", full)
        with pytest.raises(OutputError, match="No space left"):
            apply_to_gguf(patch, model, path, out)
    assert list(tmp_path.iterdir()) == []


def test_only_what_was_applied_comes_off(
    bases: dict[str, tuple[Path, Model]], tmp_path: Path
) -> None:
    path, model = bases["llama"]
    patch, out = edited(model), tmp_path / "edited.gguf"
    apply_to_gguf(patch, model, path, out)
    with pytest.raises(PatchError, match=f"has the patch {patch.id}"):
        revert_gguf(patch_of(model, ["W_down.1"], seed=9), out, tmp_path / "back.gguf")
    with pytest.raises(PatchError, match=re.escape(".loci-undo.safetensors beside it")):
        revert_gguf(patch, path, tmp_path / "back.gguf")
    data = bytearray(out.read_bytes())
    data[-40] ^= 1
    out.write_bytes(data)
    with pytest.raises(PatchError, match="was changed since"):
        revert_gguf(patch, out, tmp_path / "back.gguf")
    assert not (tmp_path / "back.gguf").exists()


def test_as_a_user_runs_it(
    bases: dict[str, tuple[Path, Model]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, model = bases["llama"]
    monkeypatch.setenv("LOCI_CACHE", str(path.parent / "cache"))
    monkeypatch.chdir(tmp_path)
    patch = edited(model)
    patch.save("p.safetensors")

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["loci", "patch", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        return int(ended.value.code or 0), *capsys.readouterr()

    status, out, err = call(
        "apply", "p.safetensors", "-m", path, "-o", "edited.gguf", "--as", "q8_0", "--json"
    )
    document = json.loads(out)
    assert (status, document["schema"], document["as"], document["said"]["n"]) == (
        0,
        "loci.patch_apply/1",
        "Q8_0",
        1,
    ), err
    assert undo_of("edited.gguf").is_file()
    status, out, err = call("revert", "p.safetensors", "-m", "edited.gguf", "-o", "back.gguf")
    assert (status, Path("back.gguf").read_bytes()) == (0, path.read_bytes()), err
    status, out, err = call(
        "export",
        "p.safetensors",
        "-f",
        "gguf-lora",
        "--modelfile",
        "-m",
        path,
        "-o",
        "a/adapter.gguf",
        "--json",
    )
    assert (status, json.loads(out)["architecture"]) == (0, "llama"), err
    assert Path("a/Modelfile").read_text() == f"FROM {path}\nADAPTER ./adapter.gguf\n"
    for words in (
        ("apply", "p.safetensors", "-m", path, "-o", "x.gguf", "--as", "Q4_K_M"),
        ("apply", "p.safetensors", "-m", "demo", "-o", "x.gguf"),
        ("apply", "p.safetensors", "-m", path, "-o", "folder", "--as", "F16"),
        ("revert", "p.safetensors", "-m", path, "-o", "x.gguf"),
        ("export", "p.safetensors", "-f", "peft", "--modelfile", "-m", path, "-o", "y"),
    ):
        status, out, err = call(*words)
        assert (status, out, err.count("\n")) == (2, "", 1), words
    assert not {"x.gguf", "folder", "y"} & {entry.name for entry in tmp_path.iterdir()}
    assert load_patch("p.safetensors").id == patch.id
