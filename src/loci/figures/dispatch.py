"""`loci.plot(result)`: the figure that belongs to a result, by its type; and how a figure is
written.
"""

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import plotly.graph_objects as go

from loci.auditing import Discovery, GroundTruth, Recall, Replies, Scorecard, SequentialAudit, Sweep
from loci.auditing.forensics import Forensics, SingleCheckpoint
from loci.circuits import (
    AttentionPatterns,
    Composition,
    CompositionGraph,
    EdgeAttribution,
    ExtractionHeads,
    FactCircuit,
    HeadScatter,
    HeadScores,
    Induction,
    OrderLosses,
    PathExpansion,
    TokenCircuit,
    VirtualWeights,
)
from loci.dictionaries import AttributionGraph, FactSparsity
from loci.errors import UseError
from loci.figures.atlas import atlas_figure
from loci.figures.attribution_graph import attribution_graph_figure
from loci.figures.basis import basis_figure
from loci.figures.bounds import bounds_figure, bounds_table_figure, built_figure, reach_figure
from loci.figures.census import census_figure
from loci.figures.circuits import heads_figure, scatter_figure, tokens_figure
from loci.figures.circuits_compose import composition_figure, graph_figure, links_figure
from loci.figures.circuits_fact import extraction_figure, fact_figure
from loci.figures.circuits_paths import edges_figure, losses_figure, paths_figure
from loci.figures.circuits_patterns import induction_figure, patterns_figure
from loci.figures.clusters import clusters_figure
from loci.figures.curves import curves_figure
from loci.figures.directions import concepts_figure, directions_figure, steered_figure
from loci.figures.fact_sparsity import fact_sparsity_figure
from loci.figures.forensics import alone_figure, forensics_figure
from loci.figures.from_tables import drawable, tables_figure
from loci.figures.interference import interference_figure
from loci.figures.ladder import Ladder, ladder_figure
from loci.figures.lens import lens_figure
from loci.figures.locate import located_figure
from loci.figures.lookup import lookup_figure, part_figure
from loci.figures.memories import memories_figure
from loci.figures.neurons import card_figure, knowledge_figure, neuron_trace_figure, neurons_figure
from loci.figures.outside import as_text
from loci.figures.packing import packing_figure, video_figure
from loci.figures.probe import probe_figure
from loci.figures.replies import replies_figure
from loci.figures.routes import routes_figure
from loci.figures.scorecard import discovery_figure, recall_figure, scorecard_figure
from loci.figures.small import (
    bigrams_figure,
    bug_figure,
    history_figure,
    skips_figure,
    small_figure,
)
from loci.figures.small_heads import bases_figure, corners_figure, sizes_figure
from loci.figures.sparsity import sparsity_figure
from loci.figures.sweep import sweep_figure
from loci.figures.toys import geometry_figure, phase_figure, toy_figure
from loci.figures.toys_costs import attack_figure, computation_figure, correlated_figure
from loci.figures.trace import attribution_figure, average_figure, trace_figure
from loci.figures.updates import updates_figure
from loci.figures.weights import weights_figure
from loci.figures.writing import (
    capacity_figure,
    curve_figure,
    fullness_figure,
    gate_figure,
    stores_figure,
    truth_figure,
)
from loci.locating import (
    Attribution,
    AverageTrace,
    Effects,
    KnowledgeNeurons,
    Lens,
    LocalContext,
    Located,
    Lookup,
    Neurons,
    NeuronTrace,
    Probe,
    Routes,
    SingleStep,
    Trace,
    TwoTokens,
)
from loci.model import Census
from loci.reading import Atlas, Clusters, Memories, NeuronCard, SubUpdates
from loci.reading.activation_sparsity import Sparsity
from loci.reading.concept_directions import Directions
from loci.reading.concepts import Concepts
from loci.reading.privileged_basis import Bases
from loci.reading.steering import Steered
from loci.result import Result
from loci.studies.attention_only import (
    BigramTable,
    HeadSizes,
    SkipTrigramBug,
    SkipTrigrams,
    SmallModel,
    TrainingHistory,
    TwoLayerInduction,
)
from loci.studies.attention_only import OptimizerBases as SmallBases
from loci.studies.superposition import (
    AbsoluteValueNetworks,
    BestAngles,
    Bounds,
    BoundsTable,
    CorrelatedFeatures,
    FeatureGeometry,
    Interference,
    Packing,
    PhaseDiagram,
    ToyModels,
    VerifiedCode,
    VideoExperiment,
    Vulnerability,
    WeightAngles,
)
from loci.writing import Capacity, CapacityCurve, Fullness, Gate, StoredTables


