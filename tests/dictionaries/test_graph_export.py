"""The document against the schema that Neuronpedia checks uploads by, and against the graph."""

import json
from pathlib import Path
from typing import Any

import pytest

from loci.dictionaries import attribution_graph, export_graph, graph_document
from loci.dictionaries.graph_results import AttributionGraph
from loci.errors import DictionaryError
from loci.model import Model

TEXTS = {"type": "array", "items": {"type": "string"}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["metadata", "qParams", "nodes", "links"],
    "properties": {
        "metadata": {
            "type": "object",
            "required": ["slug", "scan", "prompt_tokens", "prompt"],
            "properties": {
                "slug": {"type": "string"},
                "scan": {"type": "string"},
                "prompt_tokens": TEXTS,
                "prompt": {"type": "string"},
                "node_threshold": {"type": "number"},
                "transcoder_list": TEXTS,
                "schema_version": {"type": "integer"},
            },
        },
        "qParams": {
            "type": "object",
            "required": ["pinnedIds", "supernodes", "linkType", "clickedId", "sg_pos"],
            "properties": {"pinnedIds": TEXTS, "linkType": {"type": "string"}},
        },
        "nodes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    "node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp",
                ],
                "properties": {
                    "node_id": {"type": "string"},
                    "feature": {"type": "integer"},
                    "layer": {"type": "string"},
                    "ctx_idx": {"type": "integer"},
                    "feature_type": {"type": "string"},
                    "token_prob": {"type": "number"},
                    "is_target_logit": {"type": "boolean"},
                    "jsNodeId": {"type": "string"},
                    "clerp": {"type": "string"},
                },
            },
        },
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["source", "target", "weight"],
                "properties": {
                    "source": {"type": "string"},
                    "target": {"type": "string"},
                    "weight": {"type": "number"},
                },
            },
        },
    },
}  # fmt: skip
"""What Neuronpedia's graph schema requires, and what circuit-tracer's front end adds."""
KINDS = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
    "boolean": bool,
}  # fmt: skip


def check(value: Any, schema: dict[str, Any], at: str = "") -> None:
    """JSON Schema's type, required, properties and items."""
    assert isinstance(value, KINDS[schema["type"]]), at
    assert schema["type"] == "boolean" or not isinstance(value, bool), at
    for name in schema.get("required", ()):
        assert name in value, f"{at}/{name}"
    for name, own in schema.get("properties", {}).items():
        check(value[name], own, f"{at}/{name}")
    for i, each in enumerate(value if "items" in schema else ()):
        check(each, schema["items"], f"{at}/{i}")


@pytest.fixture(scope="module")
def graph(demo: Model) -> AttributionGraph:
    return attribution_graph(demo, "Michael Jordan plays the sport of", followed=24, tested=0)


def test_the_document_keeps_the_schema(graph: AttributionGraph, tmp_path: Path) -> None:
    export_graph(graph, tmp_path / "jordan.json")
    document = json.loads((tmp_path / "jordan.json").read_text())
    check(document, SCHEMA)
    assert document == graph_document(graph, "jordan")
    assert document["metadata"]["prompt_tokens"] == list(graph.tokens)


def test_nodes_and_links_are_the_graphs(graph: AttributionGraph) -> None:
    document = graph_document(graph, "jordan", "demo")
    nodes = {node["node_id"]: node for node in document["nodes"]}
    assert len(nodes) == len(document["nodes"]) == sum(n.kind != "bias" for n in graph.nodes)
    for unit in graph.units():
        node = nodes[f"{unit.layer}_{unit.unit}_{unit.position}"]
        total = unit.layer + unit.unit
        assert node["feature"] == sum(range(total + 1)) + unit.unit  # Cantor, by counting
        assert node["clerp"] == f"L{unit.layer}N{unit.unit}"
        assert node["activation"] == unit.activation and 0 < node["influence"] <= 1
    weights = {(link["source"], link["target"]): link["weight"] for link in document["links"]}
    assert {end for pair in weights for end in pair} <= set(nodes)
    [answer] = [node for node in document["nodes"] if node["is_target_logit"]]
    into = sum(w for (_, target), w in weights.items() if target == answer["node_id"])
    assert into == pytest.approx(
        sum(e.weight for e in graph.edges if e.target == "logit" and e.source != "bias")
    )
    assert 0.5 < answer["token_prob"] <= 1 and "basketball" in answer["clerp"]
    with pytest.raises(DictionaryError, match="slug"):
        graph_document(graph, "a b")
