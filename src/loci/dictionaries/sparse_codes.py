"""Reconstruction by the few features that are on: only they are multiplied, forwards and backwards.

    y = Σ_(j on) f_j W_dec[j] + b_dec      ∂L/∂f_j = g · W_dec[j]     for features that are on alone

Cost of a batch of B tokens with n features on in all: one dense product for the encoder (2 · B ·
features · d FLOPs), and four of 2 · n · d FLOPs, where dense ones would take 2 · B · features · d
each. `torch.sparse` does them on a CPU.
"""

import warnings
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

GUESS = 0.7
"""Of the last threshold: what is above it is looked at first."""


class Pattern(NamedTuple):
    """Which features are on: those of row i stand from starts[i] to starts[i + 1]."""

    starts: Int[Tensor, " rows_and_one"]
    columns: Int[Tensor, " on"]


def matrix(pattern: Pattern, values: Float[Tensor, " on"], width: int) -> Tensor:
    """The sparse matrix [row, width] with these entries."""
    with (
        warnings.catch_warnings()
    ):  # that sparse matrices are new, and that their indices are not checked
        warnings.simplefilter("ignore", UserWarning)
        shape = (len(pattern.starts) - 1, width)
        return torch.sparse_csr_tensor(
            pattern.starts, pattern.columns, values, shape, check_invariants=False
        )


def turned(sparse: Tensor) -> Tensor:
    """The transpose of a sparse matrix, row by row again."""
    by_column = sparse.to_sparse_csc()
    pattern = Pattern(by_column.ccol_indices().int(), by_column.row_indices().int())
    return matrix(pattern, by_column.values(), sparse.shape[0])


def top_each(pre: Float[Tensor, "row features"], k: int) -> tuple[Pattern, Float[Tensor, " on"]]:
    """The k largest of each row; those below 0 count as 0."""
    top = pre.topk(k, dim=-1, sorted=False)
    starts = torch.arange(0, len(pre) * k + 1, k, dtype=torch.int32, device=pre.device)
    return Pattern(starts, top.indices.int().flatten()), top.values.flatten()


def top_all(
    pre: Float[Tensor, "row features"], count: int, guess: float = 0.0
) -> tuple[Pattern, Float[Tensor, " on"]]:
    """The `count` largest positive entries of the whole batch; fewer where fewer are positive.

    `guess` is a value that the smallest of them may lie near: entries above `GUESS` of it are
    looked at first, and all where they are too few. The result does not depend on it.
    """
    flat = pre.flatten()
    places = (flat > max(0.0, GUESS * guess)).nonzero()[:, 0]
    if len(places) < count and guess > 0:
        places = (flat > 0).nonzero()[:, 0]
    values = flat[places]
    if len(places) > count:
        kept = values.topk(count, sorted=False).indices.sort().values
        places, values = places[kept], values[kept]
    rows = places.div(pre.shape[1], rounding_mode="floor")
    starts = torch.zeros(len(pre) + 1, dtype=torch.int32, device=pre.device)
    starts[1:] = torch.bincount(rows, minlength=len(pre)).cumsum(0)
    return Pattern(starts, (places - rows * pre.shape[1]).int()), values


class SparseDecoding(torch.autograd.Function):
    """f W_dec + b_dec of features f = relu(values) at a pattern, with gradients to the values, the
    decoder and the bias.
    """

    @classmethod
    def run(cls, *given: Any) -> Tensor:
        output: Tensor = cls.apply(*given)  # type: ignore[no-untyped-call]
        return output

    @staticmethod
    def forward(ctx: Any, values: Tensor, W_dec: Tensor, b_dec: Tensor, pattern: Pattern) -> Tensor:
        positive = values.clamp(min=0)
        ctx.save_for_backward(positive, W_dec, *pattern)
        return matrix(pattern, positive, len(W_dec)) @ W_dec + b_dec

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (grad,) = grads
        positive, W_dec, starts, columns = ctx.saved_tensors
        sparse = matrix(Pattern(starts, columns), positive, len(W_dec))
        on = torch.sparse.sampled_addmm(sparse, grad, W_dec.T, beta=0.0).values()
        return torch.where(positive > 0, on, 0.0), turned(sparse) @ grad, grad.sum(0), None


class SparseEncoding(torch.autograd.Function):
    """The entries of x W_encᵀ + b_enc at a pattern, given as `values`; gradients reach the encoder
    through those entries alone.
    """

    @classmethod
    def run(cls, *given: Any) -> Tensor:
        output: Tensor = cls.apply(*given)  # type: ignore[no-untyped-call]
        return output

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, W_enc: Tensor, b_enc: Tensor, values: Tensor, pattern: Pattern
    ) -> Tensor:
        ctx.save_for_backward(x, *pattern)
        ctx.features = len(W_enc)
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, Tensor, None, None]:
        (grad,) = grads
        x, starts, columns = ctx.saved_tensors
        sparse = matrix(Pattern(starts, columns), grad, ctx.features)
        bias = torch.zeros(ctx.features, device=x.device).index_add_(0, columns.long(), grad)
        return None, turned(sparse) @ x, bias, None, None
