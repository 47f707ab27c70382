"""What came of an entity's neurons: candidates with their tests, and which the facts hang on."""

from dataclasses import dataclass
from typing import Any, ClassVar

from loci.result import About, Result
from loci.stats import Estimate
from loci.tables import Table, columns

LOST, SPARED = 0.5, 0.1
"""Least share of an entity's facts, and most of others', that its neuron loses."""


@dataclass(frozen=True)
class EntityNeuron:
    """One candidate, and what came of the tests."""

    layer: int
    neuron: int
    selectivity: float
    value: float
    """Mean activation at the entity."""
    others: float
    """Mean activation at other subjects."""
    lost: Estimate
    """Share of the entity's facts."""
    lost_others: Estimate
    """Share of other subjects' facts, with the same neuron."""
    lost_controls: Estimate
    """Share of the entity's facts, with other neurons: a trial a unit."""
    brought: Estimate
    brought_controls: Estimate

    @property
    def is_entity(self) -> bool:
        """Whether the entity's facts hang on this neuron, and no other subject's do."""
        controls = self.lost_controls.value if self.lost_controls.n else 0.0
        return (
            self.lost.value >= LOST
            and not self.lost_others.value > SPARED
            and controls < self.lost.value / 2
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {n: getattr(self, n) for n in ("layer", "neuron", "selectivity", "value", "others")}
        names = ("lost", "lost_others", "lost_controls", "brought", "brought_controls")
        shares = {name: getattr(self, name).to_dict() for name in names}
        return {**plain, **shares, "is_entity": self.is_entity}


@dataclass(frozen=True)
class EntityNeurons(Result):
    """The candidates of an entity, and which of them its facts hang on."""

    about: ClassVar[About] = About(
        "an entity's neurons",
        "Is there a single neuron on which an entity's facts hang, and no other's?",
        "",
    )

    model: str
    bos: bool
    entity: str
    facts: int
    """Facts of the entity that the model says."""
    prompts: int
    """Prompts that its neurons are read in."""
    subjects: int
    """Other subjects that a neuron is compared with."""
    placeholder: str
    said_of_placeholder: Estimate
    """Share of its facts said of the placeholder as it is."""
    neurons: tuple[EntityNeuron, ...]
    """The most selective first."""
    seed: int

    @property
    def found(self) -> list[EntityNeuron]:
        """Those on which the facts hang."""
        return [neuron for neuron in self.neurons if neuron.is_entity]

    def title(self) -> str:
        return f"{self.entity}: {len(self.neurons)} candidates"

    def summary(self) -> tuple[str, ...]:
        first = self.found[0] if self.found else self.neurons[0]
        name = f"L{first.layer}N{first.neuron}"
        what = (
            f"Without {name}, {first.lost.value:.0%} of {self.entity}'s facts are lost"
            f" (n = {first.lost.n}), {first.lost_others.value:.0%} of other subjects'"
            f" (n = {first.lost_others.n}), and {first.lost_controls.value:.0%} without other"
            " neurons as active."
        )
        brought = (
            f"Set at “{self.placeholder}” it brings {first.brought.value:.0%} of them,"
            f" other neurons {first.brought_controls.value:.0%}."
        )
        if self.found:
            return (f"{name} is {self.entity}'s.", what, brought)
        return (
            f"None of the {len(self.neurons)} most selective neurons holds {self.entity}'s facts"
            " alone.",
            what,
            brought,
        )

    def tables(self) -> tuple[Table, ...]:
        heads = columns(
            "neuron",
            "selectivity|.1f",
            "facts lost|.0%",
            "others' lost|.0%",
            "other neurons|.0%",
            "brought|.0%",
            "by others|.0%",
            "entity's",
        )
        rows = tuple(
            (
                f"L{own.layer}N{own.neuron}",
                own.selectivity,
                own.lost,
                own.lost_others.value,
                own.lost_controls.value,
                own.brought.value,
                own.brought_controls.value,
                own.is_entity,
            )
            for own in self.neurons
        )
        note = (
            f"{self.facts} facts, {self.prompts} prompts, {self.subjects} other subjects;"
            f" of “{self.placeholder}” {self.said_of_placeholder.value:.0%} are said anyway"
        )
        return (Table("The most selective neurons", heads, rows, note=note),)

    def to_dict(self) -> dict[str, Any]:
        names = ("model", "bos", "entity", "facts", "prompts", "subjects", "placeholder", "seed")
        return {
            "schema": "loci.entity/1",
            **{name: getattr(self, name) for name in names},
            "said_of_placeholder": self.said_of_placeholder.to_dict(),
            "neurons": [neuron.to_dict() for neuron in self.neurons],
        }
