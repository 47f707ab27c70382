"""Stores in closed form: features that do not look at the answers, and a readout by linear
algebra.

In float64; one shot.

    one neuron a fact    row i = k_i / |k_i|²,  bias_i = −(1 + c_i)/2,  k whitened keys, c_i the
                         largest other one's projection on row i
    outer product        W = Σ_i value_i key_iᵀ                               linear (Hebb)
    least squares        W = argmin Σ_i |W key_i − value_i|²                   linear
    random ReLU          φ(x) = ReLU(R x),  ridge readout                      R Gaussian
    bilinear             φ(x) = (A x) ∘ (B x),  readout Σ_i value_i φ(key_i)ᵀ  A, B Gaussian (Hebb
                         over features)
    … whitened           the same features, ridge readout
    … fitted             B, then A, by conjugate gradients on the scores, then a ridge readout

A linear store is an MLP without a bend: W = W_down W_up, of as many neurons as its rank may have.
One neuron a fact is the lesson's gate.
Sources: Nichani et al. 2024 for linear memories; HazyResearch 2026 ("MLPs are Hebbians") for
bilinear features.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from loci.linalg import lstsq, solve_positive, svd
from loci.writing.compiler import whitener
from loci.writing.mlp import MLP
from loci.writing.table import FactTable

RIDGE = 1e-9
FITTING = 100
FAR = 0.9


def one_per_fact(table: FactTable, neurons: int) -> MLP:
    """A ReLU neuron for each fact, or for the first so many facts; what neurons of other facts
    add is solved away.

    Where no other key reaches as far along a key as that key itself, one neuron alone is active at
    each key.
    """
    table = table.first(neurons).to(torch.float64)
    middle = table.keys.mean(0)
    white = (table.keys - middle) @ whitener(table.keys - middle)
    rows = white / white.pow(2).sum(1, keepdim=True).clamp_min(1e-12)
    reach = rows @ white.T
    others = (
        reach.clone().fill_diagonal_(-torch.inf).amax(1)
        if len(reach) > 1
        else torch.zeros(1, dtype=reach.dtype)
    )
    threshold = (1 + others.clamp(0, FAR)) / 2
    act = torch.relu(reach - threshold[:, None]).T
    rows = rows @ whitener(table.keys - middle).T
    return MLP(
        "relu",
        rows,
        lstsq(act, table.targets, "the neurons' activations").T,
        -threshold - rows @ middle,
    )


def outer_product(table: FactTable, neurons: int) -> MLP:
    """The sum of value · keyᵀ."""
    table = table.to(torch.float64)
    return _linear(table.targets.T @ table.keys, neurons)


def least_squares(table: FactTable, neurons: int) -> MLP:
    """The linear map with the smallest error."""
    table = table.to(torch.float64)
    return _linear(lstsq(table.keys, table.targets, "the table's keys").T, neurons)


def random_relu(table: FactTable, neurons: int, seed: int = 0) -> MLP:
    """Random ReLU features with a ridge readout."""
    table = table.to(torch.float64)
    (R,) = _draws(1, neurons, table.dim, seed)
    return MLP("relu", R, ridge(torch.relu(table.keys @ R.T), table.targets))


def bilinear(table: FactTable, neurons: int, seed: int = 0) -> MLP:
    """Random bilinear features, each fact's features added to its value."""
    table = table.to(torch.float64)
    A, B = _draws(2, neurons, table.dim, seed)
    return MLP("identity", B, _hebb(table, A, B), W_gate=A)


def bilinear_whitened(table: FactTable, neurons: int, seed: int = 0) -> MLP:
    """Random bilinear features with a ridge readout."""
    table = table.to(torch.float64)
    A, B = _draws(2, neurons, table.dim, seed)
    return MLP(
        "identity", B, ridge((table.keys @ A.T) * (table.keys @ B.T), table.targets), W_gate=A
    )


def bilinear_fitted(table: FactTable, neurons: int, seed: int = 0) -> MLP:
    """Bilinear features fitted to the facts, one side after the other, for the readout that
    adds; then a ridge readout."""
    table = table.to(torch.float64)
    A, B = _draws(2, neurons, table.dim, seed)
    B = _fitted(table, A, B)
    A = _fitted(table, B, A)
    return MLP(
        "identity", B, ridge((table.keys @ A.T) * (table.keys @ B.T), table.targets), W_gate=A
    )


def ridge(
    features: Float[Tensor, "fact neuron"], targets: Float[Tensor, "fact d_out"]
) -> Float[Tensor, "d_out neuron"]:
    """W = Tᵀ Φ (Φᵀ Φ + ρ)⁻¹ = Tᵀ (Φ Φᵀ + ρ)⁻¹ Φ, by the smaller of the two; ρ relative to the
    mean eigenvalue."""
    wide = features.shape[1] > features.shape[0]
    gram = features @ features.T if wide else features.T @ features
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    if wide:
        return solve_positive(gram, targets, "the features' Gram matrix").T @ features
    return solve_positive(gram, features.T @ targets, "the features' Gram matrix").T


def conjugate_gradients(apply: Callable[[Tensor], Tensor], right: Tensor, steps: int) -> Tensor:
    """Solve A x = right for a positive semi-definite A that is only applied."""
    x, residual = torch.zeros_like(right), right.clone()
    direction, square = residual, residual.pow(2).sum()
    goal = 1e-20 * square
    for _ in range(steps):
        if square <= goal:
            break
        image = apply(direction)
        length = square / (direction * image).sum()
        x, residual = x + length * direction, residual - length * image
        before, square = square, residual.pow(2).sum()
        direction = residual + square / before * direction
    return x


def _linear(W: Float[Tensor, "d_out d_in"], neurons: int) -> MLP:
    U, S, Vh = svd(W, "the linear store")
    root = S[:neurons].sqrt()
    return MLP("identity", root[:, None] * Vh[:neurons], U[:, :neurons] * root)


def _hebb(table: FactTable, A: Tensor, B: Tensor) -> Float[Tensor, "d_out neuron"]:
    return table.targets.T @ ((table.keys @ A.T) * (table.keys @ B.T)) / len(table)


def _fitted(table: FactTable, fixed: Tensor, begun: Tensor) -> Tensor:
    """The other side of the features that brings the scores of the adding readout nearest to
    ⟨value_i, value_j⟩."""
    readout, metric = _hebb(table, fixed, begun), table.values.T @ table.values
    side = table.keys @ fixed.T

    def back(errors: Tensor) -> Tensor:
        return (side * (errors @ metric @ readout)).T @ table.keys

    def apply(rows: Tensor) -> Tensor:
        return back((side * (table.keys @ rows.T)) @ readout.T)

    return conjugate_gradients(apply, back(table.targets), FITTING)


def _draws(count: int, neurons: int, dim: int, seed: int) -> list[Tensor]:
    source = torch.Generator().manual_seed(seed)
    return [torch.randn(neurons, dim, generator=source, dtype=torch.float64) for _ in range(count)]
