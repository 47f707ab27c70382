"""One solver: the change of a weight that maps keys where they should go and moves everything else least.

    Δ = R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹        K [d_mlp, n] keys, R [d_model, n] residuals, C [d_mlp, d_mlp] second moment of keys

Δ is the least change in ‖Δ C^½‖ among all with ΔK = R; its rank is n. For one key it is ROME's update, for several EMMET's.
All in float64. C is made safe by a ridge, `ridge` × its mean diagonal. Cost: one Cholesky factorisation, d_mlp³/3.
Sources: Meng et al. 2022, appendix A; Gupta et al. 2024 (EMMET).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import EditError
from loci.patches import Factors

LARGEST_CONDITION = 1e12


class Solution(NamedTuple):
    """The change as factors, and what is to be known of how it was found."""

    factors: Factors
    condition: float
    """Condition number of Kᵀ C⁻¹ K: large where two keys are nearly the same."""
    residual: float
    """‖ΔK − R‖ / ‖R‖: how far the targets are missed by rounding."""


def solve(
    C: Float[Tensor, "d_mlp d_mlp"], K: Float[Tensor, "d_mlp n"], R: Float[Tensor, "d_model n"], ridge: float = 1e-4
) -> Solution:
    """Solve for Δ. Raises `EditError` where the numbers are not finite, or the keys cannot be told apart."""
    C, K, R = C.double(), K.double(), R.double()
    if not all(t.isfinite().all() for t in (C, K, R)):
        raise EditError("keys, targets or covariance hold NaN or infinite numbers")
    if not K.norm(dim=0).all():
        raise EditError("a key is zero: no neuron fires at the subject in this layer; edit another layer")
    safe = C + ridge * C.diagonal().mean() * torch.eye(len(C), dtype=C.dtype)
    factor, failed = torch.linalg.cholesky_ex(safe)
    if failed:
        raise EditError("the covariance is not positive definite: use more text, or a larger ridge")
    whitened = torch.cholesky_solve(K, factor)
    gram = K.T @ whitened
    condition = float(torch.linalg.cond(gram))
    if condition > LARGEST_CONDITION:
        raise EditError(f"two subjects have nearly the same key (condition {condition:.1e}): no change can tell them apart")
    left = torch.linalg.solve(gram, R.T).T
    residual = float((left @ (whitened.T @ K) - R).norm() / R.norm())
    return Solution(Factors(left.float(), whitened.T.float()), condition, residual)
