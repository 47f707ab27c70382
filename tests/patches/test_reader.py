"""Patch files of every dtype and every kind of damage: taken, or one line that names file and
field.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from loci.errors import PatchError
from loci.model import Model, open_model
from loci.patches import (
    apply_to_folder,
    compress,
    diff_patches,
    export_delta,
    export_peft,
    load_patch,
    merge,
    revert_to_folder,
)
from tests.patches.making import BIRD, JORDAN, patch_of

Tensors = dict[str, torch.Tensor]
Header = dict[str, Any]
PLAIN = [torch.bfloat16, torch.float16, torch.float32, torch.float64]
LEFT, RIGHT = "W_down.1.left", "W_down.1.right"


@pytest.fixture
def file(demo: Model, tmp_path: Path) -> Path:
    patch_of(demo, ["W_down.1"]).save(tmp_path / "p.safetensors")
    return tmp_path / "p.safetensors"


def rewrite(
    path: Path,
    change: Callable[[Tensors], Tensors] = lambda tensors: tensors,
    said: Callable[[Header], Any] = lambda header: header,
    out: str | None = None,
) -> Path:
    """The file saved again, its tensors and its header as the functions make them."""
    with safe_open(path, "pt") as opened:
        header = json.loads(opened.metadata()["loci"])
    path_out = path.with_name(out) if out else path
    made = said(header)
    save_file(
        change(load_file(path)),
        path_out,
        metadata={"loci": made if isinstance(made, str) else json.dumps(made)},
    )
    return path_out


@pytest.mark.parametrize("dtype", PLAIN)
@torch.no_grad()
def test_every_verb_takes_plain_dtypes(
    demo: Model, file: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    """With the numbers that the file holds, to the last bit."""
    stored = {name: tensor.to(dtype) for name, tensor in load_file(file).items()}
    patch = load_patch(rewrite(file, lambda _: stored))
    assert torch.equal(
        patch.factors["W_down.1"].delta, stored[LEFT].double() @ stored[RIGHT].double()
    )
    assert patch.to_dict()["weights"]["W_down.1"]["rank"] == 2
    assert len(patch.id) == 12
    patch.save(tmp_path / "again.safetensors")
    assert load_patch(tmp_path / "again.safetensors").id == patch.id

    before = demo.fingerprint
    weight = demo.W_down(1).clone()
    with patch.applied(demo):
        assert torch.equal(
            demo.W_down(1), (weight.double() + patch.factors["W_down.1"].delta).float()
        )
    assert demo.fingerprint == before
    other = patch_of(demo, ["W_down.1"], [BIRD], seed=5)
    assert merge([patch, other]).factors["W_down.1"].rank == 4
    assert diff_patches(patch, other).changes[0].rank == 4
    assert compress(patch, 1).factors["W_down.1"].rank == 1
    export_delta(patch, demo, tmp_path / "delta.safetensors")
    delta = load_file(tmp_path / "delta.safetensors")["transformer.h.1.mlp.c_proj.weight"]
    torch.testing.assert_close(
        delta.T.double(), patch.factors["W_down.1"].delta, rtol=1e-6, atol=1e-7
    )
    export_peft(patch, demo, tmp_path / "adapter")
    if dtype == torch.bfloat16:
        apply_to_folder(patch, demo, tmp_path / "edited")
        revert_to_folder(patch, lambda: demo, tmp_path / "edited", tmp_path / "back")
        assert open_model(tmp_path / "back").fingerprint == before


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float8_e4m3fn,
        torch.float8_e5m2,
        torch.int8,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ],
)
def test_other_dtypes_are_refused(file: Path, dtype: torch.dtype) -> None:
    rewrite(file, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    word = str(dtype).removeprefix("torch.")
    with pytest.raises(
        PatchError,
        match=rf"p\.safetensors: W_down\.1\.(left|right) is {word}, and a patch holds float32",
    ):
        load_patch(file)


def only(**more: torch.Tensor | None) -> Callable[[Tensors], Tensors]:
    """The tensors with others in their places, or without some; `__` stands for a dot."""
    named = {name.replace("__", "."): tensor for name, tensor in more.items()}
    return lambda tensors: {
        name: tensor for name, tensor in (tensors | named).items() if tensor is not None
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            only(W_down__1__left=torch.ones(256, 0), W_down__1__right=torch.ones(0, 1024)),
            "are empty .* a rank is 1 or more",
        ),
        (only(W_down__1__left=torch.ones(0, 2)), "are empty"),
        (only(W_down__1__left=torch.ones(256)), "do not fit"),
        (only(W_down__1__left=torch.ones(256, 3)), "do not fit"),
        (only(W_down__1__left=torch.ones(1, 256, 2)), "do not fit"),
        (
            only(W_down__1__left=torch.full((256, 2), torch.nan)),
            r"W_down\.1\.left holds NaN or infinite",
        ),
        (
            only(W_down__1__right=torch.full((2, 1024), -torch.inf)),
            r"W_down\.1\.right holds NaN or infinite",
        ),
        (only(W_down__1__right=None), r"W_down\.1\.right is missing"),
        (only(W_down__1__left=None, W_down__1__right=None), "changes nothing"),
        (only(extra=torch.ones(3)), "'extra' is no part of a patch"),
        (only(W_down__1__middle=torch.ones(3)), "no part of a patch"),
        (only(W_Q__1__left=torch.ones(3, 1)), "no part of a patch"),
        (only(W_down__01__left=torch.ones(256, 2)), "no part of a patch"),
        (only(**{"W_down__99999999999999999999__left": torch.ones(256, 2)}), "no part of a patch"),
        (only(neurons__1__up=torch.ones(2, 256)), r"neurons\.1\.bias is missing"),
        (
            only(
                neurons__1__up=torch.ones(2, 256),
                neurons__1__bias=torch.ones(2),
                neurons__1__down=torch.ones(255, 2),
            ),
            "do not fit",
        ),
        (
            only(
                neurons__1__up=torch.ones(0, 256),
                neurons__1__bias=torch.ones(0),
                neurons__1__down=torch.ones(256, 0),
            ),
            "adds no neuron",
        ),
    ],
)
def test_tensors_that_are_no_patch(
    file: Path, change: Callable[[Tensors], Tensors], says: str
) -> None:
    rewrite(file, change)
    with pytest.raises(PatchError, match=says) as refused:
        load_patch(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


FACT = JORDAN.to_dict()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (lambda h: [], "schema None"),
        (lambda h: "null", "schema None"),
        (lambda h: "{", "not JSON"),
        (lambda h: "[" * 100_000, "nested more than|not JSON"),
        (lambda h: json.dumps(h)[:-1] + ', "x": ' + "9" * 5000 + "}", "integer of 5,000 digits"),
        (
            lambda h: h | {"schema": "loci.patch/2"},
            r"schema 'loci\.patch/2'; this version reads 'loci\.patch/1'",
        ),
        (lambda h: h | {"schema": ["loci.patch/1"]}, "schema"),
        (lambda h: h | {"method": 3}, "method: expected"),
        (lambda h: h | {"base": None}, "base: expected"),
        (lambda h: h | {"base": "sha256:short"}, "base: "),
        (lambda h: h | {"base_name": ["demo"]}, "base_name: expected"),
        (lambda h: {k: v for k, v in h.items() if k != "base"}, "base: is missing"),
        (lambda h: h | {"numbers": []}, "numbers: expected"),
        (lambda h: h | {"facts": {}}, "facts: expected"),
        (lambda h: h | {"facts": ["x"]}, r"facts\.0: expected"),
        (lambda h: h | {"facts": [FACT, FACT | {"subject": 5}]}, r"facts\.1: subject"),
        (
            lambda h: h | {"facts": [FACT | {"prompt": "no blank"}]},
            r"facts\.0: the prompt 'no blank' needs",
        ),
        (lambda h: h | {"facts": [FACT | {"subject": "\ud800"}]}, "half a character"),
        (
            lambda h: h | {"numbers": {"error": {"W_down.1": "x"}}},
            r"numbers: error\.W_down\.1: expected",
        ),
        (
            lambda h: h | {"numbers": {"parents": [{"id": "a"}]}},
            r"numbers: parents\.0\.method: is missing",
        ),
        (
            lambda h: h | {"numbers": {"interaction": {"W_down.1": {"cosine": [1]}}}},
            r"numbers: interaction\.W_down\.1",
        ),
        (lambda h: h | {"numbers": {"dropped": [{"subject": "x"}]}}, r"numbers\.dropped\.0"),
        (
            lambda h: h | {"numbers": {"dropped": [FACT | {"new_answer": None}]}},
            "without new_answer",
        ),
        (lambda h: h | {"numbers": {"left_out": "all"}}, r"left_out: expected"),
    ],
)
def test_headers_that_are_none(file: Path, said: Callable[[Header], Any], says: str) -> None:
    rewrite(file, said=said)
    with pytest.raises(PatchError, match=says) as refused:
        load_patch(file)
    assert str(file) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_astronomic_rank(file: Path) -> None:
    """Written by hand, as no library makes one."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for shape in ([256, 10**30], [256, 2**62], [256, -2]):
        header[LEFT]["shape"] = shape
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        with pytest.raises(PatchError, match="not a whole safetensors file") as refused:
            load_patch(file)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "entry",
    [None, 3, [], {}, {"dtype": ["F32"]}, {"dtype": "F32", "shape": None, "data_offsets": [0, 1]}],
)
def test_broken_entries(file: Path, entry: object) -> None:
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + length]) | {LEFT: entry}).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    with pytest.raises(PatchError, match="not a whole safetensors file"):
        load_patch(file)


