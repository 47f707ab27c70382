"""Circuits: how attention and MLPs work together, as paths through the residual stream.

    x_L = Π_l (1 + Σ_h A^h ⊗ W_OV^h) x_0        patterns A and norms as they were in a run

From weights alone:
    heads               one head as its QK and OV circuits; `algebra`: their products and norms
    composition         composition scores of all pairs; `virtual_weights`: those of one neuron
    token_circuits      QK and OV from token to token; `rotary`: how positions turn keys
In one run:
    attention_patterns  where heads look
    path_expansion      logits as a sum over paths; `importance`: the loss of each order
In two runs:
    edge_attribution    path patching between `nodes`
On repeated tokens:
    scores, measured_scores, induction_heads
Of facts:
    fact_circuits       how an answer comes from its subject; `extraction_heads`: over many facts

Sources: Elhage et al. 2021 (A Mathematical Framework for Transformer Circuits), with its erratum;
Olsson et al. 2022 (In-context Learning and Induction Heads).
"""

from loci.circuits.algebra import BilinearForm, DenseMap, LinearMap, VectorSpace
from loci.circuits.attention_patterns import AttentionPatterns, patterns
from loci.circuits.composition import compose
from loci.circuits.composition_results import Composition, CompositionEdge, CompositionGraph
from loci.circuits.edge_attribution import PromptPair, edges
from loci.circuits.edge_scores import EdgeAttribution, EdgeScore
from loci.circuits.embedding_maps import embed, unembed
from loci.circuits.extraction_heads import ExtractionHead, ExtractionHeads, extraction
from loci.circuits.fact_circuit_results import FactCircuit, FactHead, ValueRole
from loci.circuits.fact_circuits import fact_circuit
from loci.circuits.heads import Head, View, all_heads, check_view, head, layer_heads, projections
from loci.circuits.importance import OrderLosses, order_losses
from loci.circuits.induction_heads import Induction, InductionHead, Partner, induction
from loci.circuits.measured_scores import MEASURED, scores_on
from loci.circuits.nodes import Node
from loci.circuits.path_expansion import CircuitPath, PathExpansion, PathOrder, paths
from loci.circuits.repeated import RepeatedTokens, repeat, repeated_tokens
from loci.circuits.scores import (
    WEIGHED,
    HeadScatter,
    HeadScore,
    HeadScores,
    head_scores,
    weighed_scores,
)
from loci.circuits.token_circuit_results import SkipTrigram, TokenCircuit, TokenSource
from loci.circuits.token_circuits import token_circuit
from loci.circuits.token_pairs import TokenPair, token_pair
from loci.circuits.virtual_weights import (
    NeuronPair,
    VirtualWeight,
    VirtualWeights,
    head_neurons,
    mlp_pairs,
    neuron_links,
)
from loci.deprecated import renamed

__getattr__ = renamed(
    __name__,
    {
        "Carrier": "FactHead",
        "Dense": "DenseMap",
        "Edge": "CompositionEdge",
        "Edges": "EdgeAttribution",
        "Extraction": "ExtractionHead",
        "Extractions": "ExtractionHeads",
        "Form": "BilinearForm",
        "Link": "VirtualWeight",
        "Links": "VirtualWeights",
        "Map": "LinearMap",
        "Order": "PathOrder",
        "Pair": "NeuronPair",
        "Part": "Node",
        "Path": "CircuitPath",
        "Paths": "PathExpansion",
        "Patterns": "AttentionPatterns",
        "Repeated": "RepeatedTokens",
        "Scored": "EdgeScore",
        "Source": "TokenSource",
        "Space": "VectorSpace",
        "Trigram": "SkipTrigram",
    },
)
__all__ = [
    "MEASURED",
    "WEIGHED",
    "AttentionPatterns",
    "BilinearForm",
    "CircuitPath",
    "Composition",
    "CompositionEdge",
    "CompositionGraph",
    "DenseMap",
    "EdgeAttribution",
    "EdgeScore",
    "ExtractionHead",
    "ExtractionHeads",
    "FactCircuit",
    "FactHead",
    "Head",
    "HeadScatter",
    "HeadScore",
    "HeadScores",
    "Induction",
    "InductionHead",
    "LinearMap",
    "NeuronPair",
    "Node",
    "OrderLosses",
    "Partner",
    "PathExpansion",
    "PathOrder",
    "PromptPair",
    "RepeatedTokens",
    "SkipTrigram",
    "TokenCircuit",
    "TokenPair",
    "TokenSource",
    "ValueRole",
    "VectorSpace",
    "View",
    "VirtualWeight",
    "VirtualWeights",
    "all_heads",
    "check_view",
    "compose",
    "edges",
    "embed",
    "extraction",
    "fact_circuit",
    "head",
    "head_neurons",
    "head_scores",
    "induction",
    "layer_heads",
    "mlp_pairs",
    "neuron_links",
    "order_losses",
    "paths",
    "patterns",
    "projections",
    "repeat",
    "repeated_tokens",
    "scores_on",
    "token_circuit",
    "token_pair",
    "unembed",
    "weighed_scores",
]
