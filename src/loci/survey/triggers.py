"""Where each neuron is largest: the contexts that its key looks for."""

from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.survey.accumulators import Rows, State, Values


class TopTriggers:
    """For each chosen neuron (all by default) the `k` places where it is largest, the largest
    first; ties go to the earlier place.

    A row counts once for a neuron: only its best position is kept, so that `k` different contexts
    come out.
    """

    def __init__(self, neurons: list[int] | None = None, k: int = 10) -> None:
        self.neurons = neurons
        self.k = k
        self._keys: Tensor | None = None
        """Value and place in one number, so that there are no ties: [width, k]."""
        self._values: Tensor | None = None
        self._places: Tensor | None = None

    def update(self, values: Values, rows: Rows) -> None:
        chosen = values if self.neurons is None else values[..., self.neurons]
        text, start = rows.text.to(chosen.device)[:, None], rows.start.to(chosen.device)[:, None]
        earlier = (text << 6) + (start // 64).clamp(max=63)
        keys = (_ordered(chosen.float().amax(1)) << 32) - earlier
        better = self._better(keys)
        best, at = chosen[..., better].float().max(1)
        self._keep(better, keys[:, better], best, (text << 24) + start + at)

    def _better(self, keys: Int[Tensor, "row width"]) -> Int[Tensor, " some"]:
        """The columns at which a row is above the last that is kept: few,
        once much has been seen.
        """
        if self._keys is None or self._keys.shape[1] < self.k:
            return torch.arange(keys.shape[1], device=keys.device)
        return (keys.amax(0) > self._keys[:, -1].to(keys.device)).nonzero()[:, 0]

    def _keep(
        self, columns: Int[Tensor, " some"], keys: Tensor, values: Tensor, places: Tensor
    ) -> None:
        """Keep the best of what is there and of [row, some] new ones in these columns."""
        candidates = [tensor.T for tensor in (keys, values, places)]
        kept = [
            tensor.to(keys.device)
            for tensor in (self._keys, self._values, self._places)
            if tensor is not None
        ]
        if kept:
            candidates = [
                torch.cat([old[columns], new], 1) for old, new in zip(kept, candidates, strict=True)
            ]
        top = candidates[0].topk(min(self.k, candidates[0].shape[1]), dim=1).indices
        candidates = [tensor.gather(1, top) for tensor in candidates]
        if kept and len(columns) < len(kept[0]):
            candidates = [
                old.index_copy(0, columns, new) for old, new in zip(kept, candidates, strict=True)
            ]
        self._keys, self._values, self._places = candidates

    def merge(self, other: Self) -> None:
        if other._keys is not None and other._values is not None and other._places is not None:
            columns = torch.arange(len(other._keys), device=other._keys.device)
            self._keep(columns, other._keys.T, other._values.T, other._places.T)

    def state(self) -> State:
        if self._keys is None or self._values is None or self._places is None:
            return {}
        return {
            "keys": self._keys.cpu(),
            "values": self._values.cpu(),
            "places": self._places.cpu(),
        }

    def restore(self, state: State) -> None:
        self._keys, self._values, self._places = (
            state.get("keys"),
            state.get("values"),
            state.get("places"),
        )

    @property
    def values(self) -> Float[Tensor, "k width"]:
        """The activations, the largest first."""
        return self.state()["values"].T

    @property
    def places(self) -> Int[Tensor, "k width 2"]:
        """(text, token) of each."""
        places = self.state()["places"].T
        return torch.stack([places >> 24, places & 0xFFFFFF], -1)


def _ordered(values: Float[Tensor, "*any"]) -> Int[Tensor, "*any"]:
    """Whole numbers in the order of float32 values."""
    bits = (values + 0.0).view(torch.int32).long()
    return torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
