"""Compositions of all pairs of heads, and those above a threshold."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor

from loci.errors import CircuitError
from loci.result import About, Result
from loci.tables import Table, columns

Kind = Literal["q", "k", "v", "mlp"]
KINDS: tuple[Kind, ...] = ("q", "k", "v", "mlp")
EDGES = 100
"""Most pairs in a table."""


class CompositionEdge(NamedTuple):
    """A later part that reads what an earlier one writes."""

    kind: Kind
    reader: str
    writer: str
    score: float


@dataclass(frozen=True, eq=False)
class Composition(Result):
    """Scores of all pairs that can compose; NaN for those that cannot."""

    about: ClassVar[About] = About(
        "composition of heads",
        "Which heads build on which?",
        "Lines join heads whose weights compose above chance; the slider is the threshold.",
        "circuits_compose.composition_figure",
    )

    model: str
    view: str
    offset: int | None
    null: float
    """The expected score of a random pair: 1/√d_model."""
    readers: dict[Kind, tuple[str, ...]]
    writers: tuple[str, ...]
    scores: dict[Kind, Float[Tensor, "reader writer"]]

    def score(self, kind: Kind, reader: str, writer: str) -> float:
        """The score of one pair. Raises `CircuitError` where it cannot compose."""
        try:
            value = float(
                self.scores[kind][self.readers[kind].index(reader), self.writers.index(writer)]
            )
        except (KeyError, ValueError):
            value = float("nan")
        if value != value:
            raise CircuitError(f"{reader} does not read {writer} by {kind}")
        return value

    def edges(self, threshold: float = 0.0, kinds: Sequence[Kind] = KINDS) -> list[CompositionEdge]:
        """Pairs whose score is at least so far above the null, the strongest first."""
        edges = []
        for kind in (kind for kind in kinds if kind in self.scores):
            scores = self.scores[kind]
            for i, j in (scores - self.null >= threshold).nonzero().tolist():
                edges.append(
                    CompositionEdge(
                        kind, self.readers[kind][i], self.writers[j], float(scores[i, j])
                    )
                )
        return sorted(edges, key=lambda edge: -edge.score)

    def title(self) -> str:
        return self.heading(self.edges(-1.0))

    def heading(self, edges: Sequence[CompositionEdge], which: str = "") -> str:
        """How many pairs there are, and what random ones score."""
        turned = "" if self.offset is None else f", keys {self.offset} back"
        return f"{len(edges):,} pairs of {self.model}{which}, random ones score"
        f" {self.null:.4f}{turned}"

    def tables(self) -> tuple[Table, ...]:
        return (self.table_of(self.edges(-1.0)),)

    def table_of(self, edges: Sequence[CompositionEdge]) -> Table:
        """Pairs with their scores, the strongest first."""
        heads = ("score|.4f", "above chance|+.4f", "times chance|.2f")
        rows = tuple(
            (
                own.kind,
                own.reader,
                own.writer,
                own.score,
                own.score - self.null,
                own.score / self.null,
            )
            for own in edges[:EDGES]
        )
        return Table("The strongest", columns("by", "later", "earlier", *heads), rows, shown=12)

    def to_dict(self) -> dict[str, Any]:
        plain = {"model": self.model, "view": self.view, "offset": self.offset, "null": self.null}
        return {
            "schema": "loci.compose/1",
            **plain,
            **{kind: self._by_name(kind) for kind in self.scores},
        }

    def _by_name(self, kind: Kind) -> dict[str, dict[str, float]]:
        rows = zip(self.readers[kind], self.scores[kind].tolist(), strict=True)
        named = {
            reader: {w: x for w, x in zip(self.writers, row, strict=True) if x == x}
            for reader, row in rows
        }
        return {reader: row for reader, row in named.items() if row}


@dataclass(frozen=True, eq=False)
class CompositionGraph(Result):
    """The pairs at least so far above the null, to be drawn and listed.

    `CircuitError` where there is none.
    """

    about: ClassVar[About] = About(
        "composition of heads",
        "Which heads build on which, at one threshold?",
        "Lines join heads whose weights compose that far above chance.",
        "circuits_compose.graph_figure",
    )

    composition: Composition
    threshold: float

    def __post_init__(self) -> None:
        if not self.edges:
            best = self.composition.edges(-1.0)[0].score - self.composition.null
            raise CircuitError(
                f"no pair scores {self.threshold:+g} above chance: the highest is {best:+.4f}"
            )

    @cached_property
    def edges(self) -> list[CompositionEdge]:
        """The strongest first."""
        return self.composition.edges(self.threshold)

    def title(self) -> str:
        above = f" {self.threshold:+g} above chance or more"
        return self.composition.heading(self.edges, above)

    def tables(self) -> tuple[Table, ...]:
        return (self.composition.table_of(self.edges),)

    def to_dict(self) -> dict[str, Any]:
        return self.composition.to_dict()
