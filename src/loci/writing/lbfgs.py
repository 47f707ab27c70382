"""Limited-memory BFGS with a weak Wolfe line search by bisection, which also holds at the kinks
of a ReLU.

    d = −H g,  H from the last pairs (s, y) by the two-loop recursion;  x ← x + t d with
    f(x + t d) ≤ f(x) + 10⁻⁴ t gᵀd   and   g(x + t d)ᵀ d ≥ 0.9 gᵀd

Sources: Nocedal 1980; Lewis & Overton 2013 for functions that are not smooth.
"""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[float, Tensor]]
DECREASE, CURVATURE = 1e-4, 0.9
TRIES = 30


def minimise(
    function: Function,
    x: Tensor,
    steps: int,
    history: int,
    enough: Callable[[int, float, Tensor], bool],
) -> Tensor:
    """The last x after at most so many steps; fewer where `enough(step, value, x)` says so, or
    where no step goes down.

    `function` gives value and gradient. Deterministic; the cost is little more than one call of it
    a step.
    """
    value, gradient = function(x)
    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
    for step in range(steps):
        if enough(step, value, x):
            break
        direction = -_applied(pairs, gradient)
        searched = _search(
            function, x, value, gradient, direction, 1.0 if pairs else 1 / float(gradient.norm())
        )
        if searched is None:
            if not pairs:
                break
            pairs.clear()
            continue
        there, value, after = searched
        s, y = there - x, after - gradient
        curvature = float(s @ y)
        if curvature > 0:
            pairs.append((s, y, 1 / curvature))
        x, gradient = there, after
    return x


def _applied(pairs: deque[tuple[Tensor, Tensor, float]], gradient: Tensor) -> Tensor:
    """H · gradient."""
    q, alphas = gradient.clone(), []
    for s, y, rho in reversed(pairs):
        alphas.append(rho * float(s @ q))
        q -= alphas[-1] * y
    if pairs:
        _, y, rho = pairs[-1]
        q /= rho * float(y @ y)
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        q += (alpha - rho * float(y @ q)) * s
    return q


def _search(
    function: Function, x: Tensor, value: float, gradient: Tensor, direction: Tensor, t: float
) -> tuple[Tensor, float, Tensor] | None:
    """A point along the direction that fulfils both conditions, or the last that fulfils the
    first; None where nothing does."""
    slope = float(gradient @ direction)
    low, high = 0.0, torch.inf
    best = None
    for _ in range(TRIES if slope < 0 else 0):
        there = x + t * direction
        trial, after = function(there)
        if not trial <= value + DECREASE * t * slope:
            high = t
        else:
            best = (there, trial, after)
            if float(after @ direction) >= CURVATURE * slope:
                break
            low = t
        t = 2 * low if high == torch.inf else (low + high) / 2
    return best
