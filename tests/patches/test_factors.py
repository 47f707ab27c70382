"""Factored against dense: norms, inner products, sums, truncation."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import PatchError
from loci.patches import Factors
from loci.patches.factors import cosine, distance, joined, truncated
from tests.patches.making import random_factors

SIDES = st.integers(1, 9)


@given(out=SIDES, into=SIDES, r=st.integers(1, 12), s=st.integers(1, 12), seed=st.integers(0, 99))
def test_factored_is_dense(out: int, into: int, r: int, s: int, seed: int) -> None:
    a, b = random_factors(out, into, r, seed), random_factors(out, into, s, seed + 1000)
    A, B = a.delta, b.delta
    near = {"rel": 1e-9, "abs": 1e-12}
    assert a.norm == pytest.approx(float(A.norm()), **near)
    assert a.inner(b) == pytest.approx(float((A * B).sum()), **near)
    assert cosine(a, b) == pytest.approx(float((A * B).sum() / A.norm() / B.norm()), **near)
    assert distance(a, b) == pytest.approx(float((A - B).norm() / A.norm()), **near)
    torch.testing.assert_close(joined([a, b]).delta, A + B, rtol=1e-5, atol=1e-6)
    assert joined([a, b]).rank <= max(min(out, into), r + s) and joined([a] * 9).rank <= max(
        9, min(out, into), r
    )


@given(rank=st.integers(1, 8), seed=st.integers(0, 99))
def test_truncated_is_the_nearest(rank: int, seed: int) -> None:
    change = random_factors(7, 9, 6, seed)
    cut = truncated(change, rank)
    U, S, Vh = torch.linalg.svd(change.delta)
    assert cut.rank == min(rank, 6)
    torch.testing.assert_close(
        cut.delta, U[:, :rank] * S[:rank] @ Vh[: len(S)][:rank], rtol=1e-4, atol=1e-6
    )
    assert distance(change, cut) == pytest.approx(float(S[rank:].norm() / S.norm()), abs=1e-6)
    assert cut.left.norm() == pytest.approx(float(cut.right.norm()), rel=1e-5)


def test_sums_are_no_larger_than_full_rank() -> None:
    parts = [random_factors(4, 6, 3, seed) for seed in range(5)]
    assert joined(parts).rank == 4
    torch.testing.assert_close(
        joined(parts).delta, sum(p.delta for p in parts), rtol=1e-5, atol=1e-6
    )


def test_nothing_and_no_rank() -> None:
    zero = Factors(torch.zeros(4, 2), torch.zeros(2, 6))
    assert (zero.norm, cosine(zero, zero), truncated(zero, 1).norm) == (0.0, 0.0, 0.0)
    with pytest.raises(PatchError, match="1 or more"):
        truncated(zero, 0)
