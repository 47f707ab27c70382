"""Accumulators of a pass over text: statistics of one point of the model, batch by batch.

Every accumulator has `update(values, rows)`, `merge(other)`, `state()` and `restore(state)`. Two
shards merged equal one pass over both, in either order; a state restored goes on as if nothing had
been. `values` are [row, position, width], `rows` say which text each row is of and at which of its
tokens it begins. Sums are float64 from batch to batch, and stay where the values are.
"""

from typing import NamedTuple, Protocol, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.linalg import orthonormal

Values = Float[Tensor, "row position width"]
State = dict[str, Tensor]


class Rows(NamedTuple):
    """Where the rows of a batch come from."""

    text: Int[Tensor, " row"]
    """Number of the text, counted through the whole pass."""
    start: Int[Tensor, " row"]
    """The text's token at the row's first position."""


class Accumulator(Protocol):
    def update(self, values: Values, rows: Rows) -> None: ...
    def merge(self, other: Self) -> None: ...
    def state(self) -> State: ...
    def restore(self, state: State) -> None: ...


class _Sums:
    """Named sums over tokens, and how many tokens: what most accumulators are."""

    def __init__(self) -> None:
        self.count = 0
        self._sums: State = {}

    def _add(self, tokens: int, **sums: Tensor) -> None:
        self.count += tokens
        for name, new in sums.items():
            old = self._sums.get(name)
            self._sums[name] = new if old is None else old.to(new.device).add_(new)

    def merge(self, other: Self) -> None:
        self._add(other.count, **{name: tensor.clone() for name, tensor in other._sums.items()})

    def state(self) -> State:
        return {
            "count": torch.tensor(self.count),
            **{name: tensor.cpu().contiguous() for name, tensor in self._sums.items()},
        }

    def restore(self, state: State) -> None:
        self.count = int(state["count"])
        self._sums = {name: tensor.clone() for name, tensor in state.items() if name != "count"}

    def _sum(self, name: str) -> Tensor:
        if not self.count:
            raise ValueError("nothing was accumulated")
        return self._sums[name].cpu()


class SecondMoment(_Sums):
    """C = E[x xᵀ], not centred, in float64: [width, width]. Memory: width² × 8 bytes."""

    def update(self, values: Values, rows: Rows) -> None:
        wide = values.flatten(0, 1).double()
        self._add(len(wide), product=wide.T @ wide)

    @property
    def mean(self) -> Float[Tensor, "width width"]:
        return self._sum("product") / self.count


class FiringRate(_Sums):
    """Share of tokens at which each neuron exceeds `threshold`: [width]."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def update(self, values: Values, rows: Rows) -> None:
        wide = values.flatten(0, 1)
        above = torch.gt(
            wide, self.threshold, out=torch.empty(wide.shape, device=wide.device)
        )  # as bool it takes six times as long
        self._add(len(wide), fired=(above.new_ones(len(above)) @ above).long())

    @property
    def rate(self) -> Float[Tensor, " width"]:
        return self._sum("fired").double() / self.count


TILE = 128
"""Tokens whose powers are summed at a time: they stay in a CPU's cache, which halves the time."""


def rotation(width: int, columns: int, seed: int = 0) -> Float[Tensor, "width columns"]:
    """The first columns of a random rotation: orthonormal,
    and no direction likelier than another.
    """
    generator = torch.Generator().manual_seed(seed)
    Q, R = orthonormal(
        torch.randn(width, min(width, columns), generator=generator, dtype=torch.float64)
    )
    turned: Tensor = Q * R.diagonal().sign()  # without the signs QR prefers some rotations
    return turned


