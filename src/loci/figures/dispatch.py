"""`loci.plot(result)`: the figure that belongs to a result, by its type; and how a figure is
written.
"""

import json
from collections.abc import Callable
from functools import cache, singledispatch
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io

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
from loci.errors import OutputError, UseError
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
    bases_figure,
    bigrams_figure,
    bug_figure,
    corners_figure,
    history_figure,
    sizes_figure,
    skips_figure,
    small_figure,
)
from loci.figures.sparsity import sparsity_figure
from loci.figures.sweep import sweep_figure
from loci.figures.tables import write_parquet
from loci.figures.toys import (
    attack_figure,
    computation_figure,
    correlated_figure,
    geometry_figure,
    phase_figure,
    toy_figure,
)
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
from loci.files import write_aside
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

IMAGES = (".png", ".svg")


@singledispatch
def plot(result: object) -> go.Figure:
    """The figure of a result: by its type, else what it draws itself, else bars of its tables."""
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


def save(result: Any, path: str | Path) -> None:
    """Write a result by the ending of `path`: .json or .parquet its numbers; .html, .png or .svg
    its figure (.html needs no network).

    .parquet is one long table (see `tables`) and needs the extra `tables`; .png and .svg need the
    extra `images` and a Chrome or Chromium on the machine.
    """
    path = Path(path)
    check_ending(path)
    with write_aside(path) as aside:
        if path.suffix == ".json":
            aside.write_text(json.dumps(result.to_dict(), ensure_ascii=False), encoding="utf-8")
        elif path.suffix == ".parquet":
            write_parquet(result.to_dict(), aside)
        elif path.suffix == ".html":
            aside.write_text(
                plotly.io.to_html(plot(result), include_plotlyjs=True), encoding="utf-8"
            )
        else:
            _save_image(plot(result), aside)


def check_ending(path: Path) -> None:
    """Raise `OutputError` for an ending that says nothing, or whose library is not there."""
    if path.suffix not in (".json", ".parquet", ".html", *IMAGES):
        raise OutputError(
            f"{path}: the ending says what is written: .json, .parquet, .html, .png or .svg"
        )
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        raise OutputError(f"{path}: .parquet needs loci-lm[tables]")


def check_image(path: Path) -> None:
    """Raise `OutputError` where `path` is an image and none can be made here: a small one is tried,
    once in a process (seconds).
    """
    if path.suffix in IMAGES and (lacks := _no_image()):
        raise OutputError(f"{path}: {lacks}; .html needs neither")


@cache
def _no_image() -> str | None:
    """Why no image can be made on this machine, or nothing."""
    try:
        go.Figure().to_image("png", width=20, height=20)
    except Exception as error:  # noqa: BLE001 kaleido's own, choreographer's, the browser's
        return _lacks(error)
    return None


def _lacks(error: Exception) -> str:
    """What an image needs, and why this one was not made."""
    if find_spec("kaleido") is None:
        return (
            "an image needs loci-lm[images] and Chrome or Chromium: pip install 'loci-lm[images]'"
        )
    why = " ".join(str(error).split()).partition(". ")[0][:160] or type(error).__name__
    return (
        f"an image needs Chrome or Chromium, and none answers ({why}): install one, as with"
        " plotly_get_chrome"
    )


def _save_image(figure: go.Figure, path: Path) -> None:
    try:
        image = figure.to_image(path.suffix[1:], width=figure.layout.width or 1000, scale=2)
    except Exception as error:
        raise OutputError(f"{path.name}: {_lacks(error)}; .html needs neither") from error
    path.write_bytes(image)
