"""One solver: the change of a weight that maps keys where they should go and moves everything else
least.

    Δ = R (Kᵀ M K + λ · 1)⁻¹ Kᵀ M  K [d_mlp, n] keys, R [d_model, n] residuals, M [d_mlp, d_mlp]
                                       what a move costs, inverted

| method       | M                             | λ     | keys                     |
|--------------|-------------------------------|-------|--------------------------|
| ROME         | C⁻¹                           | 0     | one                      |
| EMMET        | C⁻¹                           | 0     | many, each hit exactly   |
| MEMIT        | C⁻¹                           | λ     | many, by least squares   |
| AlphaEdit    | P, onto the null space of C   | L2    | many, by least squares   |
| sequential   | any                           | any   | earlier ones too, R = 0  |

C is the second moment of the layer's keys over text. At λ = 0, Δ is the least change in ‖Δ C^½‖
among all with ΔK = R; else it minimises ‖ΔK − R‖² + λ · ‖Δ C^½‖². Earlier edits are keys whose
residual is 0, so that many small edits end where one batch does, as long as each residual is
measured on the weights as they are (recursive least squares). All in float64. C is made safe by a
ridge, `ridge` × its mean diagonal. Cost: one Cholesky factorisation, d_mlp³/3, and one of n × n;
with more keys than neurons the d_mlp × d_mlp form of the same (Woodbury). Sources: Meng et al. 2022
(ROME, appendix A; MEMIT, section 4.2), Gupta et al. 2024 (EMMET), Fang et al. 2025 (AlphaEdit).
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from loci.deprecated import renamed_arguments
from loci.errors import EditError, MatrixError
from loci.linalg import (
    cholesky,
    condition_number,
    solve_positive,
    solve_square,
    svd,
    symmetric_eigen,
)
from loci.patches import Factors

LARGEST_CONDITION = 1e12
Keys = Float[Tensor, "d_mlp n"]


class Metric(Protocol):
    """The metric M of a solve: the inverse of the cost of moving a weight in each direction of its
    keys.
    """

    def inverse(self, K: Keys) -> Keys:
        """M K."""
        ...


@dataclass(frozen=True)
class Covariance:
    """The cost ‖Δ C^½‖²: what a change does to the layer's output over text. M = C⁻¹."""

    C: Float[Tensor, "d_mlp d_mlp"]
    factor: Float[Tensor, "d_mlp d_mlp"]
    """Cholesky factor of C with its ridge."""

    @classmethod
    def of(cls, C: Float[Tensor, "d_mlp d_mlp"], ridge: float = 1e-4) -> "Covariance":
        C = C.double()
        if not C.isfinite().all():
            raise EditError("the covariance holds NaN or infinite numbers")
        try:
            factor = cholesky(C + ridge * C.diagonal().mean() * torch.eye(len(C), dtype=C.dtype))
        except MatrixError:
            raise EditError(
                "the covariance is not positive definite: use more text, or a larger ridge"
            ) from None
        return cls(C, factor)

    def inverse(self, K: Keys) -> Keys:
        return torch.cholesky_solve(K, self.factor)


@dataclass(frozen=True)
class NullSpace:
    """No change at all but in the null space of C: the directions that together hold at most
    `share` of the text's keys' square. M = P.

    The published cut is a fixed eigenvalue (0.02), which means something else in every model and
    layer; a share bounds what the text can feel, by any change of a given size.
    """

    basis: Float[Tensor, "d_mlp free"]

    @classmethod
    def of(cls, C: Float[Tensor, "d_mlp d_mlp"], share: float = 0.1) -> "NullSpace":
        values, vectors = symmetric_eigen(C, "the covariance")
        basis = vectors[:, values.clamp(min=0).cumsum(0) <= share * values.sum()]
        if not basis.shape[1]:
            raise EditError(
                f"no direction holds less than {share} of the keys' square over text: a larger"
                " share is needed"
            )
        return cls(basis)

    @property
    def projector(self) -> Float[Tensor, "d_mlp d_mlp"]:
        return self.basis @ self.basis.T

    def inverse(self, K: Keys) -> Keys:
        return self.basis @ (self.basis.T @ K)


class Solution(NamedTuple):
    """The change as factors, and what is to be known of how it was found."""

    factors: Factors
    condition: float
    """Condition number of the system that was solved: large where two keys are nearly the same."""
    residual: float
    """‖ΔK − R‖ / ‖R‖: how far the targets are missed, by λ and by rounding."""


def response(metric: Metric, K: Keys) -> float:
    """Mean of kᵀ M k over the keys: what λ is to be compared with. A lone key is hit to the
    share 1 / (1 + λ / kᵀ M k).
    """
    K = K.double()
    return float((K * metric.inverse(K)).sum(0).mean())


@renamed_arguments(slack="lam")
def solve(metric: Metric, K: Keys, R: Float[Tensor, "d_model n"], lam: float = 0.0) -> Solution:
    """Solve for Δ. Raises `EditError` where numbers are not finite, or the keys cannot be told
    apart.
    """
    K, R = K.double(), R.double()
    if not all(t.isfinite().all() for t in (K, R)):
        raise EditError("keys or targets hold NaN or infinite numbers")
    if not K.norm(dim=0).all():
        raise EditError(
            "a key is zero: no neuron fires at the subject in this layer; edit another layer"
        )
    d_mlp, n = K.shape
    if lam == 0 and n > d_mlp:
        raise EditError(
            f"{n} keys are more than the {d_mlp} neurons of the layer: they cannot all be hit; use"
            " memit, or more layers"
        )
    moved = metric.inverse(K)
    left, right, condition = (
        _by_edits(K, R, moved, lam) if n <= d_mlp else _by_neurons(K, R, moved, lam)
    )
    residual = float((left @ (right @ K) - R).norm() / R.norm().clamp(min=1e-300))
    return Solution(Factors(left.float(), right.float()), condition, residual)


def _by_edits(K: Tensor, R: Tensor, moved: Tensor, lam: float) -> tuple[Tensor, Tensor, float]:
    """R (Kᵀ M K + λ)⁻¹ · Kᵀ M: rank n."""
    system = K.T @ moved + lam * torch.eye(K.shape[1], dtype=K.dtype)
    condition = condition_number(system, "the keys' Gram matrix", symmetric=True)
    if not condition <= LARGEST_CONDITION:
        raise EditError(
            f"two subjects have nearly the same key (condition {condition:.1e}): no change can tell"
            " them apart"
        )
    return solve_positive(system, R.T, "the keys' Gram matrix").T, moved.T, condition


def _by_neurons(K: Tensor, R: Tensor, moved: Tensor, lam: float) -> tuple[Tensor, Tensor, float]:
    """R Kᵀ · (M K Kᵀ + λ)⁻ᵀ M = the same by Woodbury's identity: rank d_mlp at most."""
    system = moved @ K.T + lam * torch.eye(len(K), dtype=K.dtype)
    condition = condition_number(system, "the keys' system")
    if not condition <= LARGEST_CONDITION:
        raise EditError(
            f"the keys cannot be told apart (condition {condition:.1e}): a larger λ is needed"
        )
    dense = solve_square(system, moved @ R.T, "the keys' system").T
    U, S, V = svd(dense, "the change")
    keep = S[0] * 1e-12 < S
    return U[:, keep] * S[keep], V[keep], condition
