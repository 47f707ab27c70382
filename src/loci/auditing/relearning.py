"""How fast an answer is learnt: plain descent on the weights of all MLPs, undone afterwards.

    θ ← θ − rate · ‖θ‖ · g / ‖g‖        g = ∂ L / ∂ θ over all MLP matrices together,
                                        L = mean −log P(answer) over the answers that are not said

Every step moves the weights by the same share of their norm, so one rate fits models of every
size. An answer counts as learnt at the first step before which each of its tokens is the likeliest
one. What is only hidden comes back in fewer steps than what was never there takes: savings, as
Ebbinghaus (1885) measured memory; for models see "Jogging the memory of unlearned models"
(2406.13356).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model, by_length
from loci.model.joins import with_answers
from loci.model.unembedding import last_streams

RATE, STEPS = 5e-4, 40
Lesson = tuple[str, str]
"""A prompt and the answer to be learnt."""


@contextmanager
def learning(model: Model) -> Iterator[list[Tensor]]:
    """Inside the block the MLPs' matrices take gradients; after it every bit is as before.

    Raises `ModelError` for mixtures of experts. Memory: a copy of these matrices, and gradients.
    """
    if model.n_experts:
        raise ModelError(f"{model.name!r} is a mixture of experts: relearning trains plain MLPs")
    parts = ("up", "gate", "down") if model.gated else ("up", "down")
    modules: list[Any] = [
        model.module(part, layer) for layer in range(model.n_layers) for part in parts
    ]
    weights: list[Tensor] = list({id(own.weight): own.weight for own in modules}.values())
    before = [weight.detach().clone() for weight in weights]
    takes = [weight.requires_grad for weight in weights]
    with model.known_fingerprint.restored(weights), model.frozen():
        try:
            for weight in weights:
                weight.requires_grad_(True)
            yield weights
        finally:
            with torch.no_grad():
                for weight, old, took in zip(weights, before, takes, strict=True):
                    weight.grad = None
                    weight.requires_grad_(took).copy_(old)


def learn(
    model: Model, weights: Sequence[Tensor], lessons: Sequence[Lesson], steps: int, rate: float
) -> list[int | None]:
    """Steps after which each lesson's answer is said (0: it was said already); None where `steps`
    are too few.

    Inside `learning`, whose weights are moved. Cost: a forward and a backward pass of all lessons
    a step; it ends where all are said.
    """
    asked = with_answers(model, lessons)
    rows = [(tokens.ids, span) for tokens, span in asked]
    learnt: list[int | None] = [None] * len(rows)
    for step in range(steps + 1):
        open_ = [i for i, found in enumerate(learnt) if found is None]
        for batch in by_length(open_, lambda i: len(rows[i][0]), model.tokens_at_once):
            some = [open_[i] for i in batch]
            losses = dict(zip(some, _losses(model, [rows[i] for i in some]), strict=True))
            learnt = [step if i in losses and losses[i][1] else was for i, was in enumerate(learnt)]
            unsaid = [loss for loss, said in losses.values() if not said]
            if unsaid and step < steps:
                (torch.stack(unsaid).sum() / len(open_)).backward()
        if None not in learnt or step == steps:
            break
        _descend(weights, rate)
    return learnt


def train(
    model: Model, weights: Sequence[Tensor], lessons: Sequence[Lesson], steps: int, rate: float
) -> None:
    """So many steps on all lessons, said or not. Cost: as `learn`."""
    rows = [(tokens.ids, span) for tokens, span in with_answers(model, lessons)]
    for _ in range(steps):
        for batch in by_length(rows, lambda row: len(row[0]), model.tokens_at_once):
            losses = [loss for loss, _ in _losses(model, [rows[i] for i in batch])]
            (torch.stack(losses).sum() / len(rows)).backward()
        _descend(weights, rate)


def _losses(
    model: Model, rows: Sequence[tuple[Sequence[int], tuple[int, int]]]
) -> list[tuple[Tensor, bool]]:
    """Mean −log P of each row's answer, and whether all its tokens are the likeliest."""
    with torch.enable_grad():
        ids = model.ids([ids for ids, _ in rows])
        streams = last_streams(model, ids)
        found = []
        for row, (_, (start, end)) in enumerate(rows):
            logits = model.unembed(streams[row, start - 1 : end - 1]).float()
            targets = ids[row, start:end]
            loss = torch.nn.functional.cross_entropy(logits, targets)
            found.append((loss, bool((logits.argmax(-1) == targets).all())))
        return found


@torch.no_grad()
def _descend(weights: Sequence[Tensor], rate: float) -> None:
    size = sum(float(weight.double().square().sum()) for weight in weights) ** 0.5
    moved = [(weight, weight.grad) for weight in weights if weight.grad is not None]
    slope = sum(float(grad.double().square().sum()) for _, grad in moved) ** 0.5
    for weight, grad in moved:
        weight -= (rate * size / max(slope, 1e-30)) * grad
        weight.grad = None