@singledispatch
def plot(result: object) -> go.Figure:
    """The figure of a result: by its type, else what it draws itself, else bars of its tables.

        loci.plot(loci.trace(model, fact)).show()

    Args:
        result: what a verb gives.

    Raises: `UseError` for what has no figure.
    """
    if isinstance(result, Result):
        own = result.draw()
        if own is not None:
            return own
        if drawable(result):
            return tables_figure(as_text(result))
    raise UseError(
        f"there is no figure for {type(result).__name__}; loci.plot takes what loci.trace,"
        " loci.audit and the other verbs give"
    )


def has_figure(result: object) -> bool:
    """Whether `plot` has a figure for it."""
    if plot.dispatch(type(result)) is not plot.dispatch(object):
        return True
    return isinstance(result, Result) and (type(result).draw is not Result.draw or drawable(result))


def _draw(kind: type, figure: Callable[[Any], go.Figure]) -> None:
    """Draw results of a kind so, their strings as text."""
    plot.register(kind, lambda result: figure(as_text(result)))


_draw(Trace, trace_figure)
_draw(Attribution, attribution_figure)
_draw(AverageTrace, average_figure)
_draw(Neurons, neurons_figure)
_draw(NeuronCard, card_figure)
_draw(Located, located_figure)
_draw(Lookup, lookup_figure)
for part in (TwoTokens, SingleStep, Effects, LocalContext):
    _draw(part, part_figure)
_draw(Probe, probe_figure)
_draw(Routes, routes_figure)
_draw(KnowledgeNeurons, knowledge_figure)
_draw(NeuronTrace, neuron_trace_figure)
_draw(Lens, lens_figure)
_draw(Memories, memories_figure)
_draw(SubUpdates, updates_figure)
_draw(Clusters, clusters_figure)
_draw(Atlas, atlas_figure)
_draw(Bases, basis_figure)
_draw(Sparsity, sparsity_figure)
_draw(Directions, directions_figure)
_draw(Steered, steered_figure)
_draw(Concepts, concepts_figure)
_draw(Ladder, ladder_figure)
_draw(Scorecard, scorecard_figure)
_draw(SequentialAudit, curves_figure)
_draw(Recall, recall_figure)
_draw(Discovery, discovery_figure)
_draw(Replies, replies_figure)
_draw(Sweep, sweep_figure)
_draw(Forensics, forensics_figure)
_draw(SingleCheckpoint, alone_figure)
_draw(Census, census_figure)
_draw(AttributionGraph, attribution_graph_figure)
_draw(FactSparsity, fact_sparsity_figure)
_draw(Gate, gate_figure)
_draw(StoredTables, stores_figure)
_draw(Capacity, capacity_figure)
_draw(CapacityCurve, curve_figure)
_draw(Fullness, fullness_figure)
_draw(GroundTruth, truth_figure)
_draw(Bounds, bounds_figure)
_draw(BoundsTable, bounds_table_figure)
_draw(BestAngles, reach_figure)
_draw(VerifiedCode, built_figure)
_draw(Packing, packing_figure)
_draw(VideoExperiment, video_figure)
_draw(ToyModels, toy_figure)
_draw(FeatureGeometry, geometry_figure)
_draw(PhaseDiagram, phase_figure)
_draw(CorrelatedFeatures, correlated_figure)
_draw(AbsoluteValueNetworks, computation_figure)
_draw(Vulnerability, attack_figure)
_draw(Interference, interference_figure)
_draw(WeightAngles, weights_figure)
_draw(HeadScores, heads_figure)
_draw(HeadScatter, scatter_figure)
_draw(TokenCircuit, tokens_figure)
_draw(Composition, composition_figure)
_draw(CompositionGraph, graph_figure)
_draw(VirtualWeights, links_figure)
_draw(AttentionPatterns, patterns_figure)
_draw(Induction, induction_figure)
_draw(PathExpansion, paths_figure)
_draw(OrderLosses, losses_figure)
_draw(EdgeAttribution, edges_figure)
_draw(FactCircuit, fact_figure)
_draw(ExtractionHeads, extraction_figure)
_draw(SmallModel, small_figure)
_draw(TrainingHistory, history_figure)
_draw(BigramTable, bigrams_figure)
_draw(SkipTrigrams, skips_figure)
_draw(SkipTrigramBug, bug_figure)
_draw(TwoLayerInduction, corners_figure)
_draw(HeadSizes, sizes_figure)
_draw(SmallBases, bases_figure)