class Moments:
    """Mean, variance and excess kurtosis of each coordinate, or of x · turn where a `turn` is
    given: [width].

    Central moments of batches are joined by the formulas of Pébay 2008, which do not cancel as sums
    of raw powers do where a mean is large.
    """

    def __init__(self, turn: Float[Tensor, "width columns"] | None = None) -> None:
        self.turn = turn
        self.count = 0
        self._mean: Tensor | None = None
        self._sums = torch.empty(0)
        """Σ (x − x̄)², ³ and ⁴: [3, width]."""

    def update(self, values: Values, rows: Rows) -> None:
        x = values.flatten(0, 1)
        x = x if x.dtype == torch.float64 else x.float()
        x = x if self.turn is None else x @ self.turn.to(x)
        center = x.mean(0)
        sums = torch.zeros(3, x.shape[1], dtype=torch.float64, device=x.device)
        for some in x.split(TILE if x.device.type == "cpu" else len(x)):
            away = some - center
            square = away * away
            sums += torch.stack(
                [square.sum(0), away.mul_(square).sum(0), square.mul_(square).sum(0)]
            )
        self._join(len(x), center.double(), sums)

    def merge(self, other: Self) -> None:
        if other._mean is not None:
            self._join(other.count, other._mean, other._sums)

    def _join(self, b: int, center: Tensor, sums: Tensor) -> None:
        if self._mean is None:
            self.count, self._mean, self._sums = b, center.clone(), sums.clone()
            return
        mean, old = self._mean.to(center.device), self._sums.to(center.device)
        a, n, δ = self.count, self.count + b, center - mean
        (a2, a3, a4), (b2, b3, b4) = old, sums
        fourth = (
            δ**4 * a * b * (a * a - a * b + b * b) / n**3
            + 6 * δ**2 * (a * a * b2 + b * b * a2) / n**2
        )
        self._sums = torch.stack(
            [
                a2 + b2 + δ**2 * a * b / n,
                a3 + b3 + δ**3 * a * b * (a - b) / n**2 + 3 * δ * (a * b2 - b * a2) / n,
                a4 + b4 + fourth + 4 * δ * (a * b3 - b * a3) / n,
            ]
        )
        self.count, self._mean = n, mean + δ * b / n

    def state(self) -> State:
        if self._mean is None:
            return {}
        return {
            "count": torch.tensor(self.count),
            "mean": self._mean.cpu(),
            "sums": self._sums.cpu(),
        }

    def restore(self, state: State) -> None:
        if state:
            self.count, self._mean, self._sums = (
                int(state["count"]),
                state["mean"].clone(),
                state["sums"].clone(),
            )

    @property
    def mean(self) -> Float[Tensor, " width"]:
        if self._mean is None:
            raise ValueError("nothing was accumulated")
        return self._mean.cpu()

    @property
    def variance(self) -> Float[Tensor, " width"]:
        return self._sums[0].cpu() / self.count

    @property
    def kurtosis(self) -> Float[Tensor, " width"]:
        """E[(x − x̄)⁴] / Var² − 3: 0 for a Gaussian; NaN where nothing varies beyond rounding."""
        fourth = self._sums[2].cpu() / self.count
        return torch.where(
            self.variance > 1e-12 * self.mean.square(),
            fourth / self.variance.square() - 3,
            torch.nan,
        )


class Extremes:
    """Smallest and largest value of each coordinate: [width]."""

    def __init__(self) -> None:
        self._low: Tensor | None = None
        self._high: Tensor | None = None

    def update(self, values: Values, rows: Rows) -> None:
        flat = values.flatten(0, 1).float()
        self._keep(flat.amin(0), flat.amax(0))  # together, as aminmax, they take five times as long

    def _keep(self, low: Tensor, high: Tensor) -> None:
        self._low = low if self._low is None else torch.minimum(self._low.to(low.device), low)
        self._high = high if self._high is None else torch.maximum(self._high.to(high.device), high)

    def merge(self, other: Self) -> None:
        if other._low is not None and other._high is not None:
            self._keep(other._low, other._high)

    def state(self) -> State:
        return (
            {}
            if self._low is None or self._high is None
            else {"low": self._low.cpu(), "high": self._high.cpu()}
        )

    def restore(self, state: State) -> None:
        self._low, self._high = state.get("low"), state.get("high")

    @property
    def low(self) -> Float[Tensor, " width"]:
        return self.state()["low"]

    @property
    def high(self) -> Float[Tensor, " width"]:
        return self.state()["high"]
