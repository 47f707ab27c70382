"""Activations of a model's points over text, token by token, with the place of each token."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.errors import DictionaryError
from loci.model import Model
from loci.progress import Progress, silent
from loci.survey import survey
from loci.survey.accumulators import Rows


class KeptRows:
    """An accumulator that keeps every vector, and where it stood: memory is tokens · width · 4
    bytes.
    """

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._places: list[Tensor] = []

    def update(self, values: Float[Tensor, "batch position width"], rows: Rows) -> None:
        values = values.flatten(2).float().cpu()
        texts = rows.text[:, None].expand(values.shape[:2])
        positions = rows.start[:, None] + torch.arange(values.shape[1])
        self._values.append(values.flatten(0, 1).clone())
        self._places.append(torch.stack([texts, positions], -1).flatten(0, 1))

    def merge(self, other: "KeptRows") -> None:
        self._values += other._values
        self._places += other._places

    def state(self) -> dict[str, Tensor]:
        return {"values": self.values, "places": self.places} if self._values else {}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._values, self._places = (
            [state[name]] if name in state else [] for name in ("values", "places")
        )

    @property
    def values(self) -> Float[Tensor, "token width"]:
        return torch.cat(self._values)

    @property
    def places(self) -> Int[Tensor, "token 2"]:
        """The number of the text, and the position in it behind what stands before a text."""
        return torch.cat(self._places)


@dataclass(frozen=True)
class PointRows:
    """The vectors of several points at the same tokens."""

    values: dict[str, Float[Tensor, "token width"]]
    places: Int[Tensor, "token 2"]

    def __len__(self) -> int:
        return len(self.places)


@torch.no_grad()
def read_rows(
    model: Model,
    texts: Iterable[str],
    points: Sequence[str],
    *,
    tokens: int | None = None,
    progress: Progress = silent,
) -> PointRows:
    """The vectors of some points at every token of the texts, or at the first `tokens` of them.

    What stands before a text (BOS) is left out. Raises `DictionaryError` where there is no text.
    Cost: one partial forward pass; memory: tokens · Σ widths · 4 bytes.
    """
    chosen = [text for text in texts if text.strip()]
    if not chosen:
        raise DictionaryError("there is no text to read activations from")
    gathering = {point: [KeptRows()] for point in dict.fromkeys(points)}
    survey(model, chosen, gathering, progress=progress)
    places = next(iter(gathering.values()))[0].places[:tokens]
    return PointRows({point: kept.values[:tokens] for point, [kept] in gathering.items()}, places)


def width_of(model: Model, point: str) -> int:
    """How many numbers a point has at a token. Raises `ModelError` for a point that does not
    exist.
    """
    model.place(point)
    ids = model.ids([model.tokenize("a").ids])
    return int(model.read(ids, point)[point].flatten(2).shape[-1])
