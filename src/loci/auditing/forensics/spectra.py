"""Singular directions of a weight or of its change, and how far they have turned.

    M = U diag(s) Vᵀ        by the eigenvectors of the smaller of M Mᵀ and MᵀM, in float64: exact to
                            about 1e-8 · s₁

Cost: one symmetric eigenproblem of the smaller side, a tenth of an SVD's.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.linalg import by_smaller_side, singular_values

PRECISION = 1e-7
"""Singular values below this share of the largest are not told from nothing."""


class Spectrum(NamedTuple):
    """Singular values, largest first, with their directions."""

    values: Float[Tensor, " r"]
    left: Float[Tensor, "out r"]
    right: Float[Tensor, "in r"]

    @property
    def rank(self) -> int:
        """Directions that exist in float64."""
        return int((self.values > PRECISION * self.values[0]).sum())

    def directions_for(self, energy: float) -> int:
        """How many directions hold this share of ‖M‖²."""
        shares = self.values.square().cumsum(0) / self.values.square().sum()
        return min(int((shares < energy).sum()) + 1, len(self.values))


def spectrum(matrix: Float[Tensor, "out in"]) -> Spectrum:
    """All singular values with their directions; directions of values near 0 mean nothing."""
    wide = matrix.double()
    if wide.shape[0] > wide.shape[1]:
        values, left, right = spectrum(wide.T)
        return Spectrum(values, right, left)
    values, left = by_smaller_side(wide)
    return Spectrum(values, left, wide.T @ left / values.clamp(min=torch.finfo(torch.float64).tiny))


class SubspaceDrift(NamedTuple):
    """Rotation of a weight's k dominant directions."""

    k: int
    left: float
    """Largest principal angle between the leading left subspaces before and after, in degrees."""
    right: float
    touched: float
    """Share of ‖Δ‖² that lies in a dominant left or right direction of the base: what REVIVE
    would take out of an update."""


def drift(
    before: Spectrum, after: Spectrum, delta: Float[Tensor, "out in"], k: int
) -> SubspaceDrift:
    """Drift of the first k directions.

    Where the values around the k-th are near each other, subspaces turn easily.

    Source: the protected part of REVIVE (2601.11042).
    """
    k = min(k, len(before.values))
    U, V = before.left[:, :k], before.right[:, :k]
    rest = delta.double() - U @ (U.T @ delta.double())
    rest -= (rest @ V) @ V.T
    touched = 1 - float(rest.square().sum() / delta.double().square().sum())
    return SubspaceDrift(k, _angle(U, after.left[:, :k]), _angle(V, after.right[:, :k]), touched)


def _angle(before: Float[Tensor, "n k"], after: Float[Tensor, "n k"]) -> float:
    """The largest principal angle between two orthonormal bases' spans, in degrees."""
    return math.degrees(math.acos(min(1.0, float(singular_values(before.T @ after)[-1]))))
