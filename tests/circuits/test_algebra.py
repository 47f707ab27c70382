"""Low-rank algebra against dense matrices in float64; spaces that do not meet."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loci.circuits import BilinearForm, DenseMap, LinearMap, VectorSpace

SIZES = st.integers(1, 9)
FEW = settings(max_examples=30)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def a_map(seed: int, target: VectorSpace, source: VectorSpace, rank: int) -> LinearMap:
    return LinearMap(
        drawn(seed, target.size, rank), drawn(seed + 1, rank, source.size), target, source
    )


def a_form(seed: int, query: VectorSpace, key: VectorSpace, rank: int) -> BilinearForm:
    return BilinearForm(drawn(seed, query.size, rank), drawn(seed + 1, rank, key.size), query, key)


@FEW
@given(SIZES, SIZES, SIZES, SIZES, SIZES, st.integers(0, 1000))
def test_products_norms_and_singular_values_are_those_of_the_dense(
    x: int, y: int, z: int, r: int, s: int, seed: int
) -> None:
    X, Y, Z = VectorSpace("x", x), VectorSpace("y", y), VectorSpace("z", z)
    A, B = a_map(seed, Z, Y, r), a_map(seed + 7, Y, X, s)
    whole = DenseMap(drawn(seed + 3, y, x), Y, X)
    for product, dense in (
        (A @ B, A.dense @ B.dense),
        (A @ whole, A.dense @ whole.matrix),
        (A.T, A.dense.T),
    ):
        torch.testing.assert_close(product.dense, dense)
        assert product.norm == pytest.approx(float(dense.norm()), rel=1e-9, abs=1e-12)
        expected = np.linalg.svd(dense.numpy(), compute_uv=False)
        found = product.singular_values.numpy()
        common = min(len(found), len(expected))
        np.testing.assert_allclose(found[:common], expected[:common], atol=1e-9)
        np.testing.assert_allclose(
            np.concatenate([found[common:], expected[common:]]), 0, atol=1e-9
        )
    assert (A @ B).rank == min(r, s)


@FEW
@given(SIZES, SIZES, st.integers(0, 1000))
def test_eigenvalues_are_those_of_the_dense_and_zeros(d: int, r: int, seed: int) -> None:
    X = VectorSpace("x", d)
    A = a_map(seed, X, X, r)
    found, expected = A.eigenvalues, torch.linalg.eigvals(A.dense)
    for power in (1, 2, 3):  # the sums of powers say the same of eigenvalues in any order
        torch.testing.assert_close(
            (found**power).sum(), (expected**power).sum(), atol=1e-6, rtol=1e-6
        )
    assert float(found.real.sum()) == pytest.approx(float(A.dense.trace()), abs=1e-9)
    if r <= d:
        assert A.positivity == pytest.approx(
            float(expected.real.sum() / expected.abs().sum()), abs=1e-6
        )


@FEW
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0, 1000))
def test_forms_of_what_maps_make(q: int, k: int, n: int, r: int, seed: int) -> None:
    Q, K, N = VectorSpace("q", q), VectorSpace("k", k), VectorSpace("n", n)
    form, to_key, to_query = (
        a_form(seed, Q, K, r),
        a_map(seed + 2, K, N, 2),
        a_map(seed + 4, Q, N, 3),
    )
    x, y, z = drawn(seed + 6, 5, q), drawn(seed + 7, 5, k), drawn(seed + 8, 5, n)
    torch.testing.assert_close(form(x, y), torch.einsum("bq,qk,bk->b", x, form.dense, y))
    torch.testing.assert_close(form.on_key(to_key)(x, z), form(x, to_key(z)))
    torch.testing.assert_close(form.on_query(to_query)(z, y), form(to_query(z), y))
    torch.testing.assert_close(form.on_query(to_query).dense, to_query.dense.T @ form.dense)
    torch.testing.assert_close(form.T(y, x), form(x, y))
    whole = DenseMap(drawn(seed + 9, k, n), K, N)
    torch.testing.assert_close(form.on_key(whole).dense, form.dense @ whole.matrix)


def test_nothing_and_what_only_removes() -> None:
    X = VectorSpace("x", 3)
    zero = LinearMap(torch.zeros(3, 2), torch.zeros(2, 3), X, X)
    assert zero.positivity == 0 and zero.norm == 0
    assert LinearMap(-torch.eye(3), torch.eye(3), X, X).positivity == -1
    assert LinearMap(torch.eye(3), torch.eye(3), X, X).positivity == 1


def test_spaces_that_do_not_meet_are_type_errors() -> None:
    X, Y, same_size = VectorSpace("x", 3), VectorSpace("y", 4), VectorSpace("other", 3)
    A, form = a_map(0, Y, X, 2), a_form(2, X, X, 2)
    with pytest.raises(TypeError, match="does not meet"):
        A @ A
    with pytest.raises(TypeError, match="does not meet"):
        form.on_key(A)
    with pytest.raises(TypeError, match="other"):
        A @ DenseMap(torch.eye(3), same_size, same_size)
    with pytest.raises(TypeError, match="eigenvalues"):
        _ = A.eigenvalues
    with pytest.raises(TypeError, match="does not go from"):
        DenseMap(torch.zeros(3, 3), X, Y)
    with pytest.raises(TypeError, match="left factor"):
        LinearMap(torch.zeros(4, 2), torch.zeros(2, 3), X, X)
    with pytest.raises(TypeError):
        form @ A  # type: ignore[operator]
