"""Toy models of superposition: n sparse features through m < n dimensions and back, many models
in one batched optimisation.

    x'_i = f(Wᵀ W x + b)_i, f the identity or ReLU       loss = E Σ_i I_i (x_i − x'_i)²
            W: m × n, a column a feature
    x_i = 0 with probability S, else uniform in [0, 1]   density = 1 − S

    representation  ‖W_i‖: 0 where feature i is dropped, near 1 where it is kept
    superposition   Σ_{j≠i} (Ŵ_i · W_j)²: 0 where feature i has its dimension alone
    dimensionality  D_i = ‖W_i‖² / Σ_j (Ŵ_i · W_j)² (Scherlis et al. 2022 call it capacity), Σ_i D_i
        ≤ m
                    D* = m / ‖W‖²: dimensions per feature

Each model has its own density; all see the same draws, thinned by their densities. Source: Elhage
et al. 2022, Toy Models of Superposition; the batched notebook beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import SuperpositionError
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns

Draw = Callable[[int, torch.Generator], Float[Tensor, "instance batch feature"]]
SHOWN = 60
"""Looks at a model while it learns."""


@dataclass(frozen=True)
class ToyModels(Result):
    """Trained models, one for each density; of several runs of each the one with the least loss."""

    about: ClassVar[About] = About(
        "a toy model",
        "When does a network put features into superposition?",
        "Each panel is a density of features: bars are lengths, colours how much others share.",
        "toys.toy_figure",
    )

    densities: tuple[float, ...]
    importance: Float[Tensor, " feature"]
    relu: bool
    W: Float[Tensor, "instance dim feature"]
    b: Float[Tensor, "instance feature"]
    loss: Float[Tensor, " instance"]
    seed: int

    @property
    def features(self) -> int:
        return self.W.shape[2]

    @property
    def dims(self) -> int:
        return self.W.shape[1]

    @property
    def norms(self) -> Float[Tensor, "instance feature"]:
        lengths: Tensor = self.W.norm(dim=1)
        return lengths

    @property
    def superposition(self) -> Float[Tensor, "instance feature"]:
        return interference_of(self.W)

    @property
    def dimensionality(self) -> Float[Tensor, "instance feature"]:
        return dimensionality(self.W)

    @property
    def per_feature(self) -> Float[Tensor, " instance"]:
        """D*: dimensions per feature."""
        per: Tensor = self.dims / self.W.square().sum((1, 2))
        return per

    @property
    def represented(self) -> list[int]:
        """Features with ‖W_i‖ above one half."""
        return [int(row) for row in (self.norms > 0.5).sum(1)]

    def title(self) -> str:
        return (
            f"{self.features} features in {self.dims} dimensions,"
            f" {'ReLU' if self.relu else 'linear'} output"
        )

    def tables(self) -> tuple[Table, ...]:
        alone = ((self.superposition < 0.1) & (self.norms > 0.5)).sum(1).tolist()
        parts = (self.loss.tolist(), self.represented, alone, self.per_feature.tolist())
        rows = tuple((f"{p:.3g}", *own) for p, *own in zip(self.densities, *parts, strict=True))
        heads = ("loss|.4g", "features kept", "of them alone", "dimensions a feature|.3f")
        return (Table("By density", columns("density", *heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        names = (
            "W",
            "b",
            "loss",
            "norms",
            "superposition",
            "dimensionality",
            "per_feature",
            "importance",
        )
        tensors = {name: getattr(self, name).tolist() for name in names}
        plain = {"features": self.features, "dims": self.dims, "relu": self.relu, "seed": self.seed}
        return {
            "schema": "loci.superposition_toy/1",
            **plain,
            "densities": list(self.densities),
            "represented": self.represented,
            **tensors,
        }


def dimensionality(W: Float[Tensor, "*any dim feature"]) -> Float[Tensor, "*any feature"]:
    """D_i = ‖W_i‖⁴ / Σ_j (W_i · W_j)²; 0 for a feature that is dropped."""
    squares = (W.mT @ W).square()
    own = squares.diagonal(dim1=-2, dim2=-1)
    return own / squares.sum(-1).clamp(min=1e-12) * (own > 1e-4)


def interference_of(W: Float[Tensor, "*any dim feature"]) -> Float[Tensor, "*any feature"]:
    """Σ_{j≠i} (Ŵ_i · W_j)²."""
    squares = (W.mT @ W).square()
    own = squares.diagonal(dim1=-2, dim2=-1)
    return (squares.sum(-1) - own) / own.sqrt().clamp(min=1e-6)


def toy(
    features: int = 20,
    dims: int = 5,
    densities: Sequence[float] = (1.0, 0.5, 0.3, 0.1, 0.05, 0.03, 0.01),
    *,
    importance: float = 0.7,
    relu: bool = True,
    runs: int = 1,
    steps: int = 5000,
    batch: int = 1024,
    seed: int = 0,
    progress: Progress = silent,
    growing: "Callable[[int, ToyModels], None] | None" = None,
) -> ToyModels:
    """Train toy models x → ReLU(WᵀWx + b) at several densities; the best run of each is kept.

    Args:
        features: number of features.
        dims: hidden dimensions of the toy model.
        densities: probabilities that a feature is active.
        importance: ratio of one feature's weight in the loss to the one before.
        relu: without: a linear model.
        runs: models of each density.
        steps: training steps.
        batch: inputs a step.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).
        growing: called some sixty times while they learn, with the steps done and the models as
            they are then (all runs; the loss is that of the last batch).

    Returns: `ToyModels`: W [density, dims, features], b, losses.
    Raises: `SuperpositionError` for sizes that make no model.
    Cost: 4 · densities · runs · batch · features · dims multiplications a step, forward; twice that
        back.
    Source: Elhage et al. 2022.
    """
    check_toy(features, dims, densities)
    if not 0 < importance <= 1:
        raise SuperpositionError(
            "importance falls as its powers: expected a base above 0 and at most 1, not "
            f"{importance}"
        )
    weights = importance ** torch.arange(features, dtype=torch.float)
    rates = torch.tensor([p for p in densities for _ in range(runs)])

    def seen(step: int, W: Tensor, b: Tensor, loss: Tensor) -> None:
        if growing is not None:
            growing(step, ToyModels(tuple(rates.tolist()), weights, relu, W, b, loss, seed))

    W, b, loss = train(
        uniform(rates, features),
        len(rates),
        features,
        dims,
        weights,
        relu=relu,
        steps=steps,
        batch=batch,
        seed=seed,
        progress=progress,
        seen=seen if growing is not None else None,
    )
    best = loss.view(-1, runs).argmin(1) + torch.arange(len(densities)) * runs
    return ToyModels(tuple(densities), weights, relu, W[best], b[best], loss[best], seed)


def check_toy(features: int, dims: int, densities: Sequence[float]) -> None:
    """Raise `SuperpositionError` for a toy that is none."""
    if not 1 <= dims <= features or features < 2:
        raise SuperpositionError(
            f"{features} features in {dims} dimensions: expected 2 features and 1 dimension at "
            "least, and no more dimensions than features"
        )
    if not densities or not all(0 < p <= 1 for p in densities):
        raise SuperpositionError(
            "a density is the probability that a feature is there: expected numbers above 0 and at "
            "most 1"
        )


def uniform(rates: Float[Tensor, " instance"], features: int) -> Draw:
    """x_i uniform in [0, 1] with the instance's probability, else 0."""

    def draw(batch: int, generator: torch.Generator) -> Tensor:
        chance, value = torch.rand(2, batch, features, generator=generator)
        drawn: Tensor = value * (chance < rates[:, None, None])
        return drawn

    return draw


