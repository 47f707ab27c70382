"""`loci.plot(result)`: the figure that belongs to a result, by its type; and how a figure is written."""

import json
from functools import singledispatch
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io

from loci.auditing import Curves, GroundTruth, Recall, Scorecard, Sweep
from loci.auditing.forensics import Alone, Forensics
from loci.circuits import (
    Composition,
    CompositionGraph,
    Edges,
    Extractions,
    FactCircuit,
    HeadScatter,
    HeadScores,
    Induction,
    Links,
    OrderLosses,
    Paths,
    Patterns,
    TokenCircuit,
)
from loci.circuits.small import Bases as SmallBases
from loci.circuits.small import Bigrams, Bug, Corners, History, Sizes, Skips, Small
from loci.errors import OutputError, UseError
from loci.figures.atlas import atlas_figure
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
from loci.figures.forensics import alone_figure, forensics_figure
from loci.figures.interference import interference_figure
from loci.figures.ladder import Ladder, ladder_figure
from loci.figures.lens import lens_figure
from loci.figures.locate import located_figure
from loci.figures.lookup import lookup_figure, part_figure
from loci.figures.memories import memories_figure
from loci.figures.neurons import knowledge_figure, neuron_trace_figure, neurons_figure
from loci.figures.packing import packing_figure, video_figure
from loci.figures.probe import probe_figure
from loci.figures.routes import routes_figure
from loci.figures.scorecard import recall_figure, scorecard_figure
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
from loci.figures.writing import capacity_figure, curve_figure, fullness_figure, gate_figure, stores_figure, truth_figure
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
from loci.reading import Atlas, Clusters, Memories, SubUpdates
from loci.reading.basis import Bases
from loci.reading.concepts import Concepts
from loci.reading.directions import Directions
from loci.reading.sparsity import Sparsity
from loci.reading.steering import Steered
from loci.superposition import (
    Attacked,
    Bounds,
    BoundsTable,
    Built,
    Computation,
    Correlated,
    Geometry,
    Interference,
    Packing,
    Phase,
    Reach,
    Toy,
    Video,
    WeightAngles,
)
from loci.writing import Capacity, Curve, Fullness, Gate, Stores

IMAGES = (".png", ".svg")


@singledispatch
def plot(result: object) -> go.Figure:
    """The figure of a result: a trace, a lens, neurons, a ladder, a recall, a scorecard or a census."""
    raise UseError(
        f"there is no figure for {type(result).__name__}; loci.plot takes what loci.trace, loci.audit and the other verbs give"
    )


def has_figure(result: object) -> bool:
    """Whether `plot` has a figure for it."""
    return plot.dispatch(type(result)) is not plot.dispatch(object)


plot.register(Trace, trace_figure)
plot.register(Attribution, attribution_figure)
plot.register(AverageTrace, average_figure)
plot.register(Neurons, neurons_figure)
plot.register(Located, located_figure)
plot.register(Lookup, lookup_figure)
for part in (TwoTokens, SingleStep, Effects, LocalContext):
    plot.register(part, part_figure)
plot.register(Probe, probe_figure)
plot.register(Routes, routes_figure)
plot.register(KnowledgeNeurons, knowledge_figure)
plot.register(NeuronTrace, neuron_trace_figure)
plot.register(Lens, lens_figure)
plot.register(Memories, memories_figure)
plot.register(SubUpdates, updates_figure)
plot.register(Clusters, clusters_figure)
plot.register(Atlas, atlas_figure)
plot.register(Bases, basis_figure)
plot.register(Sparsity, sparsity_figure)
plot.register(Directions, directions_figure)
plot.register(Steered, steered_figure)
plot.register(Concepts, concepts_figure)
plot.register(Ladder, ladder_figure)
plot.register(Scorecard, scorecard_figure)
plot.register(Curves, curves_figure)
plot.register(Recall, recall_figure)
plot.register(Sweep, sweep_figure)
plot.register(Forensics, forensics_figure)
plot.register(Alone, alone_figure)
plot.register(Census, census_figure)
plot.register(Gate, gate_figure)
plot.register(Stores, stores_figure)
plot.register(Capacity, capacity_figure)
plot.register(Curve, curve_figure)
plot.register(Fullness, fullness_figure)
plot.register(GroundTruth, truth_figure)
plot.register(Bounds, bounds_figure)
plot.register(BoundsTable, bounds_table_figure)
plot.register(Reach, reach_figure)
plot.register(Built, built_figure)
plot.register(Packing, packing_figure)
plot.register(Video, video_figure)
plot.register(Toy, toy_figure)
plot.register(Geometry, geometry_figure)
plot.register(Phase, phase_figure)
plot.register(Correlated, correlated_figure)
plot.register(Computation, computation_figure)
plot.register(Attacked, attack_figure)
plot.register(Interference, interference_figure)
plot.register(WeightAngles, weights_figure)
plot.register(HeadScores, heads_figure)
plot.register(HeadScatter, scatter_figure)
plot.register(TokenCircuit, tokens_figure)
plot.register(Composition, composition_figure)
plot.register(CompositionGraph, graph_figure)
plot.register(Links, links_figure)
plot.register(Patterns, patterns_figure)
plot.register(Induction, induction_figure)
plot.register(Paths, paths_figure)
plot.register(OrderLosses, losses_figure)
plot.register(Edges, edges_figure)
plot.register(FactCircuit, fact_figure)
plot.register(Extractions, extraction_figure)
plot.register(Small, small_figure)
plot.register(History, history_figure)
plot.register(Bigrams, bigrams_figure)
plot.register(Skips, skips_figure)
plot.register(Bug, bug_figure)
plot.register(Corners, corners_figure)
plot.register(Sizes, sizes_figure)
plot.register(SmallBases, bases_figure)


def save(result: Any, path: str | Path) -> None:
    """Write a result by the ending of `path`: .json or .parquet its numbers; .html, .png or .svg its figure (.html needs no network).

    .parquet is one long table (see `tables`) and needs the extra `tables`; .png and .svg need the extra `images` and a Chrome or Chromium on the machine.
    """
    path = Path(path)
    check_ending(path)
    with write_aside(path) as aside:
        if path.suffix == ".json":
            aside.write_text(json.dumps(result.to_dict(), ensure_ascii=False), encoding="utf-8")
        elif path.suffix == ".parquet":
            write_parquet(result.to_dict(), aside)
        elif path.suffix == ".html":
            aside.write_text(plotly.io.to_html(plot(result), include_plotlyjs=True), encoding="utf-8")
        else:
            _save_image(plot(result), aside)


def check_ending(path: Path) -> None:
    """Raise `OutputError` for an ending that says nothing."""
    if path.suffix not in (".json", ".parquet", ".html", *IMAGES):
        raise OutputError(f"{path}: the ending says what is written: .json, .parquet, .html, .png or .svg")


def _save_image(figure: go.Figure, path: Path) -> None:
    try:
        figure.write_image(path, width=figure.layout.width or 1000, scale=2)
    except Exception as error:
        raise OutputError(
            f"{path.name}: an image needs loci-lm[images] and Chromium ({type(error).__name__}); .html needs neither"
        ) from error
