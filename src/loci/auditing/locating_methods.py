"""Loci's own methods of locating, each asked for the place of one fact.

Some say a layer and a token, some rank neurons, some do both. The probe and the single-step test
look at all facts of a relation at once, at the subject's last token: their place is the layer where
the attribute becomes readable, and the one whose ANDs say most of a name.
"""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any, NamedTuple, Protocol

import torch

from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.locating import (
    Probe,
    SingleStep,
    attribute,
    knowledge_neurons,
    lens,
    neuron_attribution,
    probe,
    single_step,
    trace,
    trace_neurons,
)
from loci.locating.neuron_effects import ablated
from loci.locating.severed_routes import losses
from loci.model import Model
from loci.survey import text_means

Neuron = tuple[int, int]
RANKED = 64


class Guess(NamedTuple):
    """Where a method sees a fact."""

    layer: int | None = None
    token: int | None = None
    neurons: tuple[Neuron, ...] = ()
    """(layer, neuron), the likeliest first."""
    chosen: bool = False
    """Whether exactly these are meant, and not so many of a ranking as there are to be found."""


class Locator(Protocol):
    """A method of locating."""

    def __call__(self, model: Model, fact: Fact, /) -> Guess: ...


def locators(facts: Sequence[Fact], samples: int = 10) -> dict[str, Locator]:
    """Loci's own methods of locating, and chance, as `Locator` functions.

    Args:
        facts: facts of a relation that the probe and the single-step test may look at.
        samples: noise samples of traces.

    Returns: Name → method.
    """
    return {
        "trace: state": lambda model, fact: _traced(model, fact, "state", samples),
        "trace: MLP": lambda model, fact: _traced(model, fact, "mlp", samples),
        "trace: single neurons": lambda model, fact: _single(model, fact, samples),
        "estimate: gradient": lambda model, fact: _estimated(model, fact, "gradient", samples),
        "estimate: integrated": lambda model, fact: _estimated(model, fact, "integrated", samples),
        "neurons: corrupted": lambda model, fact: _attributed(model, fact, "corrupted", samples),
        "neurons: zero": lambda model, fact: _attributed(model, fact, "zero", samples),
        "neurons: ablated": _ablations(),
        "knowledge neurons": _knowledge,
        "routes: MLPs cut": _cut,
        "lens: direct contribution": _lens,
        **_of_relations(FactSet(facts)),
        "chance": _chance,
    }


def _traced(model: Model, fact: Fact, kind: Any, samples: int) -> Guess:
    layer, token, _ = trace(model, fact, kinds=(kind,), samples=samples).peak(kind)
    return Guess(layer, token)


def _single(model: Model, fact: Fact, samples: int) -> Guess:
    """Trace MLPs, then the neurons of the one found."""
    where = _traced(model, fact, "mlp", samples)
    assert where.layer is not None
    effects = trace_neurons(model, fact, where.layer, where.token, samples=samples).top(RANKED)
    return where._replace(neurons=tuple((where.layer, neuron) for neuron, _ in effects))


def _estimated(model: Model, fact: Fact, method: Any, samples: int) -> Guess:
    grid = attribute(model, fact, method=method, compare=False, samples=samples).grids["mlp"]
    layer, token = divmod(int(grid.argmax()), grid.shape[1])
    return Guess(layer, token)


def _attributed(model: Model, fact: Fact, baseline: Any, samples: int) -> Guess:
    attributions = neuron_attribution(model, fact, baseline=baseline, samples=samples)
    ranked = tuple((layer, neuron) for layer, neuron, _ in attributions.top(RANKED))
    return Guess(int(attributions.scores.sum(1).argmax()), neurons=ranked)


def _knowledge(model: Model, fact: Fact) -> Guess:
    cells = knowledge_neurons(model, fact, controls=1).cells
    by_layer: dict[int, float] = {}
    for layer, _, score in cells:
        by_layer[layer] = by_layer.get(layer, 0.0) + score
    return Guess(
        max(by_layer, key=by_layer.__getitem__),
        neurons=tuple((i, j) for i, j, _ in cells),
        chosen=True,
    )


def _cut(model: Model, fact: Fact) -> Guess:
    cut = losses(model, fact)["mlp"]
    return Guess(max(range(len(cut)), key=cut.__getitem__))


def _lens(model: Model, fact: Fact) -> Guess:
    return Guess(max(lens(model, fact.text, fact.answer).layers, key=lambda rung: rung.mlp).layer)


def _ablations() -> Locator:
    """The neurons whose silence at the subject's last token costs most, each by itself."""
    means = cache(lambda model: text_means(model, *model.names("mlp_act")))

    def method(model: Model, fact: Fact) -> Guess:
        lost = ablated(model, fact, torch.arange(model.n_layers * model.d_mlp), means(model))
        ranked = tuple(divmod(int(neuron), model.d_mlp) for neuron in lost.topk(RANKED).indices)
        return Guess(int(lost.view(model.n_layers, -1).sum(1).argmax()), neurons=ranked)

    return method


def _of_relations(facts: FactSet) -> dict[str, Locator]:
    """Methods that look at a relation as a whole, and do so once."""
    probed = cache(lambda model, relation: probe(model, facts.of(relation)))
    stepped = cache(lambda model, relation: single_step(model, facts.of(relation)))
    return {
        "probe": lambda model, fact: _readable(probed(model, fact.relation)),
        "single step": lambda model, fact: _stepped(stepped(model, fact.relation), fact),
    }


def _readable(probed: Probe) -> Guess:
    """The layer that makes the attribute readable: where held-out accuracy rises most."""
    accuracy = [estimate.value for estimate in probed.accuracy]
    gains = [after - before for before, after in pairwise(accuracy)]
    return Guess(max(range(len(gains)), key=gains.__getitem__))


def _stepped(estimate: SingleStep, fact: Fact) -> Guess:
    """The layer whose ANDs say most of this name, or of the names on the average where it is not
    among those that were asked."""
    if not estimate.names:
        raise FactError(f"no name of {estimate.relation!r} says more than its parts")
    step = (
        estimate.step[estimate.names.index(fact.subject)]
        if fact.subject in estimate.names
        else estimate.step.mean(0)
    )
    return Guess(int(step.argmax()))


def _chance(model: Model, fact: Fact) -> Guess:
    """A place drawn at random."""
    draw = Random(fact.text)
    places = [(draw.randrange(model.n_layers), draw.randrange(model.d_mlp)) for _ in range(RANKED)]
    return Guess(places[0][0], draw.randrange(len(model.tokenize(fact.text))), tuple(places))
