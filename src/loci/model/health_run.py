"""One model under examination: run in its dtype and in float64; what rounding explains."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

import torch
from torch import Tensor

from loci.model.model import Model
from loci.model.points import ATTENTION
from loci.model.rounding import difference, tolerance

TEXTS = (
    "Michael Jordan plays the sport of basketball",
    "The Eiffel Tower stands in the city of Paris",
    "It is",
)

ODD = (
    *TEXTS,
    "Zürich, 東京 and a naïve café",
    "  two  spaces\tand a tab",
    "$1,234.50 — isn't it? 🙂",
)

ROUNDINGS = 3

CARRIED = 40.0
"""Times the error that rounding the stream makes: kernels also round inside a layer."""


@dataclass(frozen=True)
class Check:
    """One claim: passed where `error` ≤ `allowed`; `note` says what was measured, or why the claim
    does not apply.
    """

    name: str
    error: float | None
    allowed: float
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """None where the claim does not apply to this family."""
        return None if self.error is None else self.error <= self.allowed


class Patient:
    """A model with a batch of equally long texts, and what it says to them when nothing is
    attached.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows = [list(model.tokenize(text).ids) for text in TEXTS]
        width = min(len(row) for row in self.rows[:2])
        self.ids = model.ids([row[:width] for row in self.rows[:2]])
        self.allowed = tolerance(model)
        model.hf.eval()
        with torch.no_grad():
            self.plain: Tensor = model.hf(input_ids=self.ids, use_cache=False).logits

    @cached_property
    def between_runs(self) -> float:
        """The largest difference to expect between two runs that sum in another order: rounding,
        amplified as this model amplifies it.

        The stream, queries and keys are moved by ±ε of each entry in every layer; large weights
        make saturated softmaxes and nearly equal logits of that. At most a twentieth of the
        largest.
        """
        model, worst, alone = self.model, 0.0, self.plain
        points = model.names("resid_pre", *(point for point in ("q", "k") if model.has(point)))
        for row, seed in product(self.rows, range(ROUNDINGS)):
            source = torch.Generator().manual_seed(seed)

            def rounded(x: Tensor, source: torch.Generator = source) -> Tensor:
                signs = torch.randint(0, 2, x.shape, generator=source).to(x) * 2 - 1
                return x + x * signs * torch.finfo(x.dtype).eps

            with torch.no_grad():
                alone = alone if seed else model(model.ids([row]))
                with model.patched(dict.fromkeys(points, rounded)):
                    worst = max(worst, difference(model(model.ids([row])), alone))
        return max(self.allowed, min(CARRIED * worst, 0.05))

    def names(self, *, attention: bool) -> list[str]:
        return self.model.names(
            *(stem for stem in self.model.points() if (stem in ATTENTION) == attention)
        )

    def groups(self, *, attention: bool) -> list[list[str]]:
        """The points to be seen together: those of each layer, and each of the last layer, and
        those without layers, alone.

        One by one in all layers they would take a run each: hundreds.
        """
        layers: dict[str, list[str]] = {}
        for name in self.names(attention=attention):
            layers.setdefault(name.partition(".")[2] or name, []).append(name)
        last = layers.get(str(self.model.n_layers - 1), [])
        return [*layers.values(), *([name] for name in last if len(last) > 1)]


def misplaced(model: Model, text: str) -> list[str]:
    """Faults in the offsets of a text: characters in no token, tokens out of order, words that are
    not recovered.
    """
    tokens = model.tokenize(text)
    covered = {i for start, end in tokens.offsets for i in range(start, end)}
    wrong = [
        f"{text!r}: {text[i]!r} is in no token"
        for i in range(len(text))
        if not text[i].isspace() and i not in covered
    ]
    real = [span for span in tokens.offsets if span[1] > span[0]]
    if any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(real)) or max(b for _, b in real) > len(
        text
    ):
        wrong.append(f"{text!r}: tokens out of order")
    words = [(start, start + len(word)) for word, start in words_of(text)]
    for start, end in words:
        first, last = tokens.span((start, end))
        if tokens.offsets[first][0] > start or tokens.offsets[last - 1][1] < end:
            wrong.append(f"{text!r}: {text[start:end]!r} is not whole in its tokens")
    return wrong


def words_of(text: str) -> Iterator[tuple[str, int]]:
    start = 0
    for word in text.split():
        start = text.index(word, start)
        yield word, start
        start += len(word)


def absolute_error(actual: Tensor, expected: Tensor) -> float:
    """max |found − expected|, infinite where that is no number."""
    error = float((actual - expected).abs().max())
    return error if error == error else float("inf")