def test_places_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(PatchError, match="not a regular file"):
        load_patch(tmp_path)
    with pytest.raises(PatchError, match="there is no patch file"):
        load_patch(tmp_path / "gone")
    with pytest.raises(PatchError):
        load_patch(tmp_path / ("x" * 300))


@pytest.mark.parametrize("name", ["W_down.99", "W_gate.1"])
def test_weights_that_the_model_does_not_have(
    demo: Model, file: Path, tmp_path: Path, name: str
) -> None:
    from loci.errors import LociError

    rewrite(
        file,
        lambda tensors: {key.replace("W_down.1", name): tensor for key, tensor in tensors.items()},
    )
    patch = load_patch(file)
    for use in (
        lambda: apply_to_folder(patch, demo, tmp_path / "x"),
        lambda: export_delta(patch, demo, tmp_path / "x"),
        lambda: export_peft(patch, demo, tmp_path / "x"),
    ):
        with pytest.raises(LociError) as refused:
            use()
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "x").exists()


def test_factors_of_another_models_shape(demo: Model, file: Path, tmp_path: Path) -> None:
    rewrite(file, lambda tensors: {LEFT: torch.ones(8, 1), RIGHT: torch.ones(1, 9)})
    patch = load_patch(file)
    for use in (
        lambda: apply_to_folder(patch, demo, tmp_path / "x"),
        lambda: export_delta(patch, demo, tmp_path / "x"),
        lambda: export_peft(patch, demo, tmp_path / "x"),
    ):
        with pytest.raises(
            PatchError, match=r"W_down\.1 is \(256, 1024\) in this model and \(8, 9\) in the patch"
        ):
            use()
    assert not (tmp_path / "x").exists()
