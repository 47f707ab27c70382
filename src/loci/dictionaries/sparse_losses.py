"""The forward pass of each kind of dictionary in training: its error, who was on, and what is added
to the loss.

topk        the k largest of each token                                                   Gao et al.
            2024
batchtopk   the k · B largest of a batch; used with the mean of their smallest as threshold
            Bussmann et al. 2024
matryoshka  the same, and each of five nested parts of the dictionary must do by itself
            Bussmann et al. 2025
relu        L1 on features, its weight steered until k are on
gated       L1 on the gates, an auxiliary reconstruction by them, likewise steered
            Rajamanoharan et al. 2024a
jumprelu    (L0 / k − 1)², through a rectangle of the threshold's neighbourhood
            Rajamanoharan et al. 2024b
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from loci.dictionaries.sparse_codes import (
    Pattern,
    SparseDecoding,
    SparseEncoding,
    top_all,
    top_each,
)

if TYPE_CHECKING:
    from loci.dictionaries.learners import Learner

PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Matryoshka's nested parts, as shares of the features."""


@dataclass(frozen=True)
class StepLoss:
    """The values that one forward pass computes."""

    error: Tensor
    """y − ŷ."""
    on: Tensor
    """Numbers of features that were on."""
    count: int
    """Entries that were on, over the whole batch."""
    extra: Tensor | float = 0.0
    smallest: Tensor | None = None
    """Of a batch's kept features, the smallest."""


def _encoded(learner: "Learner", x: Tensor, *, whole: bool) -> tuple[Pattern, Tensor]:
    """The features that are kept, with gradients through them alone."""
    p, k = learner.parameters, learner.settings.k
    with torch.no_grad():
        pre = torch.addmm(p["b_enc"], x, p["W_enc"].T)
        pattern, kept = (
            top_all(pre, k * len(x), float(learner.threshold)) if whole else top_each(pre, k)
        )
    values = SparseEncoding.run(x, p["W_enc"], p["b_enc"], kept, pattern)
    return pattern, values


def _topk(learner: "Learner", x: Tensor, y: Tensor) -> StepLoss:
    pattern, values = _encoded(learner, x, whole=False)
    guess = SparseDecoding.run(
        values, learner.parameters["W_dec"], learner.parameters["b_dec"], pattern
    )
    positive = values.detach() > 0
    return StepLoss(y - guess, pattern.columns[positive].long(), int(positive.sum()))


def _batchtopk(learner: "Learner", x: Tensor, y: Tensor) -> StepLoss:
    pattern, values = _encoded(learner, x, whole=True)
    guess = SparseDecoding.run(
        values, learner.parameters["W_dec"], learner.parameters["b_dec"], pattern
    )
    smallest = values.detach().min() if len(values) else None
    return StepLoss(y - guess, pattern.columns.long(), len(values), smallest=smallest)


def _matryoshka(learner: "Learner", x: Tensor, y: Tensor) -> StepLoss:
    """The mean loss of all parts; what the whole leaves is the error, so the others' share is what
    is added.
    """
    pattern, values = _encoded(learner, x, whole=True)
    p, ends = learner.parameters, [max(1, round(part * learner.features)) for part in PARTS]
    rows = torch.repeat_interleave(torch.arange(len(x)), pattern.starts.diff().long())
    f = torch.zeros(len(x), learner.features).index_put((rows, pattern.columns.long()), values)
    guess, losses, first = p["b_dec"].expand_as(y), [], 0
    for end in ends:
        guess = guess + f[:, first:end] @ p["W_dec"][first:end]
        losses.append((y - guess).square().sum(-1).mean() / learner.scales.variance)
        first = end
    smallest = values.detach().min() if len(values) else None
    extra = torch.stack(losses).mean() - losses[-1]
    return StepLoss(y - guess, pattern.columns.long(), len(values), extra, smallest)


def _dense(learner: "Learner", f: Tensor, y: Tensor, extra: Tensor | float) -> StepLoss:
    p, on = learner.parameters, f.detach() > 0
    error = y - f @ p["W_dec"] - p["b_dec"]
    return StepLoss(error, on.any(0).nonzero()[:, 0], int(on.sum()), extra)


def _relu(learner: "Learner", x: Tensor, y: Tensor) -> StepLoss:
    p = learner.parameters
    f = torch.addmm(p["b_enc"], x, p["W_enc"].T).relu()
    return _dense(
        learner, f, y, float(learner.penalty) * f.sum(-1).mean() / learner.scales.variance**0.5
    )


def _gated(learner: "Learner", x: Tensor, y: Tensor) -> StepLoss:
    p = learner.parameters
    linear = x @ p["W_enc"].T
    gate = linear + p["b_enc"]
    f = torch.where(gate > 0, (linear * p["r"].exp() + p["b_gain"]).relu(), 0.0)
    sizes = gate.relu()
    frozen = y - sizes @ p["W_dec"].detach() - p["b_dec"].detach()
    auxiliary = frozen.square().sum(-1).mean() / learner.scales.variance
    penalty = float(learner.penalty) * sizes.sum(-1).mean() / learner.scales.variance**0.5
    return _dense(learner, f, y, auxiliary + penalty)


class Jump(torch.autograd.Function):
    """relu(pre) · [pre > θ], and [pre > θ]; θ's gradients come through a rectangle of width
    `bandwidth` around it.
    """

    @classmethod
    def run(cls, *given: Any) -> tuple[Tensor, Tensor]:
        outputs: tuple[Tensor, Tensor] = cls.apply(*given)  # type: ignore[no-untyped-call]
        return outputs

    @staticmethod
    def forward(
        ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        on = (pre > threshold).to(pre.dtype)
        return pre.relu() * on, on

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        of_size, of_on = grads
        pre, threshold = ctx.saved_tensors
        near = ((pre - threshold).abs() < ctx.bandwidth / 2).to(pre.dtype) / ctx.bandwidth
        to_threshold = -(near * (threshold * of_size + of_on)).sum(0)
        return of_size * (pre > threshold), to_threshold, None


def _jumprelu(learner: "Learner", x: Tensor, y: Tensor) -> StepLoss:
    p = learner.parameters
    pre = torch.addmm(p["b_enc"], x, p["W_enc"].T)
    f, on = Jump.run(pre, p["log_threshold"].exp(), learner.settings.bandwidth)
    aimed = (on.sum(-1).mean() / learner.settings.k - 1).square()
    return _dense(learner, f, y, aimed)


LOSSES: dict[str, Callable[["Learner", Tensor, Tensor], StepLoss]] = {
    "topk": _topk,
    "batchtopk": _batchtopk,
    "matryoshka": _matryoshka,
    "relu": _relu,
    "gated": _gated,
    "jumprelu": _jumprelu,
}
