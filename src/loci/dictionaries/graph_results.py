"""An attribution graph as a value: nodes, edges, interventions."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from loci.result import About, Result
from loci.stats import correlation, rank_correlation, spelt
from loci.tables import Table, columns

NodeKind = Literal["neuron", "feature", "embedding", "error", "bias", "logit"]

KEPT_NODES, KEPT_EDGES = 0.8, 0.98
"""Shares of influence that a drawn graph keeps (circuit-tracer's defaults)."""


class GraphNode(NamedTuple):
    """A node. `id`: L1N126@3, L1F17@3, E@3, error.1@3, bias, logit."""

    id: str
    kind: NodeKind
    layer: int
    position: int
    unit: int
    activation: float
    influence: float
    """Share of the score's input that comes through it, by absolute edges."""
    effect: float
    """Its contribution to the score along all paths through the followed units."""


class GraphEdge(NamedTuple):
    """The direct contribution of one node to another."""

    source: str
    target: str
    weight: float


class Interventions(NamedTuple):
    """Units set to zero in the real model, one by one, nothing held: what the score loses, and what
    the graph says.
    """

    nodes: tuple[str, ...]
    predicted: tuple[float, ...]
    measured: tuple[float, ...]

    @property
    def correlation(self) -> float:
        return correlation(self.predicted, self.measured)

    @property
    def rank_correlation(self) -> float:
        return rank_correlation(self.predicted, self.measured)


@dataclass(frozen=True)
class AttributionGraph(Result):
    """The part of a prompt's graph that carries most."""

    about: ClassVar[About] = About(
        "an attribution graph",
        "What adds up to this answer?",
        "Edges are direct effects; nodes and errors sum to the score.",
        "attribution_graph.attribution_graph_figure",
    )

    model: str
    prompt: str
    answer: str
    against: str | None
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    """Of the tokens."""
    answer_id: int
    """The answer's first token."""
    probability: float
    """Of it as the next token."""
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    score: float
    """The score in the run."""
    total: float
    """The sum of all nodes' direct effects on it, and of biases."""
    worst: float
    """The largest gap between a followed unit's activation and the sum of what goes into it, as a
    share of the largest activation.
    """
    followed: int
    interventions: Interventions

    @property
    def completeness(self) -> tuple[float, float]:
        """(the sum, what it should be)."""
        return self.total, self.score

    def units(self) -> list[GraphNode]:
        """Neurons or features, the largest effect first."""
        units = [node for node in self.nodes if node.kind in ("neuron", "feature")]
        return sorted(units, key=lambda node: -abs(node.effect))

    def title(self) -> str:
        against = "the mean logit" if self.against is None else self.against
        return f"{self.prompt} → {self.answer}, against {against}"

    def summary(self) -> tuple[str, ...]:
        ends = {own.id: own.effect for own in self.nodes if own.kind in ("embedding", "bias")}
        errors = sum(own.effect for own in self.nodes if own.kind == "error")
        return (
            f"score {self.score:.3f}, sum of direct effects {self.total:.3f} · {self.followed}"
            " units"
            f" followed, {len(self.nodes)} nodes and {len(self.edges):,} edges kept · biases"
            f" {ends['bias']:+.3f}, errors {errors:+.3f}",
        )

    def tables(self) -> tuple[Table, ...]:
        rows = []
        for own in self.units():
            token = self.tokens[own.position].strip() or repr(self.tokens[own.position])
            rows.append((own.id, token, own.activation, own.effect, own.influence))
        tried = self.interventions
        heads = ("node", "token", "activation|.2f", "effect|+.3f", "share of influence|.1%")
        return (
            Table(
                "Units",
                columns(*heads),
                tuple(rows),
                note="set to zero in the real model, one by one: correlation"
                f" {spelt(tried.correlation, '.2f')} of what the graph says and what the score"
                f" loses, of ranks {spelt(tried.rank_correlation, '.2f')}, n = {len(tried.nodes)}",
                shown=16,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.attribution_graph/1",
            "model": self.model,
            "prompt": self.prompt,
            "answer": self.answer,
            "against": self.against,
            "tokens": list(self.tokens),
            "ids": list(self.ids),
            "answer_id": self.answer_id,
            "probability": self.probability,
            "nodes": [node._asdict() for node in self.nodes],
            "edges": [{"from": e.source, "to": e.target, "weight": e.weight} for e in self.edges],
            "completeness": {"sum": self.total, "expected": self.score, "worst_unit": self.worst},
            "followed": self.followed,
            "interventions": {
                "correlation": self.interventions.correlation,
                "rank_correlation": self.interventions.rank_correlation,
                "n": len(self.interventions.nodes),
                **{name: list(value) for name, value in self.interventions._asdict().items()},
            },
        }
