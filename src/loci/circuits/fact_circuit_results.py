"""The circuit of one fact: the heads that read its subject, and the neurons that they carry."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from loci.circuits.attention_patterns import AttentionPatterns
from loci.result import About, Result
from loci.tables import Table, columns


class FactHead(NamedTuple):
    """One head between subject and answer."""

    head: str
    attention: float
    """Of the last token, to all tokens of the subject."""
    direct: float
    elsewhere: float
    """The same part of the score from all other tokens."""
    lost: float


class ValueRole(NamedTuple):
    """A neuron at a token of the subject, and what its value adds to the answer's score through
    heads."""

    neuron: str
    token: int
    act: float
    through: dict[str, float]
    total: float
    """Through all heads above."""


@dataclass(frozen=True, eq=False)
class FactCircuit(Result):
    """Attention, MLPs and the paths between them, for one fact."""

    about: ClassVar[About] = About(
        "one fact, attention and MLPs together",
        "How do heads bring a fact from the subject to the last token?",
        "Widths are parts of the score; blue adds, orange takes away.",
        "circuits_fact.fact_figure",
    )

    model: str
    bos: bool
    prompt: str
    subject: str
    answer: str
    against: str | None
    tokens: tuple[str, ...]
    subject_span: tuple[int, int]
    probability: float
    """Of the answer's first token."""
    score: float
    heads: tuple[FactHead, ...]
    """All heads, the strongest direct parts first."""
    writers: dict[str, dict[str, float]]
    """Component that writes at the subject (its embedding, each MLP) → head → score, for the heads
    shown.
    """
    neurons: tuple[ValueRole, ...]
    together: float
    """1 − P(cut) / P, the last token blind to the subject in all heads shown at once."""
    patterns: AttentionPatterns
    """Of the heads shown."""

    @property
    def shown(self) -> tuple[str, ...]:
        return tuple(self.patterns.plain)

    def summary(self) -> tuple[str, ...]:
        return (
            f"P = {self.probability:.2f}; with {', '.join(self.shown)} blind to the subject at"
            " once,"
            f" {self.together:.0%} of it is lost.",
        )

    def title(self) -> str:
        return f"{self.prompt} → {self.answer}, P = {self.probability:.2f}"

    def tables(self) -> tuple[Table, ...]:
        heads = ("looks at subject|.2f", "writes, read there|+.2f", "read elsewhere|+.2f")
        neurons = tuple(
            (
                own.neuron,
                self.tokens[own.token].strip(),
                own.total,
                ", ".join(f"{head} {score:+.2f}" for head, score in own.through.items()),
            )
            for own in self.neurons
        )
        return (
            Table(
                "Heads",
                columns("head", *heads, "P lost when cut|+.2%"),
                tuple(
                    (own.head, own.attention, own.direct, own.elsewhere, own.lost)
                    for own in self.heads
                ),
                note="what is written, in the answer's score",
                shown=12,
            ),
            Table(
                "Neurons", columns("neuron", "at", "through heads|+.3f", "each"), neurons, shown=6
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.fact_circuit/1",
            **vars(self),
            "heads": [head._asdict() for head in self.heads],
            "neurons": [neuron._asdict() for neuron in self.neurons],
            "patterns": self.patterns.to_dict(),
        }
