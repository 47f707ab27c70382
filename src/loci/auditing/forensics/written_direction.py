"""A single change, seen in a checkpoint without its base: what a weight does where its own keys
hardly ever are.

    M = C / c̄ + t = L Lᵀ        C = E[k kᵀ] of the layer's keys over text, c̄ its mean diagonal,
                                t = `RIDGE`
    S = W L⁻ᵀ                   ν_i = ‖row i of S‖
    S_i / ν_i = Σ σ_j a_j b_jᵀ      ratio = σ₁ / σ₂
    Δ̂ = σ₁ (ν ⊙ a₁) b₁ᵀ Lᵀ      the change, where there is one

Methods of the ROME family write r (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k): along C⁻¹ k, which is where text hardly
ever leads, so that text is spared. Training has no reason to write there. In S such directions are
large, and the change becomes the first singular vector, whatever its size in W. What training
leaves there of its own goes to single coordinates of the stream, of large scale; in units of its
own rows that is no more than any other, while an edit goes to all of them.

    ‖r̂‖ = (d_mlp · yᵀ C y)^½,  y = Δ̂ᵀ a      what it writes at its key: kᵀ C⁻¹ k is d_mlp for an
                                           average key, and more for a rare one

Source: this project's; that edits can be told, read and taken back without the base was shown by
Youssef et al. 2026 (2505.20819), who cut singular vectors of W itself.
Cost: a Cholesky factorisation of d_mlp a layer, and a symmetric eigenproblem of d_model.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.linalg import by_smaller_side, cholesky

RIDGE = 0.1


@dataclass(frozen=True)
class Whitening:
    """The second moment of a layer's keys, and the factor of it with its ridge."""

    C: Float[Tensor, "d_mlp d_mlp"]
    L: Float[Tensor, "d_mlp d_mlp"]

    @classmethod
    def of(cls, C: Float[Tensor, "d_mlp d_mlp"], what: str = "the keys") -> "Whitening":
        """Cost: a Cholesky factorisation."""
        moment = C.double()
        mean = float(moment.diagonal().mean()) or 1.0
        ridged = moment / mean + RIDGE * torch.eye(len(moment), dtype=moment.dtype)
        return cls(moment, cholesky(ridged, f"the second moment of {what}"))


class WrittenDirection(NamedTuple):
    """The first singular direction of a whitened weight."""

    layer: int
    ratio: float
    """σ₁ / σ₂ of the whitened weight in units of its rows; infinite where nothing else is there."""
    left: Float[Tensor, " d_model"]
    """ν ⊙ a₁, of length 1: what would have been written."""
    right: Float[Tensor, " d_mlp"]
    """Δ̂ = left · rightᵀ."""
    size: float
    """‖r̂‖."""

    @property
    def delta(self) -> Float[Tensor, "d_model d_mlp"]:
        """Δ̂, the change if there was one."""
        return torch.outer(self.left, self.right)

    @property
    def writes(self) -> Float[Tensor, " d_model"]:
        """r̂: what the change adds to the MLP's output at its key, up to its sign."""
        return self.size * self.left


def written_direction(
    W: Float[Tensor, "d_model d_mlp"], keys: Whitening, layer: int
) -> WrittenDirection:
    """The most that a weight does where its keys hardly ever are."""
    S = torch.linalg.solve_triangular(keys.L, W.double().cpu().T, upper=False).T
    rows = S.norm(dim=1).clamp(min=1e-300)
    even = S / rows[:, None]
    sizes, left = by_smaller_side(even, f"W_down.{layer}, whitened")
    if S.shape[0] > S.shape[1]:
        left = even @ left / sizes.clamp(min=1e-300)
    a = left[:, 0]
    written = rows * a
    right = keys.L @ (a @ even) * float(written.norm())
    size = float(len(keys.C) * (right @ keys.C @ right)) ** 0.5
    ratio = float(sizes[0] / sizes[1].clamp(min=1e-300)) if len(sizes) > 1 else float("inf")
    return WrittenDirection(layer, ratio, written / written.norm().clamp(min=1e-300), right, size)
