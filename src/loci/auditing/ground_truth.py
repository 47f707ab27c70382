"""Methods of locating against the truth: a planted model, whose facts have known places.

    layer, token     share of facts for which the method points at the planted one
    precision        share of the neurons it names that hold the fact          recall
            share of those that hold it that it names

A method that only ranks neurons names as many as there are: then precision and recall are one
number. Chance is what random neurons of all layers get. Any callable of the form (model, fact) →
Guess is a method; it need not be Loci's:

    made = loci.writing.planted("superposed")
    def mine(model, fact): return Guess(layer=1, token=2, neurons=((1, 17), (1, 3)))
    print(score_locators(made, {"mine": mine}))

What a method does not say (None, no neurons) is not scored; a fact at which it gives up
(`FactError`) counts as wrong in all that it says elsewhere.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, NamedTuple

from loci.auditing.locating_methods import Guess, Locator, locators
from loci.errors import FactError
from loci.facts import Fact
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, share
from loci.tables import Table, columns
from loci.writing.planted_models import PlantedModel, PlantedPlace


class LocatorScore(NamedTuple):
    """How near a method comes. No value where it says nothing of the kind."""

    method: str
    layer: Estimate
    token: Estimate
    precision: Estimate
    recall: Estimate
    gave_up: int
    """Facts at which it raised `FactError`."""
    seconds: float
    """Of one fact, on the average."""


@dataclass(frozen=True)
class GroundTruth(Result):
    """The scores of several methods on one planted model."""

    about: ClassVar[About] = About(
        "locating against the truth",
        "In a model whose facts have known places: which method finds them?",
        "Bars are shares of facts at the right layer and token, and precision and "
        "recall of neurons.",
        "writing.truth_figure",
    )

    model: str
    kind: str
    gated: bool
    facts: int
    rows: tuple[LocatorScore, ...]

    def title(self) -> str:
        return f"Locating against the truth: {self.facts} facts of {self.model}, {self.kind}"

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                row.method + (f" ({row.gave_up} gave up)" if row.gave_up else ""),
                row.layer,
                row.token,
                row.precision,
                row.recall,
                row.seconds,
            )
            for row in self.rows
        )
        return (
            Table(
                "By method",
                columns(
                    "method",
                    "layer|.0%",
                    "token|.0%",
                    "precision|.0%",
                    "recall|.0%",
                    "time|.2f|s a fact",
                ),
                rows,
                note="share of facts at the right layer and token; of the neurons named, those that"
                " hold the fact, and the reverse; 95 % intervals",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("model", "kind", "gated", "facts")}
        rows = [
            {k: v.to_dict() if isinstance(v, Estimate) else v for k, v in row._asdict().items()}
            for row in self.rows
        ]
        return {"schema": "loci.ground_truth/1", **plain, "rows": rows}


def score_locators(
    made: PlantedModel,
    methods: Mapping[str, Locator] | None = None,
    *,
    count: int = 20,
    seed: int = 0,
    progress: Progress = silent,
) -> GroundTruth:
    """Score methods of locating on a planted model, whose facts have known places.

    Args:
        made: a planted model.
        methods: name → method; None: all of `locators`.
        count: planted facts asked.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `GroundTruth`: shares right by method, beside chance.
    Cost: That of the methods.
    """
    if count < 1:
        raise FactError(f"methods are scored on one fact at least, not {count}")
    methods = locators(made.facts) if methods is None else methods
    drawn = Random(seed).sample(range(len(made.facts)), min(count, len(made.facts)))
    rows = []
    for name, method in methods.items():
        rows.append(
            _score(name, method, made, drawn, lambda: progress(1, len(methods) * len(drawn)))
        )
    return GroundTruth(made.model.name, made.kind, made.gated, len(drawn), tuple(rows))


def _score(
    name: str, method: Locator, made: PlantedModel, drawn: Sequence[int], done: Any
) -> LocatorScore:
    started, guesses = time.perf_counter(), list[tuple[Guess | None, Fact, PlantedPlace]]()
    for index in drawn:
        fact, place = made.facts[index], made.places[index]
        try:
            guesses.append((method(made.model, fact), fact, place))
        except FactError:
            guesses.append((None, fact, place))
        done()
    seconds = (time.perf_counter() - started) / len(drawn)
    given = [guess for guess, _, _ in guesses if guess is not None]
    says = {
        what: any(getattr(guess, what) not in (None, ()) for guess in given)
        for what in ("layer", "token", "neurons")
    }
    layers = [
        float(guess is not None and guess.layer == place.layer) for guess, _, place in guesses
    ]
    tokens = [
        float(guess is not None and guess.token == last_token(made.model, fact))
        for guess, fact, _ in guesses
    ]
    named = [_named(guess, place) for guess, _, place in guesses]
    return LocatorScore(
        name,
        share(layers if says["layer"] else []),
        share(tokens if says["token"] else []),
        mean([precision for precision, _ in named] if says["neurons"] else []),
        mean([recall for _, recall in named] if says["neurons"] else []),
        gave_up=len(guesses) - len(given),
        seconds=seconds,
    )


def last_token(model: Model, fact: Fact) -> int:
    """The position of the subject's last token in its prompt: where planted facts are."""
    return model.tokenize(fact.text).span(fact.subject_span)[1] - 1


def _named(guess: Guess | None, place: PlantedPlace) -> tuple[float, float]:
    """Precision and recall of the neurons of one guess."""
    if guess is None or not guess.neurons:
        return 0.0, 0.0
    truth = {(place.layer, neuron) for neuron in place.neurons}
    named = guess.neurons if guess.chosen else guess.neurons[: len(truth)]
    hits = len(truth.intersection(named))
    return hits / len(named), hits / len(truth)
