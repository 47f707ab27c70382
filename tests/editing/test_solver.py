"""The solver's identities, in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.editing import solve
from loci.errors import EditError


def problem(seed: int, n: int, width: int = 12, out: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(200, width, generator=generator, dtype=torch.float64)
    return text.T @ text / 200, *(torch.randn(rows, n, generator=generator, dtype=torch.float64) for rows in (width, out))


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_hits_every_target_with_the_rank_of_the_edits(seed: int, n: int) -> None:
    C, K, R = problem(seed, n)
    solution = solve(C, K, R, ridge=0.0)
    delta = solution.factors.delta
    torch.testing.assert_close(delta @ K, R, atol=1e-4, rtol=1e-4)
    assert torch.linalg.matrix_rank(delta, rtol=1e-5) == n
    assert solution.residual < 1e-9


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_least_in_the_norm_of_the_covariance(seed: int, n: int) -> None:
    """Any other change that hits the targets is larger in ‖Δ C^½‖."""
    C, K, R = problem(seed, n)
    delta = solve(C, K, R, ridge=0.0).factors.delta
    beside = torch.randn(7, 12, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    beside -= beside @ K @ torch.linalg.pinv(K)
    assert (beside @ K).abs().max() < 1e-8
    cost = lambda d: torch.trace(d @ C @ d.T)  # noqa: E731
    assert cost(delta) <= cost(delta + 0.1 * beside) + 1e-6
    assert torch.trace(delta @ C @ beside.T).abs() < 1e-3, "and the difference is orthogonal to it"


def test_one_key_is_romes_formula() -> None:
    C, K, R = problem(3, 1)
    u = torch.linalg.solve(C, K)
    rome = R @ u.T / (u.T @ K)
    torch.testing.assert_close(solve(C, K, R, ridge=0.0).factors.delta, rome, atol=1e-5, rtol=1e-5)


def test_ridge_is_in_units_of_the_mean_diagonal() -> None:
    C, K, R = problem(4, 2)
    by_hand = C + 0.3 * C.diagonal().mean() * torch.eye(12, dtype=C.dtype)
    torch.testing.assert_close(solve(C, K, R, 0.3).factors.delta, solve(by_hand, K, R, 0.0).factors.delta, atol=1e-5, rtol=1e-5)


def test_refuses_what_cannot_be_solved() -> None:
    C, K, R = problem(5, 2)
    with pytest.raises(EditError, match="nearly the same key"):
        solve(C, K[:, [0, 0]], R)
    with pytest.raises(EditError, match="NaN"):
        solve(C, K * torch.nan, R)
    with pytest.raises(EditError, match="key is zero"):
        solve(C, K * torch.tensor([1.0, 0.0]), R)
    with pytest.raises(EditError, match="not positive definite"):
        solve(-C, K, R)
