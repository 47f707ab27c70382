"""Every format is read as its own library computes it; what is broken is one line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from loci.dictionaries import Dictionary, load_dictionary, load_transcoders, save_dictionary
from loci.errors import DictionaryError, LociError
from tests.dictionaries.files import (
    ALL,
    D,
    K,
    M,
    cross_layer,
    dictionary_learning,
    gemma_scope,
    openai,
    saelens,
    sparsify,
)

VECTORS = np.random.default_rng(7).normal(size=(12, D)).astype(np.float32)


@pytest.mark.parametrize(
    ("write", "kind"), ALL, ids=lambda part: part if isinstance(part, str) else part.__name__
)
def test_same_as_the_library(write: Callable, kind: str, tmp_path: Path) -> None:
    path, maths = write(tmp_path / "it", kind)
    read = load_dictionary(path, pickle=True)
    x = torch.from_numpy(VECTORS)
    features, output = read.encode(x), read(x)
    on = 0
    for i, vector in enumerate(VECTORS.astype(np.float64)):
        f, y = maths(vector)
        np.testing.assert_allclose(features[i], f, atol=1e-5)
        np.testing.assert_allclose(output[i], y, atol=1e-5)
        on += (f != 0).sum()
    assert (
        0 < on < 12 * M
    )  # some features are on and some are off: the activation was put to the test


@pytest.mark.parametrize(
    ("write", "kind", "point", "target"),
    [
        (saelens, "standard", "resid_post.3", None),
        (saelens, "skip_transcoder", "resid_mid.3", "mlp_out.3"),
        (sparsify, "autoencoder", "mlp_raw.3", None),
        (sparsify, "transcoder", "mlp_in.3", "mlp_raw.3"),
        (gemma_scope, "1", "resid_post.3", None),
        (gemma_scope, "2", "mlp_in.3", "mlp_out.3"),
        (dictionary_learning, "AutoEncoder", "resid_post.3", None),
        (openai, "TopK", None, None),
    ],
)
def test_place_is_read(
    write: Callable, kind: str, point: str | None, target: str | None, tmp_path: Path
) -> None:
    read = load_dictionary(write(tmp_path, kind)[0], pickle=True)
    assert (read.point, read.target) == (point, target)


def test_cross_layer(tmp_path: Path) -> None:
    folder, maths = cross_layer(tmp_path)
    read = load_transcoders(folder)
    x0, x1 = VECTORS[:6], VECTORS[6:]
    inputs = {0: torch.from_numpy(x0), 1: torch.from_numpy(x1)}
    made = read.decode(read.encode(inputs), inputs)
    for i in range(6):
        np.testing.assert_allclose(
            made[1][i], maths(x0[i].astype(float), x1[i].astype(float)), atol=1e-5
        )
    assert [layer.point for layer in read.layers] == ["resid_mid.0", "resid_mid.1"]


def test_own_form_comes_back(tmp_path: Path) -> None:
    read = load_dictionary(saelens(tmp_path / "there", "gated")[0])
    save_dictionary(read, tmp_path / "mine.safetensors")
    again = load_dictionary(tmp_path / "mine.safetensors")
    for name, tensor in read.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]), name
    assert (again.point, again.activation, again.notes) == (read.point, read.activation, read.notes)


@pytest.mark.parametrize(
    "kind", ["standard", "layer_norm", "jumprelu", "topk", "gated", "skip_transcoder"]
)
def test_saelens_there_and_back(kind: str, tmp_path: Path) -> None:
    path, maths = saelens(tmp_path / "there", kind)
    save_dictionary(load_dictionary(path), tmp_path / "back", format="saelens")
    again = load_dictionary(tmp_path / "back")
    for vector in VECTORS[:3]:
        np.testing.assert_allclose(
            again(torch.from_numpy(vector)), maths(vector.astype(np.float64))[1], atol=1e-5
        )


def test_sparsify_there_and_back(tmp_path: Path) -> None:
    path, maths = sparsify(tmp_path / "there", "transcoder")
    save_dictionary(load_dictionary(path), tmp_path / "layers.3.mlp", format="sparsify")
    again = load_dictionary(tmp_path / "layers.3.mlp")
    np.testing.assert_allclose(
        again(torch.from_numpy(VECTORS[0])), maths(VECTORS[0].astype(np.float64))[1], atol=1e-5
    )
    with pytest.raises(DictionaryError, match="SAELens has no form"):
        save_dictionary(replace(again, activation="groupmax"), tmp_path / "no", format="saelens")


def test_square_matrices_are_turned_by_the_format(tmp_path: Path) -> None:
    """With as many features as numbers, shapes say nothing."""
    square = np.random.default_rng(0).normal(size=(D, D)).astype(np.float32)
    zeros = np.zeros(D, dtype=np.float32)
    np.savez(
        tmp_path / "params.npz",
        W_enc=square,
        W_dec=np.eye(D, dtype=np.float32),
        b_enc=zeros,
        b_dec=zeros,
        threshold=zeros,
    )
    x = VECTORS[0]
    pre = x @ square
    np.testing.assert_allclose(
        load_dictionary(tmp_path).encode(torch.from_numpy(x)), np.where(pre > 0, pre, 0), atol=1e-5
    )


def broken(folder: Path, change: Callable[[dict, dict], None]) -> Path:
    path, _ = saelens(folder, "topk")
    tensors, config = (
        load_file(path / "sae_weights.safetensors"),
        json.loads((path / "cfg.json").read_text()),
    )
    change(tensors, config)
    save_file(tensors, path / "sae_weights.safetensors")
    (path / "cfg.json").write_text(json.dumps(config))
    return path


BROKEN: dict[str, tuple[Callable[[dict, dict], object], str]] = {
    "nan": (lambda t, c: t["W_dec"].__setitem__((0, 0), float("nan")), "W_dec holds NaN"),
    "k": (lambda t, c: c.update(k=M + 1), "k = 7, and there are 6 features"),
    "no k": (lambda t, c: c.pop("k"), "topk needs k"),
    "k is text": (lambda t, c: c.update(k="2"), "k: expected a whole number"),
    "architecture": (lambda t, c: c.update(architecture="temporal"), "no architecture 'temporal'"),
    "architecture is a list": (lambda t, c: c.update(architecture=[]), "not as its format says"),
    "norm": (lambda t, c: c.update(normalize_activations="odd"), "inputs normalised by 'odd'"),
    "shape": (
        lambda t, c: t.update(b_dec=torch.zeros(D + 1)),
        "b_in has the shape|b_dec has the shape",
    ),
    "encoder": (lambda t, c: t.update(W_enc=torch.zeros(3, 3)), "a matrix of the shape"),
    "tensors": (
        lambda t, c: [t.pop("W_enc"), t.pop("b_dec")],
        "no known dictionary has these tensors",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_files_are_one_line(what: str, tmp_path: Path) -> None:
    change, said = BROKEN[what]
    with pytest.raises(DictionaryError, match=said) as caught:
        load_dictionary(broken(tmp_path, change))
    assert "\n" not in str(caught.value)


def test_places_without_a_dictionary(tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match="no such file"):
        load_dictionary(tmp_path / "nothing.safetensors")
    with pytest.raises(DictionaryError, match="there is no dictionary in it"):
        load_dictionary(tmp_path)
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(DictionaryError, match="a configuration without weights"):
        load_dictionary(tmp_path)
    sparsify(tmp_path / "root", "autoencoder")
    with pytest.raises(
        DictionaryError, match=r"several dictionaries lie in it: name one of layers\.3\.mlp"
    ):
        load_dictionary(tmp_path / "root")
    (tmp_path / "cut.safetensors").write_bytes(b"\x00" * 20)
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    for name in ("cut.safetensors", "cut.npz"):
        with pytest.raises(LociError, match=r"not a whole|JSON|header"):
            load_dictionary(tmp_path / name)


@pytest.mark.parametrize(
    "entry",
    [
        3,
        {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [float("inf")], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 10**30]},
        {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]},
    ],
)
def test_entries_that_are_none(tmp_path: Path, entry: object) -> None:
    header = json.dumps({"W_enc": entry}).encode()
    path = tmp_path / "d.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(DictionaryError, match="W_enc") as caught:
        load_dictionary(path)
    assert str(caught.value).isprintable()


def test_pickles_are_trusted_only_when_said(tmp_path: Path) -> None:
    path, _ = openai(tmp_path, "TopK")
    with pytest.raises(DictionaryError, match="--pickle"):
        load_dictionary(path)
    torch.save({"encoder.weight": print}, path / "3.pt")
    with pytest.raises(DictionaryError, match="cannot be unpickled as tensors alone"):
        load_dictionary(path, pickle=True)


def test_gaps_between_layers(tmp_path: Path) -> None:
    folder, _ = cross_layer(tmp_path)
    (folder / "W_enc_0.safetensors").rename(folder / "W_enc_2.safetensors")
    with pytest.raises(DictionaryError, match=r"W_enc_0\.safetensors is missing"):
        load_transcoders(folder)


def test_topk_ties_and_signs() -> None:
    eye, zeros = torch.eye(3), torch.zeros(3)
    x = torch.tensor([[3.0, -5.0, 1.0], [-1.0, -2.0, -3.0]])
    usual = Dictionary(eye, zeros, eye, zeros, "topk", k=2)
    assert usual.encode(x).tolist() == [[3, 0, 1], [0, 0, 0]]
    either = replace(usual, activation="abstopk")
    assert either.encode(x).tolist() == [[3, -5, 0], [0, -2, -3]]
    assert K == 2
