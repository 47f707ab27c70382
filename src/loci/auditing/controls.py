"""Controls: the same examination of models that got no edit, the edit in a wrong place, plain
training, or only a word in the prompt.

    no edit            the base itself
    random layer       an edit of chosen layers: the method again, at as many other layers, drawn
                       by seed. An edit of all layers, or of a method that cannot be run again: the
                       same change, each layer's factors at another layer (`moved`)
    fine-tuning        `edit(…, method="finetune")` of the same facts
    knowledge neurons  the strongest neurons' values turned from the old answers to the new
                       (`edit_neurons`)
    linear relations   the base, with the subjects' states moved by the inverse of their relations'
                       Jacobians (`steer_linearly`)
    in-context         the base, told the new fact:
                       "Imagine that {prompt} {new answer}. {question}"
    retrieval          the base, told whichever of the new facts is most like the question,
                       whatever it is about

In context, a prompt gets the fact of the edited subject that stands in it as whole words; of
several facts of that subject the one whose prompt shares most of the question's words, the first
where they tie. A prompt about nobody edited gets nothing: retrieval by subject, at its best. So
neighbours and control text cannot change there; the subject's other facts can, and do. `retrieval`
is what a search engine does that knows of no subjects: each word counts by how few of the new facts
it stands in, and the best match is told to neighbours too.

An edit that does no better than `no edit` did nothing; one that does no better than `random layer`
owes nothing to its layer; specificity is to be read beside `fine-tuning`, and the whole beside
`in-context`, which costs no weights at all.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from loci.auditing.linear_relations import Steering, steer_linearly
from loci.auditing.neuron_edits import edit_neurons
from loci.auditing.questions import PromptWrapper
from loci.editing import METHODS, TOGETHER, JointSettings, TargetSettings
from loci.editing.edit import edit
from loci.errors import EditError
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.patches import Patch

WORD = re.compile(r"\w+")


class ControlState(NamedTuple):
    """A state of the model to examine."""

    patch: Patch | Steering | None = None
    lead: PromptWrapper = str


class ControlSettings(NamedTuple):
    """How controls that make edits do so; None are the methods' defaults."""

    seed: int = 0
    target: TargetSettings | None = None
    joint: JointSettings | None = None


def settings_of(method: str, settings: ControlSettings) -> TargetSettings | JointSettings | None:
    """How a method searches."""
    return settings.joint if method in TOGETHER else settings.target


def random_layer(model: Model, patch: Patch, settings: ControlSettings) -> Patch:
    """The same edit at other layers.

    Raises `EditError` where there is none, or where the method refuses there.
    """
    others = [layer for layer in range(model.n_layers) if layer not in patch.layers]
    if patch.method not in METHODS or len(others) < len(patch.layers):
        return moved(model, patch, settings.seed)
    layers = random.Random(settings.seed).sample(others, len(patch.layers))
    search = settings_of(patch.method, settings)
    return edit(
        model,
        patch.facts,
        method=patch.method,
        layers=layers,
        settings=search,
        seed=settings.seed,
        report=False,
    )


def moved(model: Model, patch: Patch, seed: int = 0) -> Patch:
    """The same change with every layer's factors at another layer: all are shifted by one seeded
    number of layers, around the end.

    Raises `EditError` where the model has one layer alone.
    """
    if model.n_layers < 2:
        raise EditError("a model of one layer has no other to edit")
    shift = random.Random(seed).randrange(1, model.n_layers)

    def at(name: str) -> str:
        stem, _, layer = name.partition(".")
        return f"{stem}.{(int(layer) + shift) % model.n_layers}"

    factors = {at(name): factors for name, factors in patch.factors.items()}
    return Patch(
        patch.method, patch.base, patch.base_name, factors, patch.facts, {"moved_by_layers": shift}
    )


def in_context(facts: Sequence[Fact]) -> PromptWrapper:
    """The prompt with the edited facts told before it rather than edited."""
    edited = FactSet(facts)

    def lead(prompt: str) -> str:
        near = [fact for subject in edited.subjects_in(prompt) for fact in edited.about(subject)]
        if not near:
            return prompt
        return _telling(max(near, key=lambda fact: _shared(fact.text, prompt)), prompt)

    return lead


def retrieval(facts: Sequence[Fact]) -> PromptWrapper:
    """The prompt with the most similar fact told before it.

    Cosine of words weighted by inverse document frequency.
    """
    bags = [_words(fact.text) for fact in facts]
    counts = Counter(word for bag in bags for word in bag)
    rare = {word: math.log(1 + len(bags) / count) for word, count in counts.items()}
    sizes = [math.sqrt(sum(rare[word] ** 2 for word in bag)) for bag in bags]

    def lead(prompt: str) -> str:
        asked = _words(prompt)
        match = [
            sum(rare[word] ** 2 for word in bag & asked) / size
            for bag, size in zip(bags, sizes, strict=True)
        ]
        best = max(range(len(bags)), key=match.__getitem__)
        return _telling(facts[best], prompt) if match[best] else prompt

    return lead


def _telling(fact: Fact, prompt: str) -> str:
    return f"Imagine that {fact.text} {fact.new_answer}. {prompt}"


def _words(text: str) -> set[str]:
    return set(WORD.findall(text.lower()))


def _shared(first: str, second: str) -> float:
    """The share of words that two prompts have in common (Jaccard)."""
    a, b = _words(first), _words(second)
    return len(a & b) / max(1, len(a | b))


CONTROLS: Mapping[str, Callable[[Model, Patch, FactSet, ControlSettings], ControlState]] = {
    "no edit": lambda model, patch, world, settings: ControlState(),
    "random layer": lambda model, patch, world, settings: ControlState(
        random_layer(model, patch, settings)
    ),
    "fine-tuning": lambda model, patch, world, settings: ControlState(
        edit(
            model,
            patch.facts,
            method="finetune",
            settings=settings.joint,
            seed=settings.seed,
            report=False,
        )
    ),
    "knowledge neurons": lambda model, patch, world, settings: ControlState(
        edit_neurons(model, patch.facts)
    ),
    "linear relations": lambda model, patch, world, settings: ControlState(
        steer_linearly(model, patch.facts, world)
    ),
    "in-context": lambda model, patch, world, settings: ControlState(lead=in_context(patch.facts)),
    "retrieval": lambda model, patch, world, settings: ControlState(lead=retrieval(patch.facts)),
}
CHEAP = ("no edit", "in-context", "retrieval")
"""Controls that make no edit."""
