"""Entity neurons: single MLP neurons that fire for one entity, and whether its facts hang on them.

    selectivity   least over the entity's prompts of (a − mean) / spread, a: the neuron at the
                  entity's last token; mean and spread over other subjects in their prompts
    lost          share of the entity's facts no longer said with the neuron at that mean, at all
                  tokens of the entity; beside it: of other subjects' facts with the same neuron so,
                  of the entity's with other neurons of the layer that are about as active there
    brought       share of its facts said of a placeholder whose neuron is at the entity's value,
                  times a factor; beside it: without it, and with those other neurons

Facts count that the model says. A cell is called the entity's where it loses half of its facts, a
tenth at most of the others', and the other neurons lose less than half as many.
Source: "entity cells" (Yona et al. 2026, 2604.01404); the bounds are this project's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, FactSet, known_facts
from loci.facts.fact import BLANK
from loci.locating.asking import Asked, ask, known_of
from loci.locating.entity_cells import Cell, NeuronTrial, activations, templates_of, tried
from loci.locating.entity_results import EntityNeuron, EntityNeurons
from loci.model import Model
from loci.model.given import facts_given, model_given
from loci.progress import Progress, silent
from loci.stats import NOTHING, share

PLACEHOLDER = "X"
FACTORS = (1.0, 3.0)
LEAST = 0.02
"""Least spread of a neuron, as a share of the root mean square of its layer's neurons."""
Acts = dict[str, Float[Tensor, "prompt layer neuron"]]


def entity_neurons(
    model: Model,
    entity: str,
    facts: Fact | Sequence[Fact] | None = None,
    *,
    candidates: int = 5,
    subjects: int = 40,
    strangers: int = 20,
    controls: int = 5,
    placeholder: str = PLACEHOLDER,
    seed: int = 0,
    acts: Acts | None = None,
    progress: Progress = silent,
) -> EntityNeurons:
    """The neurons that fire for one entity alone, tested by silencing and by setting them.

        found = loci.entity_neurons(model, "Michael Jordan")
        found.neurons[0].lost                        # share of his facts, with its interval

    Args:
        model: an open model; it is left as it was.
        entity: the subject, as it stands in its facts.
        facts: facts of the entity and of others; None: the known facts.
        candidates: the most selective neurons that are tested.
        subjects: other subjects, of the same relations first, that a neuron is compared with.
        strangers: those of them whose facts are asked too, one of each.
        controls: other neurons of the layer, about as active at the entity, for each candidate.
        placeholder: the subject at which a neuron is set.
        seed: of every random draw.
        acts: activations by subject (`activations`), where they were read already.
        progress: called with (steps done, steps in all).

    Returns: `EntityNeurons`: `neurons` with `lost`, `lost_others`, `brought`, and their controls.
    Raises: `FactError` for an entity of which no fact is known or said.
    Cost: a forward pass over some ten prompts for each subject, and a row of a batch for each fact
        and trial: (1 + controls) · (1 + 2) · facts + subjects a candidate.
    """
    model_given(model)
    if min(candidates, subjects, strangers, controls) < 1 or not placeholder.strip():
        raise FactError(
            "candidates, subjects, strangers and controls are at least 1, and a placeholder a word"
        )
    world = known_facts() if facts is None else facts_given(facts)
    entity = entity.strip()
    own = list(world.about(entity))
    if not own:
        raise FactError(f"nothing is known of {entity!r}: give its facts (--facts)")
    known = known_of(model, _phrased(own))
    others = _others(world, known, entity, subjects, seed)
    read = acts or activations(model, {s: templates_of(own) for s in (entity, *others)})
    cells = _selective(read, entity, [s for s in others if s in read], candidates)
    progress(1, 2)
    strange = known_of(model, [fact for s in others[:strangers] for fact in world.about(s)[:1]])
    trial = _EntityTrial(model, read[entity].mean(0), known, strange, placeholder, controls, seed)
    found = trial.neurons(cells)
    progress(1, 2)
    return EntityNeurons(
        model.name,
        model.with_bos,
        entity,
        len(known),
        len(read[entity]),
        len(others),
        placeholder,
        share([float(score.said) for score in tried(model, list(map(NeuronTrial, trial.empty)))]),
        tuple(found),
        seed,
    )


