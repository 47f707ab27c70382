"""Loci's compiler: both layers of an MLP from facts, deterministically, by second-order descent
on squared surprise.

    ℓ_i = log Σ_j exp ⟨values_j − value_i, f(key_i)⟩        surprise of fact i: below log 2 only
                                                            where its value is ahead
    L   = Σ_i ℓ_i²  +  10 Σ_i Σ_{k ≤ n} (1 − z_ik)₊²             z_ik the k-th largest
                                                                 pre-activation at key i, n = 2;
                                                                 plain MLPs only

1. Keys and values are whitened by the second moments of their own (folded back into the weights at
   the end), so that no direction is steep.
2. The start is a Gaussian draw of a fixed seed; pre-activations have unit variance, for that is
   where an activation bends.
3. L-BFGS over all weights at once, full batch, with a weak Wolfe line search (`lbfgs`), until every
   fact is stored, or nothing is gained.
4. Where facts are lost, a plain MLP tries once more from the start with n = 3: at the edge one way
   ends well and the other does not.
5. Where few facts are lost then, they weigh more (× 1.3) for a hundred steps more, and again.
6. The output is scaled so that the smallest margin is 1, and the weights are rounded to float32.

Why the second sum: a ReLU is deaf where it is silent. Without it keys starve: neurons leave them
one by one, and a fact that has one or none is stuck (near the edge nearly all that are lost are
such). Many are too many: they cost room. SiLU(gate) · up has slopes everywhere, and does without.
Why squares: plain cross-entropy is content with a balance in which a third of the facts is lost (at
2.2 bits a parameter it converges there); squared, those that are behind weigh more, and their last
ones are got. Higher powers are worse again, as the start is then all there is. Facts per parameter
end where descent does: see `capacity_search`. Cost: (facts × values × neurons) multiplications an
evaluation, three thousand at most in an attempt, and four thousand more where few facts are left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from loci.linalg import svd
from loci.progress import Progress, silent
from loci.writing.lbfgs import minimise
from loci.writing.mlp import MLP, check_neurons
from loci.writing.table import FactTable

POWER = 2
FED, INACTIVITY_WEIGHT = (2, 3), 10.0
"""Neurons that every key should have, in the first attempt and in the second, and what it costs
where they are not there."""
CHUNK = 20
STALLED = 1e-4
ROUND = 100
HEAVIER = 1.3
FEW = 0.1


@dataclass(frozen=True)
class Effort:
    """How long the compiler tries."""

    steps: int = 3000
    """L-BFGS steps at most, in each attempt."""
    history: int = 50
    seed: int = 0
    """Of the start."""
    rounds: int = 40
    """Of more steps in which facts that are still lost weigh more."""


def compiled(
    table: FactTable,
    neurons: int,
    *,
    act: str = "relu",
    gated: bool = False,
    bias: bool = True,
    effort: Effort | None = None,
    progress: Progress = silent,
) -> MLP:
    """Compile a table into both layers of an MLP, deterministically.

    Args:
        table: keys, values and labels to store.
        neurons: width of the MLP.
        act: activation: "relu", "gelu" or "silu".
        gated: SiLU(gate) · up instead of a plain activation.
        bias: whether neurons have thresholds.
        effort: steps and attempts; None: the default.
        progress: called with (steps done, steps in all).

    Returns: The `MLP` in float32, scaled to a smallest margin of 1 where all facts are stored.
    Raises: `WriteError` for a table or a number of neurons that nothing can be made of.
    Cost: Facts · values · neurons multiplications an evaluation, some thousands of them.
    """
    effort = effort or Effort()
    task = _Task.of(table)
    begun = start(task.keys.shape[1], task.values.shape[1], neurons, gated, bias, effort.seed)
    shapes = {name: tensor.shape for name, tensor in begun.items()}
    x = torch.cat([tensor.flatten() for tensor in begun.values()])

    def mlp_of(x: Tensor) -> MLP:
        parts = x.split([shape.numel() for shape in shapes.values()])
        return MLP(
            act,
            **{
                name: part.view(shape)
                for (name, shape), part in zip(shapes.items(), parts, strict=True)
            },
        )

    attempts, weights = (0,) if gated else FED, torch.ones(len(table))
    enough = partial(_Enough, task, mlp_of)

    def descended(x: Tensor, fed: int, steps: int, progress: Progress) -> Tensor:
        descent = _Descent(task, mlp_of, weights, fed).value_and_gradient
        return minimise(descent, x, steps, effort.history, enough(len(attempts) * steps, progress))

    outcomes = list[tuple[int, int, Tensor]]()
    for fed in attempts:
        there = descended(x, fed, effort.steps, progress)
        outcomes.append((int(task.lost(mlp_of(there)).sum()), fed, there))
        if not outcomes[-1][0]:
            break
    _, fed, x = min(outcomes, key=lambda attempt: attempt[0])
    for _ in range(effort.rounds):
        lost = task.lost(mlp_of(x))
        if not 0 < lost.sum() <= FEW * len(table):
            break
        weights[lost] *= HEAVIER
        x = descended(x, fed, ROUND, silent)
    return unit_margin(table, task.folded(mlp_of(x)))


def start(
    d_in: int, d_out: int, neurons: int, gated: bool, bias: bool, seed: int
) -> dict[str, Tensor]:
    """Weights to begin with, for keys of unit length: pre-activations and outputs of unit
    variance.

    Raises `WriteError` for no neurons.
    """
    check_neurons(neurons)
    source = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source)

    params = {"W_up": draw(neurons, d_in)}
    if gated:
        params["W_gate"] = draw(neurons, d_in)
    if bias:
        params["bias"] = torch.zeros(neurons)
    params["W_down"] = draw(d_out, neurons) / neurons**0.5
    return params


def unit_margin(table: FactTable, mlp: MLP) -> MLP:
    """The same MLP with its output scaled so that the smallest margin is 1, where all facts are
    stored; as it is, where not."""
    smallest = float(table.margins(mlp(table.keys)).min())
    return mlp.scaled(1 / smallest) if smallest > 0 else mlp


class _Descent(NamedTuple):
    """Σ weight · surprise² and the inactivity penalty, and its gradient."""

    task: "_Task"
    mlp_of: Callable[[Tensor], MLP]
    weights: Float[Tensor, " fact"]
    fed: int

    def value_and_gradient(self, x: Tensor) -> tuple[float, Tensor]:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            mlp = self.mlp_of(x)
            total = (
                self.weights * self.task.surprise(mlp) ** POWER
            ).sum() + INACTIVITY_WEIGHT * self.task.inactivity_penalty(mlp, self.fed)
            (gradient,) = torch.autograd.grad(total, x)
        return float(total.detach()), gradient


@dataclass
class _Enough:
    """Whether a descent may end: every fact is stored, or the last steps gained nothing.

    Asked at every step, answered at some.
    """

    task: "_Task"
    mlp_of: Callable[[Tensor], MLP]
    steps: int
    progress: Progress
    before: float = torch.inf

    def __call__(self, step: int, value: float, x: Tensor) -> bool:
        if not step or step % CHUNK:
            return False
        self.progress(CHUNK, self.steps)
        stalled, self.before = value > (1 - STALLED) * self.before, value
        return stalled or not self.task.lost(self.mlp_of(x)).any()


class _Task(NamedTuple):
    """A table with whitened keys and values, and the way back."""

    keys: Float[Tensor, "fact r_in"]
    values: Float[Tensor, "value r_out"]
    labels: Tensor
    to_keys: Float[Tensor, "d_in r_in"]
    to_values: Float[Tensor, "d_out r_out"]

    @classmethod
    def of(cls, table: FactTable) -> "_Task":
        to_keys, to_values = whitener(table.keys), whitener(table.values)
        keys, values = (
            (table.keys.double() @ to_keys).float(),
            (table.values.double() @ to_values).float(),
        )
        return cls(keys, values, table.labels, to_keys, to_values)

    def scores(self, mlp: MLP) -> Tensor:
        return mlp.neurons(self.keys) @ (self.values @ mlp.W_down).T

    def surprise(self, mlp: MLP) -> Float[Tensor, " fact"]:
        return functional.cross_entropy(self.scores(mlp), self.labels, reduction="none")

    def inactivity_penalty(self, mlp: MLP, fed: int) -> Float[Tensor, ""]:
        """How far the `fed` strongest neurons of each key are below 1, squared."""
        strongest = mlp.pre(self.keys).topk(min(fed, mlp.size), dim=1).values
        return (1 - strongest).relu().pow(2).sum()

    @torch.no_grad()
    def lost(self, mlp: MLP) -> Bool[Tensor, " fact"]:
        """Which facts are not stored."""
        scores = self.scores(mlp)
        right = scores.gather(1, self.labels[:, None])
        return (right <= scores.scatter(1, self.labels[:, None], -torch.inf).amax(1, keepdim=True))[
            :, 0
        ]

    @torch.no_grad()
    def folded(self, mlp: MLP) -> MLP:
        """The MLP on the table's own keys and values: W_in Tᵀ reads a key as W_in reads the
        whitened one."""

        def fold(name: str, tensor: Tensor) -> Tensor:
            if name == "bias":
                return tensor.detach().clone()
            if name == "W_down":
                return (self.to_values @ tensor.double()).float()
            return (tensor.double() @ self.to_keys.T).float()

        return MLP(mlp.act, **{name: fold(name, tensor) for name, tensor in mlp.tensors.items()})


def whitener(rows: Float[Tensor, "n d"], floor: float = 1e-6) -> Float[Tensor, "d r"]:
    """T with rows · T of second moment 1/r in the r directions that occur: rows of unit mean
    square length."""
    _, S, Vh = svd(rows, "the table's vectors")
    kept = floor * S[0] < S
    scaled: Tensor = Vh[kept].T / S[kept] * (len(rows) / int(kept.sum())) ** 0.5
    return scaled