def train(
    draw: Draw,
    instances: int,
    features: int,
    dims: int,
    importance: Float[Tensor, " feature"],
    *,
    relu: bool = True,
    steps: int = 5000,
    batch: int = 1024,
    lr: float = 3e-3,
    seed: int = 0,
    progress: Progress = silent,
    seen: Callable[[int, Tensor, Tensor, Tensor], None] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """W, b and loss of all instances; the loss is on draws that were not trained on. `seen` is
    shown the step, W, b and the batch's loss some `SHOWN` times.
    """
    generator = torch.Generator().manual_seed(seed)
    W = (
        torch.randn(instances, dims, features, generator=generator) * (2 / (dims + features)) ** 0.5
    ).requires_grad_()
    b = torch.zeros(instances, 1, features, requires_grad=True)
    optimizer = torch.optim.Adam([W, b], lr)

    def losses(x: Tensor) -> Tensor:
        return (importance * (x - rebuilt(W, b, x, relu)).square()).mean(1).sum(-1)

    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(
            1.0, 2 * (1 - step / steps)
        )  # constant, then down to 0
        optimizer.zero_grad()
        loss = losses(draw(batch, generator))
        loss.sum().backward()
        optimizer.step()
        if seen is not None and step % max(1, steps // SHOWN) == 0:
            seen(step + 1, W.detach().clone(), b.detach()[:, 0].clone(), loss.detach())
        progress(1, steps)
    with torch.no_grad():
        held_out = torch.stack([losses(draw(batch, generator)) for _ in range(10)]).mean(0)
    return W.detach(), b.detach()[:, 0], held_out


def rebuilt(W: Tensor, b: Tensor, x: Tensor, relu: bool) -> Tensor:
    """x' of a batch: [instance, batch, feature]."""
    linear = x @ W.mT @ W + b
    return linear.relu() if relu else linear
