"""What a pass over text can gather at one point of the model, batch by batch.

Every accumulator has `update(values, where)`, `merge(other)` and `state()`; two shards merged equal one pass over both.
`values` are [tokens, width]; `where` are the tokens' places as [tokens, 2]: number of the text, position in it.
"""

from typing import Protocol, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

Values = Float[Tensor, "tokens width"]
Places = Int[Tensor, "tokens 2"]


class Accumulator(Protocol):
    def update(self, values: Values, where: Places) -> None: ...
    def merge(self, other: Self) -> None: ...
    def state(self) -> dict[str, Tensor]: ...


class SecondMoment:
    """C = E[x xᵀ], not centred, in float64: [width, width]. Memory: width² × 8 bytes."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | None = None

    def update(self, values: Values, where: Places) -> None:
        wide = values.double()
        product = wide.T @ wide
        self._sum = product if self._sum is None else self._sum.add_(product)
        self.count += len(values)

    def merge(self, other: Self) -> None:
        if other._sum is not None:
            self._sum = other._sum.clone() if self._sum is None else self._sum + other._sum
        self.count += other.count

    @property
    def mean(self) -> Float[Tensor, "width width"]:
        if self._sum is None:
            raise ValueError("nothing was accumulated")
        return self._sum / self.count

    def state(self) -> dict[str, Tensor]:
        return {"second_moment": self.mean, "count": torch.tensor(self.count)}


class FiringRate:
    """Share of tokens at which each neuron exceeds `threshold`: [width]."""

    def __init__(self, threshold: float = 0.0) -> None:
        self.threshold = threshold
        self.count = 0
        self._fired: Tensor | None = None

    def update(self, values: Values, where: Places) -> None:
        fired = (values > self.threshold).sum(0)
        self._fired = fired if self._fired is None else self._fired.add_(fired)
        self.count += len(values)

    def merge(self, other: Self) -> None:
        if other._fired is not None:
            self._fired = other._fired.clone() if self._fired is None else self._fired + other._fired
        self.count += other.count

    @property
    def rate(self) -> Float[Tensor, " width"]:
        if self._fired is None:
            raise ValueError("nothing was accumulated")
        return self._fired.double() / self.count

    def state(self) -> dict[str, Tensor]:
        return {"firing_rate": self.rate, "count": torch.tensor(self.count)}


class TopTriggers:
    """For each chosen neuron the `k` places where it is largest, the largest first; ties go to the earlier place.

    A text counts once for a neuron: only its best position is kept, so that `k` different contexts come out.
    """

    def __init__(self, neurons: list[int], k: int = 10) -> None:
        self.neurons = torch.tensor(neurons)
        self.k = k
        self.values = torch.full((0, len(neurons)), -torch.inf)
        self.places = torch.zeros((0, len(neurons), 2), dtype=torch.long)

    def update(self, values: Values, where: Places) -> None:
        chosen = values[:, self.neurons].float()
        texts, starts = where[:, 0].unique_consecutive(return_inverse=True)
        rows = starts[:, None].expand_as(chosen)
        best = torch.full((len(texts), chosen.shape[1]), -torch.inf).scatter_reduce_(0, rows, chosen, "amax")
        at_best = torch.where(chosen == best[starts], -where[:, 1:], torch.iinfo(torch.long).min)
        first = torch.full(best.shape, torch.iinfo(torch.long).min).scatter_reduce_(0, rows, at_best, "amax")
        self._keep(best, torch.stack([texts[:, None].expand_as(first), -first], dim=-1))

    def merge(self, other: Self) -> None:
        self._keep(other.values, other.places)

    def _keep(self, values: Tensor, places: Tensor) -> None:
        values, places = torch.cat([self.values, values]), torch.cat([self.places, places])
        by_place = (places[..., 0]).argsort(dim=0, stable=True)
        values, places = values.gather(0, by_place), _gather(places, by_place)
        top = values.argsort(dim=0, descending=True, stable=True)[: self.k]
        self.values, self.places = values.gather(0, top), _gather(places, top)

    def state(self) -> dict[str, Tensor]:
        return {"neurons": self.neurons, "trigger_values": self.values, "trigger_places": self.places}


def _gather(places: Tensor, order: Tensor) -> Tensor:
    return places.gather(0, order[..., None].expand(*order.shape, 2))
