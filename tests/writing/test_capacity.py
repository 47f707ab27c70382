"""Bisection, the protocol's document, and the compiler's descent against functions whose minimum is
known.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import FactError, WriteError
from loci.facts import FactSet
from loci.model import Model
from loci.writing import capacity, case, compiled, subject_case
from loci.writing.capacity_search import bisected, bracket
from loci.writing.closed_form import conjugate_gradients
from loci.writing.compiler import whitener
from loci.writing.lbfgs import minimise


@given(
    true=st.integers(1, 4000), guess=st.integers(1, 4000), precision=st.sampled_from([0.0, 0.05])
)
def test_bisection_finds_the_smallest(true: int, guess: int, precision: float) -> None:
    asked: list[int] = []

    def enough(size: int) -> bool:
        asked.append(size)
        return size >= true

    low, high = bracket(enough, guess, 4000)
    assert high is not None
    found = bisected(enough, low, high, precision)
    assert true <= found <= max(true + 1, true * (1 + precision)) if precision else found == true
    assert len(asked) < 60


def test_nothing_is_enough() -> None:
    assert bracket(lambda size: False, 5, 100) == (100, None)


def test_document() -> None:
    found = capacity(case(8, 16), ["random-relu", "compiled-relu", "outer-product"])
    document = found.to_dict()
    assert (document["schema"], document["dim"], document["facts"]) == ("loci.capacity/1", 8, 16)
    fields = ["method", "neurons", "parameters", "bits_per_parameter", "recall", "seconds"]
    assert all(list(row) == fields for row in document["rows"])
    compiler = found.of("compiled-relu")
    assert compiler.recall == 1
    assert compiler.neurons < found.of("random-relu").neurons
    assert compiler.bits_per_parameter == pytest.approx(case(8, 16).bits / compiler.parameters)
    with pytest.raises(WriteError, match="no method"):
        capacity(case(8, 16), ["magic"])


def test_more_bits_than_gradient_descent_reaches_at_once() -> None:
    """1.5 bits a parameter in a small case, in a second."""
    table = case(16, 128)
    mlp = compiled(table, 10, act="silu", gated=True)
    assert float(table.margins(mlp(table.keys)).min()) > 0
    assert table.bits / mlp.parameters > 1.4


def test_lbfgs_solves_a_quadratic_and_a_kinked_function() -> None:
    source = torch.Generator().manual_seed(0)
    root = torch.randn(30, 30, generator=source, dtype=torch.float64)
    A, b = root @ root.T + torch.eye(30), torch.randn(30, generator=source, dtype=torch.float64)
    x = minimise(
        lambda x: (float(0.5 * x @ A @ x - b @ x), A @ x - b),
        torch.zeros_like(b),
        200,
        30,
        lambda *_: False,
    )
    assert torch.allclose(x, torch.linalg.solve(A, b), atol=1e-5)
    weights = torch.arange(1.0, 9.0)
    y = minimise(
        lambda x: (float((weights * x.abs()).sum()), weights * x.sign()),
        torch.linspace(1, 2, 8),
        300,
        10,
        lambda *_: False,
    )
    assert float((weights * y.abs()).sum()) < 1e-2 * float(
        (weights * torch.linspace(1, 2, 8)).sum()
    )


def test_conjugate_gradients() -> None:
    root = torch.randn(12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    A, b = root @ root.T + torch.eye(12), torch.ones(12, dtype=torch.float64)
    assert torch.allclose(conjugate_gradients(lambda x: A @ x, b, 50), torch.linalg.solve(A, b))


def test_whitener() -> None:
    rows = case(6, 40, "anisotropic").keys.double() @ torch.randn(6, 10, dtype=torch.float64)
    white = rows @ whitener(rows)
    assert white.shape[1] == 6
    assert torch.allclose(white.T @ white / 40, torch.eye(6).double() / 6)


def test_a_models_own_keys(demo: Model, world: FactSet) -> None:
    table = subject_case(demo, list(world), 1, 32)
    assert table.keys.shape == (32, demo.d_model)
    assert float(table.keys.pow(2).sum(1).mean()) == pytest.approx(1, rel=1e-5)
    mlp = compiled(table, 16)
    assert float(table.margins(mlp(table.keys)).min()) > 0
    with pytest.raises(FactError, match="are asked for"):
        subject_case(demo, list(world)[:3], 1, 32)
