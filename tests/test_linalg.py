"""Decompositions against algebra and numpy: repeated, defective, singular, huge, tiny, empty, and
not finite.
"""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import loci
from loci import linalg, spectra
from loci.errors import LociError, MatrixError

pytestmark = pytest.mark.numerical
SCALES = st.sampled_from([1.0, 1e30, 1e-30, 1e150, 1e-150, 3e38])
SEEDS = st.integers(0, 10**6)
FEW = settings(max_examples=60)
EPS = linalg.EPS


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rotation(seed: int, n: int) -> Tensor:
    return torch.linalg.qr(drawn(seed, n, n)).Q


def jordan(value: float, n: int) -> Tensor:
    return (
        value * torch.eye(n, dtype=torch.float64)
        + torch.diag(torch.ones(max(n - 1, 0), dtype=torch.float64), 1)[:n, :n]
    )


KINDS = (
    "random",
    "zero",
    "identity",
    "repeated",
    "jordan",
    "rank one",
    "rank deficient",
    "equal rows",
    "graded",
    "symmetric",
    "cycle",
)


def made(kind: str, m: int, n: int, seed: int) -> Tensor:
    """An m × n matrix of a kind that iterations find hard; entries up to about 1."""
    if kind == "zero":
        return torch.zeros(m, n, dtype=torch.float64)
    if kind == "identity":
        return torch.eye(m, n, dtype=torch.float64)
    if kind == "repeated":
        return rotation(seed, m)[:, : min(m, n)] @ rotation(seed + 1, n)[: min(m, n)]
    if kind == "jordan":
        return jordan(0.5, max(m, n))[:m, :n]
    if kind == "rank one":
        return drawn(seed, m, 1) @ drawn(seed + 1, 1, n)
    if kind == "rank deficient":
        r = max(1, min(m, n) // 2)
        return drawn(seed, m, r) @ drawn(seed + 1, r, n)
    if kind == "equal rows":
        return drawn(seed, 1, n).repeat(m, 1)
    if kind == "graded":
        return drawn(seed, m, n) * 10.0 ** torch.linspace(0, -14, n, dtype=torch.float64)
    if kind == "symmetric":
        whole = drawn(seed, max(m, n), max(m, n))
        return (whole + whole.T)[:m, :n]
    if kind == "cycle":
        return torch.eye(max(m, n), dtype=torch.float64).roll(1, 0)[:m, :n]
    return drawn(seed, m, n)


matrices = st.builds(made, st.sampled_from(KINDS), st.integers(1, 9), st.integers(1, 9), SEEDS)
squares = st.builds(
    lambda kind, n, seed: made(kind, n, n, seed), st.sampled_from(KINDS), st.integers(1, 9), SEEDS
)


def size(A: Tensor) -> float:
    return float(A.abs().max()) or 1.0


def close(found: Tensor, expected: Tensor, scale: float, ulps: float = 1e4) -> None:
    assert found.shape == expected.shape
    assert bool(found.isfinite().all())
    assert float((found - expected).abs().max() if found.numel() else 0.0) <= ulps * EPS * scale


def same_spectrum(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Each eigenvalue has its own partner within the tolerance (they are few: the nearest is taken
    away, largest first).
    """
    left = expected.to(torch.complex128).tolist()
    assert len(found) == len(left)
    for value in sorted(found.tolist(), key=abs, reverse=True):
        partner = min(left, key=lambda other: abs(other - value))
        assert abs(partner - value) <= tolerance
        left.remove(partner)


@FEW
@given(matrices, SCALES)
def test_svd_is_orthonormal_and_multiplies_out(A: Tensor, scale: float) -> None:
    A = A * scale
    U, S, Vh = linalg.svd(A)
    one = torch.eye(len(S), dtype=torch.float64)
    close(U.T @ U, one, 1)
    close(Vh @ Vh.T, one, 1)
    close(U * (S / scale) @ Vh, A / scale, size(A / scale))
    assert bool((S[:-1] >= S[1:]).all()) and bool((S >= 0).all())
    close(
        linalg.singular_values(A) / scale,
        torch.from_numpy(np.linalg.svd((A / scale).numpy(), compute_uv=False)),
        size(A / scale),
    )


@FEW
@given(squares, SCALES)
def test_symmetric_eigenvectors(A: Tensor, scale: float) -> None:
    A = (A + A.T) / 2
    values, vectors = linalg.symmetric_eigen(A * scale)
    close(vectors.T @ vectors, torch.eye(len(A), dtype=torch.float64), 1)
    close(vectors * (values / scale) @ vectors.T, A, size(A))
    assert bool((values[:-1] <= values[1:]).all())


@FEW
@given(matrices, SCALES)
def test_the_smaller_side_has_the_singular_values(A: Tensor, scale: float) -> None:
    values, vectors = linalg.by_smaller_side(A * scale)
    expected = np.linalg.svd(A.numpy(), compute_uv=False)
    assert float((values / scale - torch.from_numpy(expected)).abs().max()) <= 100 * math.sqrt(
        EPS
    ) * size(A)
    close(vectors.T @ vectors, torch.eye(len(vectors), dtype=torch.float64), 1)


@FEW
@given(matrices, SCALES)
def test_roots_of_gram_matrices_of_any_rank(A: Tensor, scale: float) -> None:
    T = linalg.gram_roots(A * scale) / scale
    close(T.T @ T, A @ A.T, size(A) ** 2)
    batch = linalg.gram_roots(torch.stack([A, 2 * A, torch.zeros_like(A)]))
    close(batch[1].T @ batch[1], 4 * A @ A.T, 4 * size(A) ** 2)
    assert not batch[2].any()


@FEW
@given(matrices, st.integers(1, 3), SEEDS, st.sampled_from([1.0, 1e30, 1e-30]))
def test_least_squares_are_numpys_smallest(A: Tensor, k: int, seed: int, scale: float) -> None:
    B = drawn(seed, len(A), k)
    S = np.linalg.svd(A.numpy(), compute_uv=False)
    clear = not ((2e-15 * S[0] < S) & (1e-9 * S[0] > S)).any()
    X = linalg.lstsq(A * scale, B * scale)
    assert X.shape == (A.shape[1], k)
    left = A @ X - B
    close(
        A.T @ left, torch.zeros_like(X), size(A) * (size(B) + size(A) * float(X.abs().max())), 1e5
    )
    if clear:  # the rank is beyond doubt, so there is one smallest solution
        smallest = S[1e-11 * S[0] < S].min() if S[0] else 1.0
        expected = torch.from_numpy(np.linalg.lstsq(A.numpy(), B.numpy(), rcond=1e-11)[0])
        close(X, expected, size(expected) * float(S[0] or 1) / smallest, 1e5)
        close(
            linalg.pseudo_inverse(A, 1e-11) @ B,
            expected,
            size(expected) * float(S[0] or 1) / smallest,
            1e5,
        )
    stacked = linalg.lstsq(torch.stack([A, A]), torch.stack([B, 2 * B]))
    assert stacked.shape == (2, A.shape[1], k)


@FEW
@given(squares, SEEDS, SCALES)
def test_systems(A: Tensor, seed: int, scale: float) -> None:
    B = drawn(seed, len(A), 2)
    positive = A @ A.T + torch.eye(len(A), dtype=torch.float64)
    condition = linalg.condition_number(positive, symmetric=True)
    assert condition == pytest.approx(float(np.linalg.cond(positive.numpy())), rel=1e-6)
    assert linalg.condition_number(scale * positive) == pytest.approx(condition, rel=1e-6)
    for solve in (linalg.solve_positive, linalg.solve_square):
        X = solve(positive * scale, B * scale)
        close(positive @ X, B, size(positive) * size(X) + size(B))
    L = linalg.cholesky(positive * scale)
    close(L / math.sqrt(scale) @ (L.T / math.sqrt(scale)), positive, size(positive))
    Q, R = linalg.orthonormal(A * scale)
    close(Q @ (R / scale), A, size(A))
    norms = linalg.spectral_norms(torch.stack([A, 2 * A]))
    close(
        norms,
        torch.tensor([1.0, 2.0], dtype=torch.float64) * float(np.linalg.norm(A.numpy(), 2)),
        size(A),
    )


@given(st.integers(1, 8), SEEDS)
def test_singular_positive_systems_have_their_smallest_solution(n: int, seed: int) -> None:
    F = drawn(seed, n + 2, n)
    G, x = F @ F.T, drawn(seed + 1, n + 2)
    solved = linalg.solve_positive(G, G @ x)
    condition = float(torch.linalg.svdvals(F)[0] / torch.linalg.svdvals(F)[-1]) ** 2
    close(G @ solved, G @ x, size(G) * size(x) * condition)


@FEW
@given(squares, st.integers(-200, 200))
def test_eigenvalues_scale_and_sum_to_traces(A: Tensor, power: int) -> None:
    values = spectra.eigenvalues(A)
    n, norm = len(A), float(A.norm()) or 1.0
    assert len(values) == n
    for k in (1, 2, 3):
        found, expected = complex((values**k).sum()), float(torch.linalg.matrix_power(A, k).trace())
        assert abs(found - expected) <= 1e4 * EPS * norm**k
    scaled = spectra.eigenvalues(A * 2.0**power)
    assert torch.equal(scaled * 2.0**-power, values), (
        "powers of two change nothing but the exponent"
    )


@given(
    st.lists(
        st.tuples(st.sampled_from([-2.0, 0.0, 0.5, 1.0, 1.0, 7.0]), st.integers(1, 6)),
        min_size=1,
        max_size=5,
    ),
    SEEDS,
    SCALES,
)
def test_jordan_blocks_in_any_order_are_read_off(
    blocks: list[tuple[float, int]], seed: int, scale: float
) -> None:
    """λ is off by ε^(1/n) where a defective matrix is iterated on; here it is exact."""
    J = torch.block_diag(*[jordan(value, n) for value, n in blocks])
    order = torch.randperm(len(J), generator=torch.Generator().manual_seed(seed))
    found = spectra.eigenvalues(scale * J[order][:, order])
    expected = sorted(value * scale for value, n in blocks for _ in range(n))
    assert not found.imag.any() and sorted(found.real.tolist()) == pytest.approx(
        expected, rel=4 * EPS
    )


@given(st.permutations(range(9)), st.sampled_from([1.0, -3.0, 1e-20]))
def test_permutations_have_roots_of_unity(order: list[int], weight: float) -> None:
    P = weight * torch.eye(len(order), dtype=torch.float64)[list(order)]
    same_spectrum(
        spectra.eigenvalues(P),
        torch.from_numpy(np.linalg.eigvals(P.numpy())),
        1e3 * EPS * abs(weight),
    )


@FEW
@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.0, 2.0, 2.0, 2.0]), min_size=1, max_size=12),
    SEEDS,
    SCALES,
)
def test_repeated_eigenvalues_of_turned_and_of_skewed_matrices(
    spectrum: list[float], seed: int, scale: float
) -> None:
    D, n = torch.tensor(spectrum, dtype=torch.float64), len(spectrum)
    Q = rotation(seed, n)
    X = torch.eye(n, dtype=torch.float64) + 0.3 * drawn(seed, n, n) / n
    for A in (Q * D @ Q.T, X * D @ torch.linalg.inv(X)):
        same_spectrum(spectra.eigenvalues(scale * A) / scale, D, 1e-10)


@given(st.integers(1, 9), SEEDS)
def test_skew_matrices_have_no_real_part(n: int, seed: int) -> None:
    A = drawn(seed, n, n)
    A = A - A.T
    found = spectra.eigenvalues(A)
    assert not found.real.any()
    same_spectrum(found, torch.from_numpy(np.linalg.eigvals(A.numpy())), 1e3 * EPS * size(A))


@given(st.integers(1, 12), st.integers(1, 12), SEEDS)
def test_null_spaces_are_exact_zeros(n: int, r: int, seed: int) -> None:
    """Nilpotent, turned: LAPACK's eigenvalues are ε^(1/n) there, 0.04 for n = 12."""
    Q = rotation(seed, n)
    nilpotent = Q @ jordan(0.0, n) @ Q.T
    assert float(spectra.eigenvalues(nilpotent).abs().max()) <= 1e-6
    low = drawn(seed, n, min(n, r)) @ drawn(seed + 1, min(n, r), n)
    assert int((spectra.eigenvalues(low) == 0).sum()) >= n - min(n, r)


def test_many_equal_eigenvalues_of_a_copying_head() -> None:
    """One-hot tokens less their mean, read and written again: 31 eigenvalues of 1 and 33 zeros, and
    none in between.
    """
    reads = torch.zeros(128, 64, dtype=torch.float64)
    reads[:32, :32] = torch.eye(32)
    reads = reads - reads.mean(0)
    writes = torch.zeros(64, 128, dtype=torch.float64)
    writes[:32, :32] = torch.eye(32) - 1 / 32
    found = spectra.eigenvalues(writes @ reads)
    assert int(((found - 1).abs() < 1e-9).sum()) == 31 and int((found.abs() < 1e-9).sum()) == 33


def test_not_finite_is_said_before_lapack_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("eigvals", "eigh", "svd", "svdvals", "qr", "cholesky_ex", "solve_ex", "lstsq"):
        monkeypatch.setattr(torch.linalg, name, lambda *_, **__: pytest.fail("LAPACK was asked"))
    right = torch.ones(3, 1)
    for bad in (math.nan, math.inf, -math.inf):
        A = torch.eye(3)
        A[1, 2] = bad
        asked = [lambda A=A, f=f: f(A, "the key") for f in ONE_SIDED]
        asked += [
            lambda A=A, f=f: f(A, right, "the key")
            for f in (linalg.solve_square, linalg.solve_positive, linalg.lstsq)
        ]
        for ask in asked:
            with pytest.raises(
                MatrixError, match=r"the key \[3 × 3\] holds NaN or infinite numbers"
            ):
                ask()


ONE_SIDED = (
    spectra.eigenvalues, linalg.symmetric_eigen, linalg.svd, linalg.singular_values,
    linalg.by_smaller_side,
    linalg.orthonormal, linalg.cholesky, linalg.gram_roots,
)  # fmt: skip


def test_a_ladder_and_a_clear_end(monkeypatch: pytest.MonkeyPatch) -> None:
    A = drawn(0, 6, 6)
    wanted = {
        "eigvals": spectra.eigenvalues(A),
        "eigh": linalg.symmetric_eigen(A).values,
        "svd": linalg.svd(A).S,
    }
    ask = {
        "eigvals": spectra.eigenvalues,
        "eigh": lambda A: linalg.symmetric_eigen(A).values,
        "svd": lambda A: linalg.svd(A).S,
    }
    for name, plain in (
        ("eigvals", torch.linalg.eigvals),
        ("eigh", torch.linalg.eigh),
        ("svd", torch.linalg.svd),
    ):
        for fails in range(3):
            left = [fails]

            def stubborn(*args, plain=plain, left=left, **kwargs):
                left[0] -= 1
                if left[0] >= 0:
                    raise torch.linalg.LinAlgError("the algorithm failed to converge")
                return plain(*args, **kwargs)

            monkeypatch.setattr(torch.linalg, name, stubborn)
            same_spectrum(ask[name](A), wanted[name], 1e-10)
        monkeypatch.setattr(
            torch.linalg,
            name,
            lambda *_, **__: (_ for _ in ()).throw(torch.linalg.LinAlgError("no")),
        )
        same_spectrum(ask[name](A), wanted[name], 1e-10)
        monkeypatch.setattr(
            np.linalg, name, lambda *_, **__: (_ for _ in ()).throw(np.linalg.LinAlgError("no"))
        )
        with pytest.raises(
            LociError,
            match=r"a .*matrix \[6 × 6\]: its .* cannot be computed: \d ways did not converge",
        ):
            ask[name](A)
        monkeypatch.undo()


def test_eigenvalues_that_do_not_sum_to_the_trace_are_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    A, plain = drawn(3, 5, 5), torch.linalg.eigvals
    wanted, calls = spectra.eigenvalues(A), []

    def wrong_at_first(M: Tensor) -> Tensor:
        calls.append(M)
        return plain(M) * (2 if len(calls) == 1 else 1)

    monkeypatch.setattr(torch.linalg, "eigvals", wrong_at_first)
    same_spectrum(spectra.eigenvalues(A), wanted, 1e-10)
    assert len(calls) == 2


def test_nothing_at_all() -> None:
    empty, wide = torch.zeros(0, 0), torch.zeros(0, 3)
    assert spectra.eigenvalues(empty).shape == (0,) and linalg.symmetric_eigen(
        empty
    ).values.shape == (0,)
    assert linalg.svd(wide).S.shape == (0,) and linalg.singular_values(wide).shape == (0,)
    assert linalg.by_smaller_side(wide)[0].shape == (0,) and linalg.condition_number(empty) == 1.0
    assert linalg.orthonormal(wide)[0].shape == (0, 0) and linalg.cholesky(empty).shape == (0, 0)
    assert linalg.lstsq(wide, torch.zeros(0, 2)).shape == (3, 2) and linalg.solve_square(
        empty, wide
    ).shape == (0, 3)
    assert linalg.solve_positive(empty, wide).shape == (0, 3) and linalg.pseudo_inverse(
        wide
    ).shape == (3, 0)
    assert linalg.gram_roots(wide).shape == (0, 0) and linalg.spectral_norms(
        torch.zeros(2, 0, 3)
    ).tolist() == [0.0, 0.0]
    assert linalg.gram_roots(torch.zeros(2, 3, 0)).shape == (2, 3, 3) and spectra.eigenvalues(
        torch.tensor([[3.0]])
    ).tolist() == [3]


def test_what_has_no_answer_says_so() -> None:
    with pytest.raises(MatrixError, match=r"the Gram matrix \[2 × 2\] is not positive definite"):
        linalg.cholesky(-torch.eye(2), "the Gram matrix")
    with pytest.raises(MatrixError, match=r"the system \[2 × 2\] is singular"):
        linalg.solve_square(torch.ones(2, 2), torch.ones(2, 1), "the system")
    with pytest.raises(MatrixError, match=r"\[2 × 3\] is not square"):
        spectra.eigenvalues(torch.ones(2, 3))
    assert (
        linalg.condition_number(torch.ones(2, 2)) > 1e15
        and linalg.condition_number(torch.zeros(2, 2)) == math.inf
    )


def test_no_other_module_asks_lapack() -> None:
    """What iterates, or can fail, goes through one place; substitution in triangles does neither.
    Lessons show plain torch.
    """
    asked = re.compile(
        r"(?:torch|np)\.linalg\.(?!solve_triangular\b)\w+"
        r"|(?:from|import) (?:torch\.linalg|numpy\.linalg|scipy)"
        r"|torch\.(?:svd\w*|pca_lowrank|lobpcg|qr|lu\w*|inverse|det|pinverse|linalg_\w+)\b"
        r"|torch\.cholesky(?!_solve)\w*|\.(?:svd|pinverse|logdet|inverse|det|cholesky|qr|lu)\(\)"
    )
    source = Path(loci.__file__).parent
    found = [
        f"{path.relative_to(source)}: {match[0]}"
        for path in sorted(source.rglob("*.py"))
        if path.name not in ("linalg.py", "spectra.py") and path.parent.name != "notebooks"
        for match in asked.finditer(path.read_text())
    ]
    assert not found
