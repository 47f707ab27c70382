"""Low-rank changes of a weight, and their algebra without the dense product.

    Δ = L R        L [out, r], R [r, in]
    ‖Δ‖²  = Σ (LᵀL) ∘ (RRᵀ)                 ⟨Δ₁, Δ₂⟩ = Σ (L₁ᵀL₂) ∘ (R₁R₂ᵀ)
    Δ₁ + Δ₂ = [L₁ L₂] [R₁; R₂]
    L = Q₁T₁, Rᵀ = Q₂T₂:  Δ = Q₁ (T₁T₂ᵀ) Q₂ᵀ, so the singular values of Δ are those of the r × r
                          matrix T₁T₂ᵀ

All sums are in float64. Cost: (out + in) r².
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import PatchError
from loci.linalg import orthonormal, singular_values, svd

NOTHING = 1e-12
"""Singular values below this share of the largest are rounding."""


class Factors(NamedTuple):
    """A low-rank change of one weight."""

    left: Float[Tensor, "out r"]
    right: Float[Tensor, "r in"]

    @property
    def delta(self) -> Float[Tensor, "out in"]:
        """The dense change, summed in float64."""
        return self.left.double() @ self.right.double()

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """[out, in] of the weight."""
        return self.left.shape[0], self.right.shape[1]

    @property
    def norm(self) -> float:
        """‖Δ‖, Frobenius."""
        return float(_core(self)[1].norm())

    @property
    def singular_values(self) -> Float[Tensor, " r"]:
        return singular_values(_core(self)[1], "a change's core")

    def inner(self, other: "Factors") -> float:
        """⟨Δ, Δ'⟩, the sum of the products of their entries."""
        lefts, rights = (
            self.left.double().T @ other.left.double(),
            self.right.double() @ other.right.double().T,
        )
        return float((lefts * rights).sum())


def cosine(a: Factors, b: Factors) -> float:
    """⟨Δ₁, Δ₂⟩ / ‖Δ₁‖‖Δ₂‖; 0 where one of them is nothing."""
    return a.inner(b) / (a.norm * b.norm or 1.0)


def distance(a: Factors, b: Factors) -> float:
    """‖Δ₁ − Δ₂‖ / ‖Δ₁‖; the norm of the second where the first is nothing."""
    return _side_by_side([a, Factors(-b.left, b.right)]).norm / (a.norm or 1.0)


def joined(parts: Sequence[Factors]) -> Factors:
    """The sum of several changes; at no more than full rank."""
    whole = _side_by_side(parts)
    full = min(whole.shape)
    return truncated(whole, full) if whole.rank > full else whole


def truncated(factors: Factors, rank: int) -> Factors:
    """The nearest change of a rank (Eckart and Young 1936), its weight shared by both factors."""
    if rank < 1:
        raise PatchError(f"a rank is 1 or more, not {rank}")
    left, core, right = _core(factors)
    U, S, Vh = svd(core, "a change's core")
    effective_rank = max(1, min(rank, int((NOTHING * S[0] < S).sum())))
    root = S[:effective_rank].sqrt()
    sides = left @ U[:, :effective_rank] * root, root[:, None] * Vh[:effective_rank] @ right.T
    return Factors(*(rounded(side, torch.float32, "a change of smaller rank") for side in sides))


def _side_by_side(parts: Sequence[Factors]) -> Factors:
    return Factors(torch.cat([p.left for p in parts], 1), torch.cat([p.right for p in parts]))


def _core(factors: Factors) -> tuple[Tensor, Tensor, Tensor]:
    """Q₁ [out, r], T₁T₂ᵀ and Q₂ [in, r]."""
    left, T = orthonormal(factors.left, "the left factor of a change")
    right, S = orthonormal(factors.right.T, "the right factor of a change")
    return left, T @ S.T, right


def check_shape(name: str, shape: Iterable[int], factors: Factors) -> None:
    """Raise `PatchError` where a change is of another shape than the weight."""
    if tuple(shape) != factors.shape:
        raise PatchError(f"{name} is {tuple(shape)} in this model and {factors.shape} in the patch")


def rounded(exact: Tensor, dtype: torch.dtype, what: str) -> Tensor:
    """Numbers in the dtype that they will be kept in. Raises `PatchError` where that cannot hold
    them; `what` begins the message.
    """
    result = exact.to(dtype)
    if not result.isfinite().all():
        largest = float(exact.abs().nan_to_num(nan=math.inf).max())
        raise PatchError(
            f"{what} holds {largest:.3g}, and {str(dtype).removeprefix('torch.')} ends at"
            f" {torch.finfo(dtype).max:.3g}: nothing was changed; the patch is broken, or made for"
            " a wider dtype"
        )
    return result