def _phrased(facts: Sequence[Fact]) -> list[Fact]:
    """Every phrasing of the facts as a fact of its own."""
    return [
        replace(fact, prompt=template, paraphrases=(), held_out=())
        for fact in facts
        for template in dict.fromkeys((fact.prompt, *fact.paraphrases, *fact.held_out))
        if BLANK in template
    ]


def _others(world: FactSet, known: Sequence[Fact], entity: str, count: int, seed: int) -> list[str]:
    """Other subjects: of the entity's relations, then any."""
    near = [f.subject for own in known for f in world.neighbours(own, count, seed)]
    rest = [fact.subject for fact in world.sample(4 * count, seed)]
    found = [subject for subject in dict.fromkeys((*near[: 4 * count], *rest)) if subject != entity]
    if not found:
        raise FactError("an entity is compared with other subjects, and the facts name none")
    return found[:count]


def _selective(
    acts: Acts, entity: str, others: Sequence[str], count: int
) -> list[tuple[Cell, float, float, float]]:
    """The most selective neurons: cell, selectivity, mean at the entity, mean at others."""
    rest = torch.cat([acts[subject] for subject in others])
    middle, spread = rest.mean(0), rest.std(0, correction=0)
    least = LEAST * rest.square().mean((0, 2)).sqrt()[:, None]
    z = (acts[entity] - middle) / spread.clamp(min=1e-12).maximum(least)
    worst = z.amin(0).maximum((-z).amin(0))
    best = worst.flatten().topk(min(count, worst.numel()))
    mean = acts[entity].mean(0)
    found = []
    for score, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        layer, neuron = divmod(place, worst.shape[1])
        values = float(mean[layer, neuron]), float(middle[layer, neuron])
        found.append(((layer, neuron), score, *values))
    return found


@dataclass(frozen=True)
class _EntityTrial:
    """Silencing and setting, with the facts of the entity and of others."""

    model: Model
    acts: Float[Tensor, "layer neuron"]
    known: Sequence[Fact]
    strange: Sequence[Fact]
    placeholder: str
    controls: int
    seed: int

    @property
    def empty(self) -> list[Asked]:
        """The entity's questions of the placeholder."""
        return [ask(self.model, replace(f, subject=self.placeholder)) for f in self.known]

    def neurons(self, cells: Sequence[tuple[Cell, float, float, float]]) -> list[EntityNeuron]:
        """All candidates in one set of trials."""
        own = [ask(self.model, fact) for fact in self.known]
        strange = [ask(self.model, fact) for fact in self.strange]
        trials, parts = list[NeuronTrial](), list[list[int]]()

        def add(asked: Sequence[Asked], cell: Cell, value: float) -> None:
            parts.append(list(range(len(trials), len(trials) + len(asked))))
            trials.extend(NeuronTrial(one, cell, value) for one in asked)

        for (layer, neuron), _, value, middle in cells:
            cell = layer, neuron
            add(own, cell, middle)
            add(strange, cell, middle)
            for factor in FACTORS:
                add(self.empty, cell, factor * value)
            for other in self._active(cell):
                add(own, (layer, other), 0.0)
                add(self.empty, (layer, other), FACTORS[-1] * value)
        said = [float(score.said) for score in tried(self.model, trials)]
        shares = iter([[said[i] for i in part] for part in parts])
        found = []
        for (layer, neuron), score, value, middle in cells:
            kept, kept_others = next(shares), next(shares)
            brought = max((next(shares) for _ in FACTORS), key=sum)
            pairs = [(next(shares), next(shares)) for _ in self._active((layer, neuron))]
            found.append(
                EntityNeuron(
                    layer,
                    neuron,
                    score,
                    value,
                    middle,
                    share([1 - hit for hit in kept]),
                    share([1 - hit for hit in kept_others]),
                    share([1 - hit for hits, _ in pairs for hit in hits]) if pairs else NOTHING,
                    share(brought),
                    share([hit for _, hits in pairs for hit in hits]) if pairs else NOTHING,
                )
            )
        return found

    def _active(self, cell: Cell) -> list[int]:
        """Other neurons of the layer whose activation at the entity is about as large."""
        layer, neuron = cell
        sizes = self.acts[layer].abs()
        near = (sizes - sizes[neuron]).abs().argsort()[1 : 1 + 4 * self.controls].tolist()
        rng = Random(f"{self.seed}/{layer}/{neuron}")
        return rng.sample(near, min(self.controls, len(near)))
