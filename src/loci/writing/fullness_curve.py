"""How full is an MLP? Facts of the embedded model's kind are written into a few of its neurons,
more and more of them, until some are lost.

    key      what enters the MLP of a layer of the trained model at the last token of an invented
             subject
    value_j  m_j − u: the state behind the layer of known subjects with answer j, less that of all
        subjects of the relation; of unit length
    store    `neurons` neurons of that MLP's width (d_model in, d_model out), compiled; a fact is
             kept where its answer is ahead of all others

Facts per neuron are said at the last number of which no more than 1 % are lost; they depend on how
many neurons there are. Beside them stands what the trained model itself has: the facts that it
answers, by all its neurons. It is a lower bound of the room, as the compiler's descent may fail
where facts would fit, and of a store of facts alone: a trained MLP does more than hold facts, and
holds one for many contexts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError, WriteError
from loci.facts import Fact, FactSet, known_facts
from loci.model import Model, score_answers
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, share
from loci.tables import Table, columns
from loci.writing.capacity_search import recalled
from loci.writing.donor_values import states_of
from loci.writing.installation import new_facts
from loci.writing.keys import subject_keys
from loci.writing.mlp import check_neurons
from loci.writing.storage import METHODS, check_methods, stored_bits
from loci.writing.table import FactTable

NEURONS = 16
GROWTH = 2**0.5
FIRST = 250
MOST = 4096
LOST = 0.01
"""So many lost are the first: single keys may be too near to others for any number of neurons."""
OVER = 0.95
"""The curve ends where recall falls below this."""
SAMPLE = 600


class FullnessStep(NamedTuple):
    """So many facts in the same neurons."""

    facts: int
    per_neuron: float
    recall: Estimate
    bits_per_parameter: float


@dataclass(frozen=True)
class Fullness(Result):
    """Recall against the number of facts written."""

    about: ClassVar[About] = About(
        "fullness",
        "How many facts fit into a few neurons of a real model's MLP?",
        "Recall over the number of facts; the dotted line is where the first are lost.",
        "writing.fullness_figure",
    )

    model: str
    layer: int
    method: str
    neurons: int
    answers: int
    rungs: tuple[FullnessStep, ...]
    known: Estimate
    """Share of the embedded facts that the trained model answers."""
    known_per_neuron: float
    """How many those are, by the neurons of all its layers."""

    @property
    def fits(self) -> FullnessStep | None:
        """The last rung before the first facts, 1 %, are lost; None where that is so from the
        first."""
        fitting = None
        for rung in self.rungs:
            if rung.recall.value < 1 - LOST:
                break
            fitting = rung
        return fitting

    @property
    def words(self) -> str:
        """The curve in a sentence."""
        trained = f"the trained model answers {self.known_per_neuron:.2f} for each of its neurons"
        if self.fits is None:
            return (
                f"{self.rungs[0].facts:,} facts are more than {self.neurons} neurons hold; "
                f"{trained}."
            )
        more = (
            "the most that were tried"
            if self.fits is self.rungs[-1]
            else "with more, over 1 % are lost"
        )
        return (
            f"{self.neurons} neurons hold {self.fits.facts:,} facts, {self.fits.per_neuron:.0f} "
            f"each: {more}; {trained}."
        )

    def title(self) -> str:
        return (
            f"How full is an MLP? {self.neurons} neurons at the inputs of layer {self.layer} of"
            f" {self.model}, {self.answers} answers, {self.method}"
        )

    def summary(self) -> tuple[str, ...]:
        return (f"{self.words[0].upper()}{self.words[1:]}",)

    def tables(self) -> tuple[Table, ...]:
        heads = ("facts", "facts a neuron|.1f", "recall|.1%", "bits/parameter|.3f")
        rows = tuple(
            (f"{own.facts:,}", own.per_neuron, own.recall, own.bits_per_parameter)
            for own in self.rungs
        )
        return (Table("By number of facts", columns(*heads), rows),)

    def to_dict(self) -> dict[str, Any]:
        names = ("model", "layer", "method", "neurons", "answers", "known_per_neuron", "words")
        rungs = [{**rung._asdict(), "recall": rung.recall.to_dict()} for rung in self.rungs]
        fits = self.fits and {**self.fits._asdict(), "recall": self.fits.recall.to_dict()}
        plain = {name: getattr(self, name) for name in names}
        return {
            "schema": "loci.fullness/1",
            **plain,
            "known": self.known.to_dict(),
            "fits": fits,
            "rungs": rungs,
        }


def fullness(
    model: Model,
    layer: int = 1,
    neurons: int = NEURONS,
    *,
    method: str = "compiled-relu",
    counts: Sequence[int] | None = None,
    known: FactSet | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Fullness:
    """Write growing numbers of facts into a fixed number of neurons, until facts are lost.

    Args:
        model: an open model; it is left as it was.
        layer: where the neurons are added.
        neurons: number of neurons.
        method: how facts are stored.
        counts: numbers of facts; None: half as many again each time, until a twentieth is lost.
        known: facts of known subjects; None: `known_facts()`, those of the embedded model.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Fullness`, one step a number of facts.
    Raises: `WriteError` for a layer, a method or numbers that there are not.
    Cost: A compiler's run for each number.
    """
    known = known_facts() if known is None else known
    counts = steps() if counts is None else sorted(set(counts))
    check_neurons(neurons)
    if not 0 <= layer < model.n_layers:
        raise WriteError(f"layers are 0 … {model.n_layers - 1}, not {layer}")
    check_methods([method])
    if not counts or counts[0] < 2:
        raise WriteError(
            f"numbers of facts to write are 2 or more, not {', '.join(map(str, counts)) or 'none'}"
        )
    table = invented_table(model, layer, counts[-1], known, seed)
    rungs: list[FullnessStep] = []
    for count in counts:
        rungs.append(_rung(table.first(count), neurons, method))
        progress(1, len(counts))
        if rungs[-1].recall.value < OVER:
            break
    asked = [(fact.text, fact.answer) for fact in known.sample(min(SAMPLE, len(known)), seed=seed)]
    knows = share([float(score.greedy) for score in score_answers(model, asked)])
    held = knows.value * len(known) / (model.n_layers * model.d_mlp)
    return Fullness(
        model.name, layer, method, neurons, len(table.values), tuple(rungs), knows, held
    )


def steps(first: int = FIRST, most: int = MOST) -> list[int]:
    """Numbers of facts to try."""
    rungs = range(1 + int(math.log(most / first, GROWTH)))
    return [round(first * GROWTH**rung) for rung in rungs]


@torch.no_grad()
def invented_table(
    model: Model, layer: int, count: int, known: FactSet, seed: int = 0
) -> FactTable:
    """Keys of invented subjects and values of their answers, in the trained model.

    Raises `FactError` where there are too few names.
    """
    facts = new_facts(known, count, seed)
    answers = sorted({(fact.relation, fact.answer) for fact in facts}, key=str)
    labels = torch.tensor([answers.index((fact.relation, fact.answer)) for fact in facts])
    keys = subject_keys(model, facts, layer).cpu()
    twice = len(keys) - len(keys.unique(dim=0))
    if twice:
        raise FactError(
            f"{twice} invented subjects look like others at layer {layer}: ask for a later one"
        )
    scale = keys.pow(2).sum(1).mean().sqrt()
    return FactTable(keys / scale, _values(model, layer, answers, known), labels)


def _values(
    model: Model, layer: int, answers: Sequence[tuple[str | None, str]], known: FactSet
) -> Float[Tensor, "value d_model"]:
    states: dict[str | None, tuple[Sequence[Fact], Tensor]] = {}
    rows = []
    for relation, answer in answers:
        if relation not in states:
            states[relation] = (
                known.relations[relation],
                states_of(model, known.relations[relation], layer).cpu(),
            )
        peers, vectors = states[relation]
        value = vectors[[fact.answer == answer for fact in peers]].mean(0) - vectors.mean(0)
        rows.append(value / value.norm())
    return torch.stack(rows)


def _rung(table: FactTable, neurons: int, method: str) -> FullnessStep:
    mlp = METHODS[method](table, neurons)
    kept = round(recalled(mlp, table) * len(table))
    recall = share([1.0] * kept + [0.0] * (len(table) - kept))
    return FullnessStep(
        len(table), len(table) / neurons, recall, stored_bits(table, recall.value) / mlp.parameters
    )
