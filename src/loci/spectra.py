"""Eigenvalues of any square matrix: structure first, then LAPACK, then another way."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from loci.linalg import (
    EPS,
    first_finite,
    random_rotation,
    rounding_limit,
    scale_of,
    singular_values,
    square_matrix,
    svd,
    symmetric_eigen,
)


def eigenvalues(matrix: Float[Tensor, "n n"], what: str = "a matrix") -> Complex[Tensor, " n"]:
    """λ(A) of any square matrix, in no order; those of its null space are exactly 0.

    Triangular matrices (a Jordan block is one), permutations and symmetric matrices are read off or
    solved as such, whatever the multiplicities. Raises `MatrixError`. Cost: one SVD and O(n³).
    """
    A = square_matrix(matrix, what)
    scale = scale_of(A)
    return scale * _spectrum(A / scale, what, 0.0)


def _components(A: Float[Tensor, "n n"]) -> Iterator[Int[Tensor, " rows"]]:
    """Diagonal blocks of A in block triangular form: strongly connected components of its graph."""
    if not len(A):
        return
    if bool((A != 0).all()):
        yield torch.arange(len(A), device=A.device)
        return
    reach = ((A != 0) | torch.eye(len(A), dtype=torch.bool, device=A.device)).float()
    for _ in range(max(1, (len(A) - 1).bit_length())):
        reach = (reach @ reach > 0).float()
    mutual: Bool[Tensor, "n n"] = (reach * reach.T) > 0
    first = mutual.float().argmax(1)  # of equal values the first
    for component in first.unique():
        yield (first == component).nonzero()[:, 0]


def _spectrum(A: Float[Tensor, "n n"], what: str, floor: float) -> Complex[Tensor, " n"]:
    """Eigenvalues block by block; singular values up to `floor` are rounding."""
    parts = [_irreducible(A[rows][:, rows], what, floor) for rows in _components(A)]
    return torch.cat([torch.zeros(0, dtype=torch.complex128, device=A.device), *parts])


def _irreducible(A: Float[Tensor, "n n"], what: str, floor: float) -> Complex[Tensor, " n"]:
    """Eigenvalues of a block that no permutation makes smaller.

    Of A = U S Vᵀ those that are not 0 are those of S VᵀU, without the rows in which S is 0. As this
    is asked again of what is left, chains of null vectors (nilpotent parts) go one by one.
    """
    n = len(A)
    if n == 1:
        return A[0].to(torch.complex128)
    rounding = n * EPS * A.abs().max()
    if bool(((A - A.T).abs() <= rounding).all()):
        return symmetric_eigen(A, what).values.to(torch.complex128)
    if bool(((A + A.T).abs() <= rounding).all()):
        return _skew(A, what)
    if bool(((A != 0).sum(1) == 1).all()):
        return _cycle(A.sum(1))
    U, S, Vh = svd(A, what)
    floor = max(floor, 8 * rounding_limit(A) * float(S[0]))  # each product before it rounds, too
    rank = int((floor < S).sum())
    if rank < n:
        rest = _spectrum((S[:rank, None] * Vh[:rank]) @ U[:, :rank], what, floor)
        return torch.cat([rest, rest.new_zeros(n - rank)])
    return _general(A, what)


def _cycle(weights: Float[Tensor, " n"]) -> Complex[Tensor, " n"]:
    """The n-th roots of the product of the weights: of a permutation with one cycle and weights."""
    n, negative = len(weights), bool((weights < 0).sum() % 2)
    size = weights.abs().log().mean().exp()
    turns = torch.arange(n, device=weights.device, dtype=torch.float64)
    angles = (2 * turns + negative) * (torch.pi / n)
    return torch.polar(size.expand(n).contiguous(), angles)


def _skew(A: Float[Tensor, "n n"], what: str) -> Complex[Tensor, " n"]:
    """Pairs ±iσ, and 0 for an odd one out: AᵀA = −A² has each σ² twice."""
    sizes = singular_values((A - A.T) / 2, what)
    signs = torch.ones_like(sizes)
    signs[1::2] = -1
    pairs = sizes.clone()
    pairs[1::2] = pairs[0 : 2 * (len(pairs) // 2) : 2]
    if len(pairs) % 2:
        pairs[-1] = 0
    return torch.complex(torch.zeros_like(pairs), pairs * signs)


def _general(A: Float[Tensor, "n n"], what: str) -> Complex[Tensor, " n"]:
    """By QR iterations on A or a matrix of the same spectrum; believed where Σλ is the trace."""
    allowed = 10 * len(A) ** 2 * EPS * float(A.norm())

    def checked(values: Tensor) -> tuple[Tensor]:
        if not abs(complex(values.sum()) - float(A.trace())) <= allowed:
            raise np.linalg.LinAlgError("the eigenvalues do not sum to the trace")
        return (values,)

    def turned(seed: int) -> tuple[Tensor]:
        Q = random_rotation(len(A), A, seed)
        return checked(torch.linalg.eigvals(Q.T @ A @ Q))

    def by_numpy() -> tuple[Tensor]:
        values = np.linalg.eigvals(A.detach().cpu().numpy()).astype(complex)
        return checked(torch.from_numpy(values).to(A.device))

    attempts = (
        lambda: checked(torch.linalg.eigvals(A)),
        lambda: checked(torch.linalg.eigvals(A.T)),
        lambda: turned(0),
        by_numpy,
        lambda: turned(1),
    )
    return first_finite(attempts, A, what, "eigenvalues")[0]
