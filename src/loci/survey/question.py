"""The accumulators of a pass, as a value that can be written down, sent and compared.

    SurveyQuestion({"mlp_act.3": (Kind("SecondMoment"),)})  ↔  {"mlp_act.3": [["SecondMoment", {}]]}

The accumulators themselves hold tensors; a question holds their names and settings. Its states are
sized before any run.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loci.errors import ModelError
from loci.model.points import NEURONS, RESIDUAL, parse_point
from loci.model.weights import Weights
from loci.survey.accumulators import Accumulator, Extremes, FiringRate, Moments, SecondMoment
from loci.survey.histograms import BINS, Histogram
from loci.survey.triggers import TopTriggers
from loci.validate import brief

Gathered = dict[str, tuple[Accumulator, ...]]
FLOAT, COUNT = 8, 8
"""Bytes of a sum in float64, and of a number of tokens."""


@dataclass(frozen=True)
class _QuestionRow:
    """One kind of accumulator: how it is made, which settings it takes,
    and what its state holds.
    """

    make: Callable[..., Accumulator]
    settings: Mapping[str, type]
    bytes: Callable[..., int]
    """Of the state for a width, and the settings."""
    flops: Callable[[int], int]
    """Of one token."""


KINDS: dict[str, _QuestionRow] = {
    "SecondMoment": _QuestionRow(
        SecondMoment,
        {},
        lambda width: FLOAT * width * width + COUNT,
        lambda width: 2 * width * width,
    ),
    "FiringRate": _QuestionRow(
        FiringRate,
        {"threshold": float},
        lambda width, threshold=0.0: FLOAT * width + COUNT,
        lambda width: 3 * width,
    ),
    "Moments": _QuestionRow(
        Moments, {}, lambda width: 4 * FLOAT * width + COUNT, lambda width: 8 * width
    ),
    "Extremes": _QuestionRow(Extremes, {}, lambda width: 8 * width, lambda width: 2 * width),
    "Histogram": _QuestionRow(
        Histogram,
        {"every": int},
        lambda width, every=1: 8 * BINS * width + COUNT,
        lambda width: 8 * width,
    ),
    "TopTriggers": _QuestionRow(
        TopTriggers,
        {"k": int},
        lambda width, k=10: (8 + 4 + 8) * k * width,
        lambda width: 2 * width,
    ),
}


@dataclass(frozen=True)
class Kind:
    """An accumulator's name with its settings."""

    name: str
    settings: Mapping[str, float] = field(default_factory=dict)

    def make(self) -> Accumulator:
        return KINDS[self.name].make(**self.settings)

    def state_bytes(self, width: int) -> int:
        return KINDS[self.name].bytes(width, **self.settings)


@dataclass(frozen=True)
class SurveyQuestion:
    """Accumulators by point."""

    points: Mapping[str, tuple[Kind, ...]]

    def accumulators(self) -> Gathered:
        """Empty ones."""
        return {point: tuple(kind.make() for kind in kinds) for point, kinds in self.points.items()}

    def state_bytes(self, model: Weights) -> int:
        """Of one state, exactly, but for the file's header."""
        return sum(
            kind.state_bytes(width(model, point))
            for point, kinds in self.points.items()
            for kind in kinds
        )

    def flops(self, model: Weights) -> int:
        """Of the updates with one token, about."""
        return sum(
            KINDS[kind.name].flops(width(model, point))
            for point, kinds in self.points.items()
            for kind in kinds
        )

    def depth(self, model: Weights) -> int:
        """Blocks that a run passes before it stops."""
        layers = [parse_point(point, model.n_layers)[1] for point in self.points]
        last = [
            model.n_layers if layer is None and point == "final" else (layer or 0) + 1
            for point, layer in zip(self.points, layers, strict=True)
        ]
        return max(last, default=0)

    def document(self) -> dict[str, Any]:
        return {
            point: [[kind.name, dict(kind.settings)] for kind in kinds]
            for point, kinds in sorted(self.points.items())
        }

    @classmethod
    def read(cls, document: object, where: object) -> "SurveyQuestion":
        """The way back from `document`. Raises `ModelError` for what is no question."""
        if not isinstance(document, dict) or not document:
            raise ModelError(
                f"{where}: question: expected accumulators by point, found {brief(document)}"
            )
        return cls(
            {
                point: tuple(_kind(kind, where) for kind in _listed(kinds, where))
                for point, kinds in document.items()
            }
        )


def _listed(kinds: object, where: object) -> list[Any]:
    if not isinstance(kinds, list) or not kinds:
        raise ModelError(
            f"{where}: question: expected a list of accumulators, found {brief(kinds)}"
        )
    return kinds


def _kind(said: object, where: object) -> Kind:
    match said:
        case [str(name), dict(settings)] if name in KINDS:
            takes = KINDS[name].settings
            if all(
                key in takes and type(value) in (int, takes[key]) for key, value in settings.items()
            ):
                return Kind(name, settings)
    raise ModelError(
        f"{where}: question: expected [one of {', '.join(KINDS)}, settings], found {brief(said)}"
    )


def width(model: Weights, point: str) -> int:
    """How many coordinates a point has. Raises `ModelError` for a point that is not one vector a
    token.
    """
    shape = parse_point(point, model.n_layers)[0].shape
    if shape not in (NEURONS, RESIDUAL):
        raise ModelError(f"{point}: a survey reads points of one vector a token, not {shape}")
    return model.d_mlp if shape == NEURONS else model.d_model


def keys_question(layers: Iterable[int]) -> SurveyQuestion:
    """Second moments of the MLP's neurons: what an edit needs."""
    return SurveyQuestion({f"mlp_act.{layer}": (Kind("SecondMoment"),) for layer in layers})


def stream_question(layers: Iterable[int]) -> SurveyQuestion:
    """Mean, spread, ends and second moments of the residual stream behind each block."""
    kinds = (Kind("Moments"), Kind("Extremes"), Kind("SecondMoment"))
    return SurveyQuestion({f"resid_post.{layer}": kinds for layer in layers})


def neurons_question(layers: Iterable[int], *, every: int = 8, k: int = 8) -> SurveyQuestion:
    """The accumulators of an atlas for each neuron: histograms of every `every`-th text, and the
    `k` largest activations.
    """
    kinds = (
        Kind("FiringRate"),
        Kind("Moments"),
        Kind("Extremes"),
        Kind("Histogram", {"every": every}),
        Kind("TopTriggers", {"k": k}),
    )
    return SurveyQuestion({f"mlp_act.{layer}": kinds for layer in layers})
