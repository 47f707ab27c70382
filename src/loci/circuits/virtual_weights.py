"""Virtual weights of single neurons: which heads and neurons feed one, and which it feeds.

    head → neuron      ‖k W_OV‖ / (‖k‖ ‖W_OV‖)                      k: the neuron's key, after the
                                                                    norm's gain
    neuron → head      ‖W_QKᵀ v‖ / (‖W_QK‖ ‖v‖), W_QK v, W_OV v      v: the neuron's value; as
                                                                     queries, keys, values
    neuron → neuron    k · v / (‖k‖ ‖v‖)                             signed: positive where one
                                                                     helps the other to fire

Null: 1/√d_model for the norms' scores and for the root mean square of the cosines. Nothing is run:
these are what weights could pass on, not what passes on a text. Source: Elhage et al. 2021
("virtual weights").
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from loci.circuits.composition import keys, reading, scored, values, writing
from loci.circuits.heads import View, projections
from loci.circuits.nodes import check_top
from loci.errors import CircuitError
from loci.model import Weights
from loci.model.names import check_layer, head_name, neuron_name, parse_head, parse_neuron
from loci.result import About, Result
from loci.tables import Table, columns

BLOCK = 1024


class VirtualWeight(NamedTuple):
    """Another part and its score: how strongly the two are joined."""

    part: str
    score: float


@dataclass(frozen=True)
class VirtualWeights(Result):
    """The parts joined to one part, the strongest first."""

    about: ClassVar[About] = About(
        "what feeds a part",
        "Which parts write what this one reads, and read what it writes?",
        "Cosines of weights, beside chance.",
        "circuits_compose.links_figure",
    )

    model: str
    part: str
    view: str
    null: float
    before: dict[str, tuple[VirtualWeight, ...]]
    """By what they are: heads, neurons."""
    after: dict[str, tuple[VirtualWeight, ...]]
    """By how they read it: q, k and v of heads; neurons."""

    def title(self) -> str:
        return f"{self.part} of {self.model}; chance {self.null:.3f}"

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (side, kind, ", ".join(f"{link.part} {link.score:+.3f}" for link in links[:8]))
            for side, kinds in (("feeds it", self.before), ("is fed", self.after))
            for kind, links in kinds.items()
            if links
        )
        return (Table("Links", columns("", "kind", "parts, the strongest first"), rows),)

    def to_dict(self) -> dict[str, Any]:
        sides = {
            side: {
                kind: [link._asdict() for link in links]
                for kind, links in getattr(self, side).items()
            }
            for side in ("before", "after")
        }
        return {"schema": "loci.links/1", **vars(self), **sides}


@torch.no_grad()
def neuron_links(
    model: Weights, name: str, *, top: int = 10, view: View = "gain"
) -> VirtualWeights:
    """Virtual weights of one neuron: heads and neurons that feed it, and that it feeds.

    Args:
        model: an open model or `open_weights`; nothing is run.
        name: as in `L1N126`.
        top: links listed of each kind.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Returns: `VirtualWeights`, the strongest first.
    Raises: `ModelError` for a neuron that is not there, `CircuitError` for a neuron of an expert.
    Cost: One product with every other layer's weights.
    Source: Elhage et al. 2021.
    """
    check_top(top)
    layer, neuron, expert = parse_neuron(name, model)
    if expert is not None:
        raise CircuitError(
            f"{name} is of a mixture's expert: which tokens it meets is the router's choice, so "
            "weights alone join it to nothing"
        )
    key, value = keys(model, layer, view)[neuron], values(model, layer, view)[:, neuron]
    before: dict[str, list[VirtualWeight]] = {"heads": [], "neurons": []}
    after: dict[str, list[VirtualWeight]] = {"q": [], "k": [], "v": [], "neurons": []}
    for other in range(layer + (not model.layout.parallel)):
        heads = writing(projections(model, other, view))
        before["heads"] += _named(scored(key[None, None], heads)[0], other, head_name)
    for other in range(layer):
        cosines = normalize(values(model, other, view), dim=0).T @ normalize(key, dim=0)
        before["neurons"] += _ends(cosines, other, top)
    for other in range(layer + 1, model.n_layers):
        for kind, reader in reading(projections(model, other, view)).items():
            after[kind] += _named(scored(reader, value[None, :, None])[:, 0], other, head_name)
        after["neurons"] += _ends(
            normalize(keys(model, other, view), dim=1) @ normalize(value, dim=0), other, top
        )
    return VirtualWeights(
        model.name, name, view, model.d_model**-0.5, _strongest(before, top), _strongest(after, top)
    )


@torch.no_grad()
def head_neurons(
    model: Weights, name: str, *, top: int = 10, view: View = "gain"
) -> VirtualWeights:
    """Neurons that feed a head's queries, keys and values, and neurons that the head feeds.

    Args:
        model: an open model or `open_weights`; nothing is run.
        name: as in `L1H3`.
        top: neurons listed of each kind.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Returns: `VirtualWeights`, the strongest first.
    Raises: `ModelError` for a head that is not there, `CircuitError` for a mixture of experts.
    Cost: One product with every other layer's weights.
    """
    check_top(top)
    layer, head = parse_head(name, model)
    if model.n_experts:
        raise CircuitError(
            f"the MLPs of {model.name!r} are mixtures: their neurons are joined to nothing by "
            "weights alone"
        )
    p = projections(model, layer, view)
    reads = reading(p)
    before: dict[str, list[VirtualWeight]] = {kind: [] for kind in reads}
    for other in range(layer):
        columns = values(model, other, view).T[..., None]
        for kind, readers in reads.items():
            before[kind] += _ends(scored(readers[head][None], columns)[0], other, top)
    after: list[VirtualWeight] = []
    own = writing(p)[head : head + 1]
    for other in range(layer + model.layout.parallel, model.n_layers):
        after += _ends(scored(keys(model, other, view)[:, None], own)[:, 0], other, top)
    return VirtualWeights(
        model.name,
        name,
        view,
        model.d_model**-0.5,
        _strongest(before, top),
        _strongest({"neurons": after}, top),
    )


class NeuronPair(NamedTuple):
    """Two neurons, the earlier one first, and the cosine of the one's value with the other's
    key."""

    earlier: str
    later: str
    cosine: float


@torch.no_grad()
def mlp_pairs(
    model: Weights, earlier: int, later: int, *, top: int = 20, view: View = "gain"
) -> tuple[NeuronPair, ...]:
    """The pairs of neurons of two layers whose value and key are most nearly parallel or opposed.

    Args:
        model: an open model or `open_weights`; nothing is run.
        earlier: layer whose values write.
        later: layer whose keys read.
        top: pairs listed.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".

    Returns: The pairs with the largest |cosine|.
    Raises: `CircuitError` unless `earlier` comes before `later`.
    Cost: d_mlp² · d_model multiplications, in blocks of 1,024 neurons.
    """
    check_top(top)
    for layer in (earlier, later):
        check_layer(model, layer)
    if earlier >= later:
        raise CircuitError(f"layer {earlier} does not come before layer {later}")
    strongest = heapq.nlargest(
        top, _pairs(model, earlier, later, top, view), key=lambda pair: abs(pair.cosine)
    )
    return tuple(strongest)


def _pairs(model: Weights, earlier: int, later: int, top: int, view: View) -> Iterator[NeuronPair]:
    writes, reads = (
        normalize(values(model, earlier, view), dim=0),
        normalize(keys(model, later, view), dim=1),
    )
    for start in range(0, len(reads), BLOCK):
        cosines = reads[start : start + BLOCK] @ writes
        for place in cosines.abs().flatten().topk(min(top, cosines.numel())).indices.tolist():
            row, column = divmod(place, cosines.shape[1])
            yield NeuronPair(
                neuron_name(earlier, column),
                neuron_name(later, start + row),
                float(cosines[row, column]),
            )


def _named(scores: Float[Tensor, " part"], layer: int, name: Any) -> list[VirtualWeight]:
    return [VirtualWeight(name(layer, i), score) for i, score in enumerate(scores.tolist())]


def _ends(scores: Float[Tensor, " neuron"], layer: int, top: int) -> list[VirtualWeight]:
    """The neurons furthest from 0."""
    best = scores.abs().topk(min(top, len(scores))).indices.tolist()
    return [VirtualWeight(neuron_name(layer, i), float(scores[i])) for i in best]


def _strongest(
    links: dict[str, list[VirtualWeight]], top: int
) -> dict[str, tuple[VirtualWeight, ...]]:
    return {
        kind: tuple(sorted(some, key=lambda link: -abs(link.score))[:top])
        for kind, some in links.items()
    }
