"""Decompositions that end on every processor: structure first, then LAPACK, then another way.

LAPACK iterates for eigenvalues and singular values, and whether an iteration converges depends on
the kernels of the processor. Three things keep that from a user:

    structure   triangular by blocks, cycles, symmetric, skew, singular matrices: solved as such
    a ladder    plain, transposed, turned by a random rotation, numpy's LAPACK
    an error    `MatrixError` says which matrix and why; NaN and infinity are named beforehand

All results are float64 (complex128 for eigenvalues), whatever comes in. Eigenvalues of matrices
that are not symmetric stand in `spectra`. Thresholds are relative to
the largest entry and to float64's ε, so that c · A gives c times what A gives. Every rung is
backward stable: the result is exact for a matrix that differs by a small multiple of n · ε · ‖A‖.
Sources: Golub & Van Loan, Matrix Computations, 5.5, 7.5, 8.3; Kublanovskaya 1966 (null spaces).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import MatrixError

EPS = torch.finfo(torch.float64).eps
FAILURES = (torch.linalg.LinAlgError, np.linalg.LinAlgError)  # type: ignore[attr-defined]
T = TypeVar("T")


class Eigen(NamedTuple):
    """Eigenvalues, smallest first, and orthonormal eigenvectors as columns."""

    values: Float[Tensor, " n"]
    vectors: Float[Tensor, "n n"]


class SVD(NamedTuple):
    """A = U diag(S) Vh, singular values largest first, the smaller side kept."""

    U: Float[Tensor, "*batch m r"]
    S: Float[Tensor, "*batch r"]
    Vh: Float[Tensor, "*batch r n"]


def finite(matrix: Tensor, what: str = "a matrix") -> Tensor:
    """The matrix in float64. Raises `MatrixError` where an entry is NaN or infinite."""
    wide = matrix.double()
    if not bool(wide.isfinite().all()):
        raise MatrixError(f"{what} {_shape(wide)} holds NaN or infinite numbers")
    return wide


def scale_of(matrix: Tensor) -> float:
    """The power of two next to the largest entry, by which dividing is exact; 1 for nothing."""
    largest = float(matrix.abs().max()) if matrix.numel() else 0.0
    return 1.0 if not largest else 2.0 ** max(-1021, min(1022, int(np.frexp(largest)[1])))


def symmetric_eigen(matrix: Float[Tensor, "n n"], what: str = "a symmetric matrix") -> Eigen:
    """A = V diag(λ) Vᵀ of the symmetric part of A, λ ascending. Raises `MatrixError`."""
    A = square_matrix(matrix, what)
    A = (A + A.T) / 2
    if not len(A):
        return Eigen(A.new_zeros(0), A)

    def turned() -> Eigen:
        Q = random_rotation(len(A), A)
        values, vectors = torch.linalg.eigh(Q.T @ A @ Q)
        return Eigen(values, Q @ vectors)

    def by_numpy() -> Eigen:
        return Eigen(
            *(torch.from_numpy(x).to(A.device) for x in np.linalg.eigh(A.detach().cpu().numpy()))
        )

    return first_finite(
        (lambda: Eigen(*torch.linalg.eigh(A)), turned, by_numpy), A, what, "eigenvalues"
    )


def svd(matrix: Float[Tensor, "*batch m n"], what: str = "a matrix") -> SVD:
    """The reduced singular value decomposition. Raises `MatrixError`."""
    A = finite(matrix, what)

    def plain() -> SVD:
        return SVD(*torch.linalg.svd(A, full_matrices=False))

    def transposed() -> SVD:
        U, S, Vh = torch.linalg.svd(A.mT, full_matrices=False)
        return SVD(Vh.mT, S, U.mT)

    def turned() -> SVD:
        Q = random_rotation(A.shape[-2], A)
        U, S, Vh = torch.linalg.svd(Q @ A, full_matrices=False)
        return SVD(Q.T @ U, S, Vh)

    def by_numpy() -> SVD:
        factors = np.linalg.svd(A.detach().cpu().numpy(), full_matrices=False)
        return SVD(*(torch.from_numpy(x).to(A.device) for x in factors))

    return first_finite((plain, transposed, turned, by_numpy), A, what, "singular values")


def singular_values(
    matrix: Float[Tensor, "*batch m n"],
    what: str = "a matrix",
) -> Float[Tensor, "*batch r"]:
    """σ(A), largest first. Raises `MatrixError`."""
    A = finite(matrix, what)
    attempts = (lambda: (torch.linalg.svdvals(A),), lambda: (svd(A, what).S,))
    values: Tensor = first_finite(attempts, A, what, "singular values")[0]
    return values


def by_smaller_side(
    matrix: Float[Tensor, "m n"],
    what: str = "a matrix",
) -> tuple[Float[Tensor, " r"], Float[Tensor, "r r"]]:
    """σ(A), largest first, and the singular vectors of its smaller side, from A Aᵀ or AᵀA.

    Exact to √ε · σ₁, at a tenth of the cost of an SVD. Raises `MatrixError`.
    """
    A = finite(matrix, what)
    scale = scale_of(A)
    A = A / scale
    squares, vectors = symmetric_eigen(A @ A.T if A.shape[0] <= A.shape[1] else A.T @ A, what)
    return scale * squares.flip(0).clamp(min=0).sqrt(), vectors.flip(1)


def spectral_norms(
    matrices: Float[Tensor, "batch m n"],
    what: str = "a matrix",
) -> Float[Tensor, " batch"]:
    """‖A‖₂ of each; 0 where a side is empty."""
    values = singular_values(matrices, what)
    return values.amax(-1) if values.shape[-1] else values.new_zeros(values.shape[:-1])


def condition_number(
    matrix: Float[Tensor, "n n"],
    what: str = "a matrix",
    *,
    symmetric: bool = False,
) -> float:
    """σ₁ / σₙ, infinite for a singular matrix; by eigenvalues where it is symmetric."""
    values = symmetric_eigen(matrix, what).values.abs() if symmetric else singular_values(matrix)
    if not len(values):
        return 1.0
    smallest = float(values.min())
    return float(values.max()) / smallest if smallest else float("inf")


def orthonormal(
    matrix: Float[Tensor, "m n"],
    what: str = "a matrix",
) -> tuple[Float[Tensor, "m r"], Float[Tensor, "r n"]]:
    """Q, R with A = Q R by reflections, which do not iterate, of any rank. Raises `MatrixError`."""
    factors: tuple[Tensor, Tensor] = tuple(torch.linalg.qr(finite(matrix, what)))
    return factors


def cholesky(matrix: Float[Tensor, "n n"], what: str = "a matrix") -> Float[Tensor, "n n"]:
    """Lower L with A = L Lᵀ. Raises `MatrixError` where A is not positive definite."""
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(square_matrix(matrix, what))
    if int(failed):
        raise MatrixError(f"{what} {_shape(matrix)} is not positive definite")
    return factor


def gram_roots(
    factor: Float[Tensor, "*batch r n"],
    what: str = "a factor",
) -> Float[Tensor, "*batch r r"]:
    """T with TᵀT = F Fᵀ, so that ‖T X‖ = ‖Fᵀ X‖, for F of any rank.

    By Cholesky where that goes through, else by eigenvectors. Raises `MatrixError`.
    """
    F = finite(factor, what)
    scale = scale_of(F)
    F = F / scale
    gram = F @ F.mT
    lower, failed = torch.linalg.cholesky_ex(gram)
    roots = lower.mT.flatten(0, -3) if gram.ndim > 2 else lower.mT[None]
    for index in failed.flatten().nonzero()[:, 0].tolist():
        values, vectors = symmetric_eigen(gram.reshape(-1, *gram.shape[-2:])[index], what)
        roots[index] = values.clamp(min=0).sqrt()[:, None] * vectors.T
    root: Tensor = scale * roots.reshape(gram.shape)
    return root


def solve_square(
    A: Float[Tensor, "n n"],
    B: Float[Tensor, "n k"],
    what: str = "a system",
) -> Float[Tensor, "n k"]:
    """A⁻¹ B. Raises `MatrixError` where A is singular."""
    solved: Tensor
    solved, failed = torch.linalg.solve_ex(
        square_matrix(A, what), finite(B, f"the right side of {what}")
    )
    if int(failed) or not bool(solved.isfinite().all()):
        raise MatrixError(f"{what} {_shape(A)} is singular: it has no one solution")
    return solved


def solve_positive(
    A: Float[Tensor, "n n"],
    B: Float[Tensor, "n k"],
    what: str = "a system",
) -> Float[Tensor, "n k"]:
    """A⁻¹ B of a symmetric positive A by Cholesky; A⁺ B where rounding makes A singular."""
    A, B = square_matrix(A, what), finite(B, f"the right side of {what}")
    factor, failed = torch.linalg.cholesky_ex(A)
    if not int(failed):
        solved: Tensor = torch.cholesky_solve(B if B.ndim > 1 else B[:, None], factor)
        if bool(solved.isfinite().all()):
            return solved if B.ndim > 1 else solved[:, 0]
    values, vectors = symmetric_eigen(A, what)
    significant = values > rounding_limit(A) * values.abs().max() if len(A) else values > 0
    V = vectors[:, significant]
    return (V / values[significant]) @ (V.T @ B)


def pseudo_inverse(
    matrix: Float[Tensor, "m n"],
    rtol: float | None = None,
    what: str = "a matrix",
) -> Float[Tensor, "n m"]:
    """A⁺ without the singular values below `rtol` · σ₁, by default 8 max(m, n) · ε · σ₁."""
    U, S, Vh = svd(matrix, what)
    limit = rounding_limit(matrix) if rtol is None else rtol
    significant = limit * S[..., :1] < S
    inverse = torch.where(significant, 1 / torch.where(significant, S, 1.0), 0.0)
    return (Vh.mT * inverse[..., None, :]) @ U.mT


def lstsq(
    A: Float[Tensor, "*batch m n"],
    B: Float[Tensor, "*batch m k"],
    what: str = "a system",
) -> Float[Tensor, "*batch n k"]:
    """argmin ‖A X − B‖, and of all such X the smallest, for A of any rank. Raises `MatrixError`.

    By singular values (gelsd): torch's gelsy takes some columns of a singular A for pivots unasked.
    """
    A, B = finite(A, what), finite(B, f"the right side of {what}")
    if not A.numel() or not B.numel():
        return A.new_zeros((*A.shape[:-2], A.shape[-1], B.shape[-1]))

    def divided() -> tuple[Tensor]:
        return (torch.linalg.lstsq(A, B, rcond=rounding_limit(A), driver="gelsd").solution,)

    def by_svd() -> tuple[Tensor]:
        return (pseudo_inverse(A, what=what) @ B,)

    attempts = (divided, by_svd) if A.device.type == "cpu" else (by_svd,)
    solved: Tensor = first_finite(attempts, A, what, "least squares")[0]
    return solved


def first_finite(attempts: tuple[Callable[[], T], ...], A: Tensor, what: str, asked: str) -> T:
    """The first attempt whose numbers are all finite."""
    for attempt in attempts:
        try:
            result = attempt()
        except FAILURES:
            continue
        if all(bool(part.isfinite().all()) for part in result):  # type: ignore[attr-defined]
            return result
    raise MatrixError(
        f"{what} {_shape(A)}: its {asked} cannot be computed: "
        f"{len(attempts)} ways did not converge; entries up to {float(A.abs().max()):.1e}"
    )


def rounding_limit(A: Tensor) -> float:
    """Singular values up to this share of the largest are rounding."""
    return 8 * max(A.shape[-2:]) * EPS


def square_matrix(matrix: Tensor, what: str) -> Tensor:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise MatrixError(f"{what} {_shape(matrix)} is not square")
    return finite(matrix, what)


def _shape(matrix: Tensor) -> str:
    return "[" + " × ".join(map(str, matrix.shape)) + "]"


def random_rotation(size: int, like: Tensor | None = None, seed: int = 0) -> Float[Tensor, "n n"]:
    """A random rotation: it hides every structure that an iteration may stumble over."""
    source = torch.Generator().manual_seed(seed)
    drawn = torch.randn(size, size, generator=source, dtype=torch.float64)
    Q: Tensor = torch.linalg.qr(drawn).Q
    return Q if like is None else Q.to(like.device)
