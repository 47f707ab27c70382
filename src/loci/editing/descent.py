"""Steps down the slope of an objective, with and without Adam.

    x ← x − min( L / ‖g‖, longest ) · g / ‖g‖          g = ∂ L / ∂ x

is Polyak's step (1969): as far as would bring L to 0, were it linear. Where x is whitened, so that
all directions cost alike, it keeps the change small. With some facts drawn for each step it is the
stochastic Polyak step (Loizou et al. 2021). Adam moves every coordinate by as much, needed or not.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor


class Descent(Protocol):
    """Moves variables by their gradients, and clears those."""

    def step(self, loss: float, pace: float) -> None:
        """One step, at a share of the longest."""
        ...


class PolyakDescent:
    """All variables together, by at most `longest`."""

    def __init__(self, variables: Sequence[Tensor], longest: float) -> None:
        self.variables, self.longest = list(variables), longest

    @torch.no_grad()
    def step(self, loss: float, pace: float) -> None:
        sizes = [x.numel() for x in self.variables]
        g = torch.cat([_gradient(x).flatten() for x in self.variables])
        x = torch.cat([x.detach().flatten() for x in self.variables])
        losses = torch.tensor([loss], device=g.device)
        moved = stepped(
            x[None], g[None], losses, torch.full_like(losses, self.longest * pace)[None]
        )
        for variable, new in zip(self.variables, moved[0].split(sizes), strict=True):
            variable.copy_(new.view_as(variable))
            variable.grad = None


class AdamDescent:
    """Every coordinate at its own pace (Kingma & Ba 2015)."""

    def __init__(self, variables: Sequence[Tensor], lr: float) -> None:
        self.lr, self.adam = lr, torch.optim.Adam(variables, lr=lr)

    def step(self, loss: float, pace: float) -> None:
        self.adam.param_groups[0]["lr"] = self.lr * pace
        self.adam.step()
        self.adam.zero_grad()


def stepped(
    x: Float[Tensor, "row width"],
    grad: Tensor,
    loss: Float[Tensor, " row"],
    longest: Float[Tensor, "row 1"],
) -> Tensor:
    """Polyak's step towards a loss of 0 in each row; none where there is no gradient."""
    slope: Tensor = grad.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return x - torch.minimum(loss[:, None] / slope, longest) * grad / slope


def _gradient(x: Tensor) -> Tensor:
    return torch.zeros_like(x) if x.grad is None else x.grad
