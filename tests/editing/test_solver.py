"""The solver's identities, in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.editing import Covariance, NullSpace, response, solve
from loci.errors import EditError

SEEDS = st.integers(0, 10_000)


def problem(
    seed: int, n: int, width: int = 12, out: int = 7
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(200, width, generator=generator, dtype=torch.float64)
    return text.T @ text / 200, *(
        torch.randn(rows, n, generator=generator, dtype=torch.float64) for rows in (width, out)
    )


def delta(
    C: torch.Tensor, K: torch.Tensor, R: torch.Tensor, lam: float = 0.0, ridge: float = 0.0
) -> torch.Tensor:
    return solve(Covariance.of(C, ridge), K, R, lam).factors.delta


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(
        one, other, atol=tolerance * float(other.abs().max()), rtol=tolerance
    )


@given(SEEDS, st.integers(1, 5))
def test_hits_every_target_with_the_rank_of_the_edits(seed: int, n: int) -> None:
    C, K, R = problem(seed, n)
    solution = solve(Covariance.of(C, 0.0), K, R)
    close(solution.factors.delta @ K, R, 1e-4)
    assert torch.linalg.matrix_rank(solution.factors.delta, rtol=1e-5) == n
    assert solution.residual < 1e-9


@given(SEEDS, st.integers(1, 4))
def test_least_in_the_norm_of_the_covariance(seed: int, n: int) -> None:
    """Any other change that hits the targets is larger in ‖Δ C^½‖."""
    C, K, R = problem(seed, n)
    found = delta(C, K, R)
    beside = torch.randn(
        7, 12, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64
    )
    beside -= beside @ K @ torch.linalg.pinv(K)
    assert (beside @ K).abs().max() < 1e-8
    cost = lambda d: torch.trace(d @ C @ d.T)  # noqa: E731
    assert cost(found) <= cost(found + 0.1 * beside) + 1e-6
    assert torch.trace(found @ C @ beside.T).abs() < 1e-3, "and the difference is orthogonal to it"


def test_one_key_is_romes_formula() -> None:
    C, K, R = problem(3, 1)
    u = torch.linalg.solve(C, K)
    close(delta(C, K, R), R @ u.T / (u.T @ K))


@given(SEEDS, st.integers(1, 6), st.floats(0.01, 100))
def test_slack_is_memits_formula(seed: int, n: int, lam: float) -> None:
    C, K, R = problem(seed, n)
    close(delta(C, K, R, lam), R @ K.T @ torch.linalg.inv(lam * C + K @ K.T), 1e-4)


@given(SEEDS, st.integers(1, 6))
def test_memits_limits(seed: int, n: int) -> None:
    """No lam is EMMET, endless lam no change."""
    C, K, R = problem(seed, n)
    close(delta(C, K, R, 1e-10), delta(C, K, R), 1e-3)
    assert delta(C, K, R, 1e9).norm() < 1e-6 * delta(C, K, R).norm()


@given(SEEDS, st.integers(13, 30), st.floats(0.1, 10))
def test_more_keys_than_neurons_is_the_same_by_woodbury(seed: int, n: int, lam: float) -> None:
    C, K, R = problem(seed, n)
    M = torch.linalg.inv(C)
    by_edits = R @ torch.linalg.inv(K.T @ M @ K + lam * torch.eye(n, dtype=K.dtype)) @ K.T @ M
    close(delta(C, K, R, lam), by_edits, 1e-4)


@given(
    SEEDS, st.lists(st.integers(1, 3), min_size=2, max_size=4), st.sampled_from([0.0, 0.5, 20.0])
)
def test_sequential_equals_batch(seed: int, sizes: list[int], lam: float) -> None:
    """One after the other, with earlier keys as history and residuals on the weights as they are,
    ends where one batch does.
    """
    C, K, V = problem(seed, sum(sizes))
    total, start = torch.zeros(7, 12, dtype=torch.float64), 0
    for size in sizes:
        end = start + size
        residual = torch.zeros(7, end, dtype=torch.float64)
        residual[:, start:] = V[:, start:end] - total @ K[:, start:end]
        if lam == 0:
            total = total + delta(C, K[:, :end], residual)
        else:  # the cost of what is there already grows by the history: recursive least squares
            metric = Covariance.of(C + K[:, :start] @ K[:, :start].T / lam, 0.0)
            total = total + solve(metric, K[:, start:end], residual[:, start:], lam).factors.delta
        start = end
    close(total, delta(C, K, V, lam), 1e-3)


@given(SEEDS, st.integers(1, 3))
def test_null_space(seed: int, n: int) -> None:
    """The projector is one, and the text's keys are left exactly alone; with lam it is
    AlphaEdit's published formula.
    """
    _, K, R = problem(seed, n)
    kept = torch.randn(12, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    space = NullSpace.of(kept @ kept.T, 1e-6)
    P = space.projector
    close(P @ P, P, 1e-9)
    close(P, P.T, 1e-12)
    found = solve(space, K, R, 10.0).factors.delta
    assert (found @ kept).norm() < 1e-5 * kept.norm()
    eye = torch.eye(12, dtype=P.dtype)
    close(found, torch.linalg.solve(P @ (K @ K.T) @ P + 10.0 * eye, P @ K @ R.T).T, 1e-4)


@given(SEEDS, st.floats(0.01, 10))
def test_a_lone_key_is_hit_to_a_known_share(seed: int, lam: float) -> None:
    C, K, R = problem(seed, 1)
    metric = Covariance.of(C, 0.0)
    found = solve(metric, K, R, lam * response(metric, K)).factors.delta @ K
    close(found, R / (1 + lam), 1e-4)


def test_ridge_is_in_units_of_the_mean_diagonal() -> None:
    C, K, R = problem(4, 2)
    by_hand = C + 0.3 * C.diagonal().mean() * torch.eye(12, dtype=C.dtype)
    close(delta(C, K, R, ridge=0.3), delta(by_hand, K, R))


def test_refuses_what_cannot_be_solved() -> None:
    C, K, R = problem(5, 2)
    with pytest.raises(EditError, match="nearly the same key"):
        delta(C, K[:, [0, 0]], R)
    with pytest.raises(EditError, match="NaN"):
        delta(C, K * torch.nan, R)
    with pytest.raises(EditError, match="NaN"):
        delta(C * torch.nan, K, R)
    with pytest.raises(EditError, match="key is zero"):
        delta(C, K * torch.tensor([1.0, 0.0]), R)
    with pytest.raises(EditError, match="not positive definite"):
        delta(-C, K, R)
    with pytest.raises(EditError, match="more than the 12 neurons"):
        delta(*problem(6, 13))
    with pytest.raises(EditError, match="larger share"):
        NullSpace.of(C, 1e-9)
