"""How does a prompt become its answer? A graph of exact linear effects, over plain neurons or over
a transcoder's features.

    graph = loci.dictionaries.attribution_graph(model, "Michael Jordan plays the sport of")
    graph.completeness, graph.interventions.correlation

Attention patterns, norm scales and slopes are held as they are in the run, so that everything is
linear. An edge s → t is what s adds to t: to a unit's activation, or to the score (the logit of the
answer less the mean logit, or less another answer's). What goes into a node sums to it exactly:
units, embeddings, errors, biases. Units are followed in order of their influence, so many of them;
an edge from a unit that was not followed ends in that unit. Sources: Ameisen et al. 2025 (Circuit
Tracing); neurons as nodes: arXiv 2601.22594.

Cost: one run with its patterns, and one backward pass by hand through the held layers for each
batch of followed units.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from loci.circuits.frozen_run import freeze
from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.graph_layers import GraphLayer, feature_layer, neuron_layer
from loci.dictionaries.graph_results import (
    KEPT_EDGES,
    KEPT_NODES,
    AttributionGraph,
    GraphEdge,
    GraphNode,
    Interventions,
    NodeKind,
)
from loci.dictionaries.graph_tracing import GraphTracer, Unit
from loci.model import Edit, Model
from loci.model.answer_rule import answer_of
from loci.model.answers import answer_row, with_answer
from loci.model.hooks import add_at, put_at
from loci.progress import Progress, silent

FOLLOWED, TESTED, BATCH = 128, 24, 32


@torch.no_grad()
def attribution_graph(
    model: Model,
    prompt: str,
    answer: str | None = None,
    *,
    against: str | None = None,
    transcoders: Mapping[int, Dictionary] | None = None,
    followed: int = FOLLOWED,
    tested: int = TESTED,
    progress: Progress = silent,
) -> AttributionGraph:
    """The graph of one prompt.

    Args:
        answer: whose first token is scored; by default what the model says.
        against: another answer: the score is then the difference of the two logits, else the logit
            less the mean of all.
        transcoders: by layer; layers without one have their neurons as nodes.
        followed: how many units' inputs are computed, the most influential first.
        tested: how many units (neurons or features) are taken out in the real model.

    Raises `DictionaryError` for mixtures of experts, and where there is no unit to follow.
    """
    answer = answer_of(model, prompt) if answer is None else answer
    row = answer_row(model, prompt, answer, against).float()
    row = row if against is not None else row - 1 / len(row)
    tokens = model.tokenize(prompt)
    asked, (start, _) = with_answer(model, prompt, answer)
    first = asked.ids[start]
    ids = model.ids([tokens.ids])
    run = freeze(model, ids)
    layers = _layers(model, ids, transcoders or {})
    tracer = GraphTracer(run, layers, row)
    tracer.follow(followed, BATCH, progress)
    kinds: list[NodeKind] = [
        "feature" if layer in (transcoders or {}) else "neuron" for layer in range(model.n_layers)
    ]
    nodes = _nodes(tracer, kinds, float((run.logits[0, -1] * row).sum()))
    score = float(
        (run.final(run.last)[0, -1] + run.final.bias) @ (model.W_U.float().T @ row)
        + model.b_U.float() @ row
    )
    units = sorted(
        (node for node in nodes if node.kind in ("neuron", "feature")),
        key=lambda node: -abs(node.effect),
    )[:tested]
    return AttributionGraph(
        model=model.name,
        prompt=prompt,
        answer=answer,
        against=against,
        tokens=tuple(tokens.labels),
        ids=tuple(tokens.ids),
        answer_id=first,
        probability=float(model(ids, last=1)[0, -1].float().softmax(-1)[first]),
        nodes=tuple(nodes),
        edges=tuple(_edges(tracer, nodes)),
        score=score,
        total=tracer.total,
        worst=tracer.worst,
        followed=len(tracer.order),
        interventions=_interventions(model, ids, row, units, transcoders or {}),
    )


def _layers(model: Model, ids: Tensor, transcoders: Mapping[int, Dictionary]) -> list[GraphLayer]:
    stems = ["mlp_act", "mlp_pre", "mlp_in", "mlp_raw", "mlp_out", "resid_pre"]
    stems += ["mlp_up"] * model.gated + ["resid_mid"] * (not model.layout.parallel)
    at = {name: tensor.float() for name, tensor in model.read(ids, *model.names(*stems)).items()}
    return [
        (
            feature_layer(model, layer, at, transcoders[layer])
            if layer in transcoders
            else neuron_layer(model, layer, at)
        )
        for layer in range(model.n_layers)
    ]


def _nodes(tracer: GraphTracer, kinds: Sequence[NodeKind], score: float) -> list[GraphNode]:
    """The followed units that carry `KEPT_NODES` of all followed ones' influence, and what they and
    the score are made of.
    """
    influence = tracer.influence()
    units, embeddings, errors = tracer.effects()
    ranked = sorted(tracer.order, key=lambda unit: -float(influence[unit]))
    limit, kept, seen = (
        KEPT_NODES * sum(float(influence[unit]) for unit in ranked),
        list[Unit](),
        0.0,
    )
    for unit in ranked:
        if seen >= limit:
            break
        kept.append(unit)
        seen += float(influence[unit])
    nodes = [
        GraphNode(
            _name(unit, kinds),
            kinds[unit.layer],
            *unit,
            tracer.activation(unit),
            float(influence[unit]),
            float(units[unit]),
        )
        for unit in kept
    ]
    nodes += [
        GraphNode(f"E@{p}", "embedding", -1, p, 0, 1.0, 0.0, float(effect))
        for p, effect in enumerate(embeddings)
    ]
    for layer, position in (errors != 0).nonzero().tolist():
        effect = float(errors[layer, position])
        nodes.append(
            GraphNode(f"error.{layer}@{position}", "error", layer, position, 0, 1.0, 0.0, effect)
        )
    nodes.append(GraphNode("bias", "bias", -1, -1, 0, 1.0, 0.0, float(tracer.score_row.bias[0])))
    return [
        *nodes,
        GraphNode("logit", "logit", len(kinds), tracer.positions - 1, 0, score, 1.0, score),
    ]


def _name(unit: Unit, kinds: Sequence[NodeKind]) -> str:
    letter = "F" if kinds[unit.layer] == "feature" else "N"
    return f"L{unit.layer}{letter}{unit.number}@{unit.position}"


def _edges(tracer: GraphTracer, nodes: Sequence[GraphNode]) -> list[GraphEdge]:
    """Edges between the nodes that are kept, the largest |weight| first, `KEPT_EDGES` of each
    target's kept input.
    """
    edges: list[GraphEdge] = []
    targets = [("logit", tracer.score_row)]
    at = {
        (node.layer, node.position, node.unit): node.id
        for node in nodes
        if node.kind in ("neuron", "feature")
    }
    targets += [
        (at[unit], row) for unit, row in zip(tracer.order, tracer.rows, strict=True) if unit in at
    ]
    for target, row in targets:
        into: list[GraphEdge] = []
        for node in nodes:
            if node.kind in ("neuron", "feature"):
                weight = float(row.units[0, node.layer, node.position, node.unit])
            elif node.kind == "embedding":
                weight = float(row.embeddings[0, node.position])
            elif node.kind == "error":
                weight = float(row.errors[0, node.layer, node.position])
            elif node.kind == "bias":
                weight = float(row.bias[0])
            else:
                continue
            if weight and node.id != target:
                into.append(GraphEdge(node.id, target, weight))
        into.sort(key=lambda edge: -abs(edge.weight))
        limit, seen = KEPT_EDGES * sum(abs(edge.weight) for edge in into), 0.0
        for edge in into:
            if seen >= limit:
                break
            edges.append(edge)
            seen += abs(edge.weight)
    return edges


def _interventions(
    model: Model,
    ids: Tensor,
    row: Tensor,
    nodes: Sequence[GraphNode],
    transcoders: Mapping[int, Dictionary],
) -> Interventions:
    """Each unit taken out at its position, in the real model: what the score loses."""
    clean = float(model(ids, last=1)[0, -1].float() @ row)
    measured = []
    for node in nodes:
        with model.patched(_without(node, transcoders)):
            measured.append(clean - float(model(ids, last=1)[0, -1].float() @ row))
    return Interventions(
        tuple(n.id for n in nodes), tuple(n.effect for n in nodes), tuple(measured)
    )


def _without(node: GraphNode, transcoders: Mapping[int, Dictionary]) -> dict[str, Edit]:
    """A neuron set to zero; or a feature, whose decoder row is taken out of the MLP's output."""
    if node.kind == "neuron":
        zero = torch.zeros(())
        return {f"mlp_act.{node.layer}": put_at(zero, slice(None), node.position, node.unit)}
    transcoder = transcoders[node.layer]
    written = -node.activation * transcoder.W_dec[node.unit]
    return {str(transcoder.target): add_at(written, slice(None), node.position)}
