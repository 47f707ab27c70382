"""Answers of an atlas: neurons that a word leads to, neurons of a kind, rows of a question in
SQL."""

from dataclasses import dataclass
from typing import Any

from loci.result import Result

ERASES = -0.3
"""From this key·value cosine down a neuron counts as an eraser: five standard deviations of
random vectors of 256 dimensions."""
KINDS = {
    "eraser": (f"cosine <= {ERASES}", "cosine", f"key·value cosine at most {ERASES}"),
    "dead": ("dead", "cosine", "above 0 at no token"),
    "always-on": ("always_on", "mean DESC", "above 0 at every token"),
}
"""Kinds of neurons: what SQL asks for, how they are ordered, and the rule in words."""


@dataclass(frozen=True)
class WordNeurons(Result):
    """Neurons that a word leads to, the strongest first: those whose values promote it, and
    those it fires."""

    model: str
    word: str
    promoted_by: tuple[dict[str, Any], ...]
    fires: tuple[dict[str, Any], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, each once."""
        return tuple(dict.fromkeys(row["name"] for row in (*self.promoted_by, *self.fires)))

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.atlas_find/1",
            "model": self.model,
            "word": self.word,
            "promoted_by": list(self.promoted_by),
            "fires": list(self.fires),
        }


@dataclass(frozen=True)
class NeuronKind(Result):
    """Neurons of one kind, with their number and the first of them."""

    model: str
    kind: str
    rule: str
    count: int
    neurons: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "loci.atlas_kind/1", **vars(self), "neurons": list(self.neurons)}


@dataclass(frozen=True)
class QueryRows(Result):
    """The answer to a question in SQL."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.atlas_query/1",
            "columns": list(self.columns),
            "rows": [list(row) for row in self.rows],
        }
