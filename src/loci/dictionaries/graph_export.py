"""An attribution graph as circuit-tracer's front end and Neuronpedia read it: one JSON for both.

    nodes   layer_unit_position (features and neurons), layer_-1_position (errors), E_token_position
            (embeddings), (layers + 1)_token_position (the answer)
    links   source, target, weight

The format has no node for biases and none for the mean of all logits: edges from biases are left
out, and the answer's node stands for the score. `influence` is cumulative, as circuit-tracer prunes
by it: the share of influence that this node and all larger ones carry. A neuron is written as a
feature whose number is its own; its label (`clerp`) says L1N126. Formats: circuit-tracer's
graph_models.py, Neuronpedia's graph-schema.json.
"""

import json
from pathlib import Path
from typing import Any

from loci.dictionaries.graph_results import KEPT_NODES, AttributionGraph, GraphNode
from loci.errors import DictionaryError
from loci.files import write_aside
from loci.version import VERSION

UNIT = "cross layer transcoder"
"""The node type that has a page of its own in both front ends."""


def graph_document(graph: AttributionGraph, slug: str, scan: str | None = None) -> dict[str, Any]:
    """The graph as one document.

    Args:
        slug: the graph's name there, of letters, digits and dashes.
        scan: the model's name there; by default its own.

    Raises `DictionaryError` for an empty slug, and one with other characters.
    """
    if not slug or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in slug):
        raise DictionaryError(
            f"a graph's slug has letters, digits, dashes, dots and underscores alone, not {slug!r}"
        )
    named = {node.id: _name(graph, node) for node in graph.nodes if node.kind != "bias"}
    carried = _cumulative(graph)
    return {
        "metadata": {
            "slug": slug,
            "scan": scan or graph.model,
            "transcoder_list": [],
            "prompt_tokens": list(graph.tokens),
            "prompt": graph.prompt,
            "node_threshold": KEPT_NODES,
            "schema_version": 1,
            "info": {"generator": {"name": "Loci", "version": VERSION}},
        },
        "qParams": {
            "pinnedIds": [],
            "supernodes": [],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        "nodes": [
            _node(graph, node, named[node.id], carried.get(node.id))
            for node in graph.nodes
            if node.id in named
        ],
        "links": [
            {"source": named[edge.source], "target": named[edge.target], "weight": edge.weight}
            for edge in graph.edges
            if edge.source in named
        ],
    }


def export_graph(
    graph: AttributionGraph, path: str | Path, slug: str | None = None, scan: str | None = None
) -> None:
    """Write the document to a `.json` file; its slug is the file's name where none is said."""
    document = graph_document(graph, slug or Path(path).stem, scan)
    with write_aside(path) as aside:
        aside.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _name(graph: AttributionGraph, node: GraphNode) -> str:
    if node.kind == "embedding":
        return f"E_{graph.ids[node.position]}_{node.position}"
    if node.kind == "logit":
        return f"{node.layer + 1}_{graph.answer_id}_{node.position}"
    return f"{node.layer}_{-1 if node.kind == 'error' else node.unit}_{node.position}"


def _node(
    graph: AttributionGraph, node: GraphNode, name: str, influence: float | None
) -> dict[str, Any]:
    kinds = {"embedding": "embedding", "logit": "logit", "error": "mlp reconstruction error"}
    numbers = {"embedding": node.position, "logit": graph.answer_id, "error": -1}
    token = graph.tokens[node.position]
    labels = {
        "embedding": token,
        "logit": f'Output "{graph.answer}" (p={graph.probability:.3f})',
        "error": "",
    }
    layers = {"embedding": "E", "logit": str(node.layer + 1)}
    unit = node.kind in ("neuron", "feature")
    return {
        "node_id": name,
        "feature": _paired(node.layer, node.unit) if unit else numbers[node.kind],
        "layer": layers.get(node.kind, str(node.layer)),
        "ctx_idx": node.position,
        "feature_type": kinds.get(node.kind, UNIT),
        "token_prob": graph.probability if node.kind == "logit" else 0.0,
        "is_target_logit": node.kind == "logit",
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": _page(graph, node),
        "clerp": node.id.partition("@")[0] if unit else labels[node.kind],
        "influence": influence,
        "activation": node.activation if unit else None,
    }


def _page(graph: AttributionGraph, node: GraphNode) -> str:
    """Nodes of one feature at several positions have one page."""
    if node.kind == "embedding":
        return f"E_{graph.ids[node.position]}-{node.position}"
    if node.kind == "logit":
        return f"L_{graph.answer_id}-{node.position}"
    return (
        f"{node.layer}_-1-{node.position}"
        if node.kind == "error"
        else (f"{node.layer}_{node.unit}-0")
    )


def _paired(x: int, y: int) -> int:
    """Cantor's number of a pair: layer and unit."""
    return (x + y) * (x + y + 1) // 2 + y


def _cumulative(graph: AttributionGraph) -> dict[str, float]:
    """The share of influence of each unit and all larger ones."""
    ranked = sorted(graph.units(), key=lambda node: -node.influence)
    total, seen, shares = sum(node.influence for node in ranked) or 1.0, 0.0, {}
    for node in ranked:
        seen += node.influence
        shares[node.id] = min(1.0, seen / total)
    return shares
