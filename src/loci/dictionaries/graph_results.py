"""An attribution graph as a value: nodes, edges, interventions."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from loci.result import Result
from loci.stats import correlation, rank_correlation

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
    """What it adds to the score on all ways through the followed units."""


class GraphEdge(NamedTuple):
    """What one node adds to another."""

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
        found = [node for node in self.nodes if node.kind in ("neuron", "feature")]
        return sorted(found, key=lambda node: -abs(node.effect))

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
