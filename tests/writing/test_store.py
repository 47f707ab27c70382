"""Every store: any feasible case at a comfortable budget is recalled, and what the report says is
what the weights do.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loci.errors import WriteError
from loci.writing import (
    METHODS,
    MLP,
    FactTable,
    case,
    classes,
    compiled,
    load_mlp,
    load_table,
    save_mlp,
    store,
    stores,
    vectors,
)
from loci.writing.mlp import ACTIVATIONS
from loci.writing.storage import stored_bits

ROOMY = {
    "one-per-fact": 1.0,
    "random-relu": 2.0,
    "bilinear-whitened": 2.0,
    "bilinear-fitted": 2.0,
    "compiled-relu": 1.0,
    "compiled-gelu": 1.0,
    "compiled-gated": 1.0,
}
"""Neurons a fact that are comfortable. Linear stores and the bilinear one that only adds are not
here: no number of neurons makes them exact.
"""


@given(
    method=st.sampled_from(sorted(ROOMY)),
    dim=st.integers(8, 20),
    facts=st.integers(4, 24),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=20)
def test_comfortable_cases_are_recalled(method: str, dim: int, facts: int, seed: int) -> None:
    table = case(dim, facts, seed=seed)
    made = store(table, max(8, math.ceil(ROOMY[method] * facts)), method)
    assert made.recall == 1
    assert made.lost == ()
    assert made.margin > 0
    assert made.words.startswith("All")


@given(method=st.sampled_from(sorted(METHODS)), seed=st.integers(0, 10**6), size=st.integers(2, 12))
@settings(max_examples=12)
def test_the_report_is_what_the_weights_do(method: str, seed: int, size: int) -> None:
    table = case(6, 12, seed=seed)
    made = store(table, size, method)
    keys, values = table.keys.double().numpy(), table.values.double().numpy()
    scores = _by_hand(made.mlp, keys) @ values.T
    margins = []
    for i, label in enumerate(table.labels.tolist()):
        margins.append(scores[i, label] - max(scores[i, j] for j in range(12) if j != label))
    assert made.margin == pytest.approx(min(margins), rel=1e-3, abs=1e-3 * np.abs(scores).max())
    sure = 1e-4 * np.abs(scores).max()
    assert (
        {i for i, m in enumerate(margins) if m < -sure}
        <= set(made.lost)
        <= {i for i, m in enumerate(margins) if m < sure}
    )
    assert made.mlp.parameters == sum(t.numel() for t in made.mlp.tensors.values())
    assert made.recall == pytest.approx(1 - len(made.lost) / 12)


def _by_hand(mlp: MLP, keys: np.ndarray) -> np.ndarray:
    tensors = {name: t.double().numpy() for name, t in mlp.tensors.items()}
    pre = keys @ tensors["W_gate" if "W_gate" in tensors else "W_up"].T + tensors.get("bias", 0.0)
    active = {
        "relu": lambda z: np.maximum(z, 0),
        "gelu": lambda z: 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2))),
        "silu": lambda z: z / (1 + np.exp(-z)),
        "identity": lambda z: z,
    }[mlp.act](pre)
    if "W_gate" in tensors:
        active = active * (keys @ tensors["W_up"].T)
    return active @ tensors["W_down"].T


def test_jacobians_by_finite_differences() -> None:
    made = store(case(6, 12), 12, "compiled-gated")
    mlp = made.mlp.map(torch.Tensor.double)
    key, h = case(6, 12).keys[0].double(), 1e-6
    columns = [
        (mlp((key + h * e)[None]) - mlp((key - h * e)[None]))[0] / (2 * h)
        for e in torch.eye(6).double()
    ]
    assert torch.allclose(
        mlp.jacobians(key[None])[0], torch.stack(columns, 1), rtol=1e-4, atol=1e-6
    )


def test_more_facts_than_fit_is_said() -> None:
    table = case(8, 64)
    found = stores(table, 4, ["least-squares", "compiled-relu", "one-per-fact"])
    assert 0 < found.best.recall < 1
    assert f"{len(found.best.lost)} found no room" in found.best.words
    assert found.best.bits < table.bits
    assert found.best.recall == max(one.recall for one in found.stores)


def test_linear_stores_are_the_matrices() -> None:
    table = case(8, 6).to(torch.float64)
    hebb, least = (METHODS[name](table, 8) for name in ("outer-product", "least-squares"))
    assert torch.allclose(hebb.W_down @ hebb.W_up, table.targets.T @ table.keys)
    assert torch.allclose(least(table.keys), table.targets)


def test_compiled_margins_are_one_and_the_same_twice() -> None:
    table = case(12, 32)
    one, two = (store(table, 16, "compiled-relu") for _ in range(2))
    assert one.margin == pytest.approx(1, rel=1e-3)
    assert torch.equal(one.mlp.W_up, two.mlp.W_up)


def test_classes_and_vectors() -> None:
    keys = case(10, 20).keys
    labels = torch.arange(20) % 3
    made = store(classes(keys, labels), 10, "compiled-relu")
    assert made.recall == 1
    assert made.bits == pytest.approx(20 * math.log2(3))
    answers = torch.randn(3, 5)[labels]
    table = vectors(keys, answers)
    assert torch.equal(table.targets, answers)
    assert len(table.values) == 3


def test_keys_far_from_round() -> None:
    """Anisotropic keys with a large common part, as in a model."""
    base = case(16, 40, "anisotropic")
    table = FactTable(base.keys + 3 * torch.ones(16), base.values, base.labels)
    assert store(table, 40, "compiled-relu").recall == 1
    assert store(table, 40, "one-per-fact").recall == 1


def test_bits() -> None:
    table = case(8, 16)
    assert table.bits == pytest.approx(math.log2(math.factorial(16)))
    assert stored_bits(table, 1.0) == table.bits
    assert stored_bits(table, 1 / 16) == pytest.approx(0, abs=1e-9)


def test_saved_and_read(tmp_path) -> None:
    from safetensors.torch import save_file

    mlp = store(case(6, 8), 8, "compiled-gated").mlp
    save_mlp(mlp, tmp_path / "mlp.safetensors")
    again = load_mlp(tmp_path / "mlp.safetensors")
    assert again.act == mlp.act
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in mlp.tensors.items())
    keys = case(6, 8).keys
    save_file({"keys": keys, "labels": torch.arange(8)}, tmp_path / "table.safetensors")
    assert torch.equal(load_table(tmp_path / "table.safetensors").keys, keys)
    save_file({"keys": keys}, tmp_path / "bare.safetensors")
    for path in ("bare.safetensors", "missing.safetensors"):
        with pytest.raises(WriteError):
            load_table(tmp_path / path)
    with pytest.raises(WriteError, match="no MLP"):
        load_mlp(tmp_path / "bare.safetensors")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keys": torch.eye(4).to(torch.complex64)}, "keys: expected plain .* found complex64"),
        ({"keys": torch.eye(4).to(torch.float8_e4m3fn)}, "keys: expected plain .* found float8"),
        ({"keys": torch.eye(4).long()}, "keys: expected plain .* found int64"),
        ({"labels": torch.tensor([0, 1, 2, -1])}, "whole numbers from 0 on, .* smallest -1"),
        ({"labels": torch.arange(4.0) + 0.5}, "whole numbers from 0 on, found float32"),
        ({"labels": torch.full((4,), torch.nan)}, "whole numbers from 0 on, found float32"),
        ({"labels": torch.tensor([0, 1, 2, 10**12])}, r"1,000,000,000,001 classes: at most"),
        ({"values": torch.eye(4).to(torch.complex64)}, "values: expected plain"),
        ({"answers": torch.eye(4).bool()}, "answers: expected plain .* found bool"),
    ],
)
def test_tables_of_other_numbers(tmp_path, change: dict[str, torch.Tensor], words: str) -> None:
    """Nothing is cut off to make a number of it."""
    from safetensors.torch import save_file

    save_file(
        {"keys": torch.eye(4), "labels": torch.arange(4)} | change, tmp_path / "t.safetensors"
    )
    with pytest.raises(WriteError, match=words):
        load_table(tmp_path / "t.safetensors")


def test_bad_tables() -> None:
    keys = torch.eye(4)
    labels = torch.arange(4)
    twice = torch.cat([keys, keys[:1]])
    for wrong, match in (
        (lambda: classes(keys[:0], labels[:0], 4), "no facts"),
        (lambda: classes(keys[:, :1], labels), "two dimensions"),
        (lambda: classes(keys, torch.tensor([0, 1, 2, 9]), 4), "9 at fact 3"),
        (lambda: classes(keys * torch.tensor([[1.0], [0], [1], [1]]), labels), "key 1 is zero"),
        (
            lambda: classes(keys * torch.tensor([[1.0], [1], [torch.nan], [1]]), labels),
            "key 2 holds NaN",
        ),
        (
            lambda: classes(twice, torch.tensor([0, 1, 2, 3, 3])),
            r"different answers in facts \[0, 4\]",
        ),
        (lambda: classes(keys, labels[:2]), "each key has one"),
        (lambda: classes(keys, torch.zeros(4, dtype=torch.long)), "two values"),
        (lambda: store(classes(keys, labels), 0), "one neuron"),
        (lambda: compiled(classes(keys, labels), 0), "one neuron"),
        (lambda: store(classes(keys, labels), 4, "magic"), "no method"),
        (lambda: stores(classes(keys, labels), 4, ["one-per-fact", "magic"]), "no method"),
        (lambda: MLP("magic", keys, keys), "no activation"),
        (lambda: case(1, 8), "two dimensions"),
        (lambda: case(8, 8, "flat"), "no geometry"),
    ):
        with pytest.raises(WriteError, match=match):
            wrong()
    assert len(classes(twice, torch.tensor([0, 1, 2, 3, 0]))) == 5
    assert set(ACTIVATIONS) == {"relu", "gelu", "silu", "identity"}
