"""The atlas: the book of all neurons of a model, as Parquet files that any DuckDB or pandas opens.

    neurons.parquet     a row a neuron: how key and value lie, how often it fires, how its
                        activations are spread
    values.parquet      what each value promotes and suppresses, sorted by word
    triggers.parquet    where each neuron is largest, sorted by the word it is largest at
    histograms.parquet  counts of its activations
    texts.parquet       the texts that hold a trigger
    provenance.json     whose atlas, of which text, with which settings; written last, so that a
                        half-built atlas has none

1. One pass over the text with accumulators of all layers, here with a checkpoint or in shards by
   workers: a build that was stopped goes on.
2. The texts that hold a trigger are gathered from the stream once more, and cut at the token.
3. Weights: cosines, norms, projections in blocks of neurons.
Cost: the pass, and for each layer one product of its values with the unembedding. Memory: a batch
and the tables.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from loci.errors import ModelError
from loci.model import Model
from loci.progress import Progress, silent
from loci.reading.atlas_folder import CHECKPOINT, SCHEMA, SHARDS, TABLES, building, finish
from loci.reading.atlas_tables import (
    CLUSTERS,
    THINNED,
    TOKENS,
    TRIGGERS,
    LayerStatistics,
    Tables,
    TriggerText,
    neighbour_columns,
    neuron_rows,
    trigger_rows,
    value_rows,
)
from loci.reading.value_projections import promoted_by
from loci.survey import (
    Gathering,
    Surveyed,
    SurveyQuestion,
    TextDigest,
    Workers,
    gather,
    neurons_question,
    survey,
)


def build_atlas(
    model: Model,
    texts: Callable[[], Iterable[str]],
    folder: str | Path,
    *,
    source: str,
    limit: int | None = None,
    budget: int = 4096,
    workers: Workers | None = None,
    text: Path | Sequence[str] | None = None,
    progress: Progress = silent,
) -> Path:
    """Write the cards of all neurons as Parquet tables.

        loci.build_atlas(model, lambda: texts, "atlas", source="my text")

    Where the folder holds a half-built atlas of this model and text, the build goes on.

    Args:
        model: an open model; it is left as it was.
        texts: gives the same stream of texts at each call.
        folder: where the tables go.
        source: the text in words, kept in provenance.json.
        limit: most tokens read.
        budget: tokens of a batch.
        workers: processes that make the pass, each with the model; by default it is made here.
        text: the same text for them: a file, the embedded text (None), or texts.
        progress: called with (steps done, steps in all).

    Returns: The folder.
    Raises: `ModelError` for mixtures of experts and for a changed text, `OutputError` where the
        folder cannot be written or holds another atlas.
    Cost: One pass over the text, and for each layer one product of its values with the unembedding.
    """
    folder = Path(folder)
    model.place("mlp_act.0")
    store = Tables()
    with building(folder, source) as unfinished:
        if unfinished:
            if workers is None:
                outcome = _one_pass(model, texts, folder, limit, budget, progress)
            else:
                outcome = _in_shards(model, text, folder, workers, limit, budget, progress)
            _write(model, folder, store, source, outcome)
    return folder


class _Pass(NamedTuple):
    """The outcome of the pass over the text."""

    by_layer: dict[int, LayerStatistics]
    seen: Surveyed
    contents: dict[int, str]
    """The texts that hold a trigger, by number."""
    set_aside: int = 0


def _one_pass(
    model: Model,
    texts: Callable[[], Iterable[str]],
    folder: Path,
    limit: int | None,
    budget: int,
    progress: Progress,
) -> _Pass:
    gathering = _question(model).accumulators()
    digest = TextDigest()
    options: dict[str, Any] = {"checkpoint": folder / CHECKPOINT, "every": 4, "digest": digest}
    seen = survey(
        model, texts(), gathering, budget=budget, limit=limit, progress=progress, **options
    )
    by_layer = _by_layer(model, gathering)
    return _Pass(by_layer, seen, _texts_of_triggers(texts, seen.texts, by_layer, digest))


def _in_shards(
    model: Model,
    text: Path | Sequence[str] | None,
    folder: Path,
    workers: Workers,
    limit: int | None,
    budget: int,
    progress: Progress,
) -> _Pass:
    where: dict[str, Any] = {"limit": limit, "batch_tokens": budget, "progress": progress}
    state, again = gather(model, _question(model), text, workers, folder / SHARDS, **where)
    by_layer = _by_layer(model, state.gathered)
    needed = _needed(by_layer)
    contents = {i: item.text for i, item in enumerate(again()) if i in needed}
    return _Pass(by_layer, Surveyed(state.texts, state.tokens), contents, len(state.set_aside))


def _question(model: Model) -> SurveyQuestion:
    return neurons_question(range(model.n_layers), every=THINNED, k=TRIGGERS)


def _by_layer(model: Model, gathered: Gathering) -> dict[int, LayerStatistics]:
    statistics: Any = gathered
    return {i: LayerStatistics(*statistics[f"mlp_act.{i}"]) for i in range(model.n_layers)}


def _write(model: Model, folder: Path, store: Tables, source: str, outcome: _Pass) -> None:
    tokenized = model.tokenize_all(list(outcome.contents.values()))
    read = dict(zip(outcome.contents, map(TriggerText, tokenized), strict=True))
    for layer, gathered in outcome.by_layer.items():
        _add_layer(store, model, layer, gathered, read)
    store.add("texts", {"text": list(outcome.contents), "content": list(outcome.contents.values())})
    for name in TABLES:
        store.write(name, folder / f"{name}.parquet")
    finish(folder, _provenance(model, source, outcome))


def _texts_of_triggers(
    texts: Callable[[], Iterable[str]],
    count: int,
    by_layer: dict[int, LayerStatistics],
    digest: TextDigest,
) -> dict[int, str]:
    """The texts that hold a trigger, by number, from the stream once more.

    Raises: `ModelError` where the first `count` texts are not those of the pass, by their digest.
    """
    needed = _needed(by_layer)
    contents, again = {}, TextDigest()
    for i, text in enumerate(islice(texts(), count)):
        again.update(text)
        if i in needed:
            contents[i] = text
    if again.hexdigest() != digest.hexdigest():
        raise ModelError(
            "the text has changed while it was read: build the atlas again in a new folder"
        )
    return contents


def _needed(by_layer: dict[int, LayerStatistics]) -> set[int]:
    """Numbers of the texts that hold a trigger."""
    places = [layer.triggers.places for layer in by_layer.values()]  # [trigger, neuron, 2]
    return {int(text) for place in places for text in place[..., 0].flatten().unique()}


def _add_layer(
    store: Tables, model: Model, layer: int, gathered: LayerStatistics, read: dict[int, TriggerText]
) -> None:
    """Add a layer's rows to all tables."""
    best = promoted_by(model, layer, min(TOKENS, model.d_vocab))
    triggers, following = trigger_rows(layer, gathered, read)
    store.add("triggers", triggers)
    store.add("values", value_rows(layer, best, model))
    more = {
        "peak": best.peak.tolist(),
        # whether the first promoted token is the one that follows the neuron's top trigger
        "agrees": [a == b for a, b in zip(best.promotes[:, 0].tolist(), following, strict=True)],
        **neighbour_columns(layer, model),
    }
    store.add("neurons", neuron_rows(layer, gathered, model, **more))
    counts = gathered.histogram.counts.tolist()
    neurons = list(range(model.d_mlp))
    store.add("histograms", {"layer": [layer] * model.d_mlp, "neuron": neurons, "counts": counts})


def _provenance(model: Model, source: str, outcome: _Pass) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": model.name,
        "weights": model.fingerprint,
        "bos": model.with_bos,
        "layers": model.n_layers,
        "d_mlp": model.d_mlp,
        "text": source,
        "texts": outcome.seen.texts,
        "tokens": outcome.seen.tokens,
        **({"set_aside": outcome.set_aside} if outcome.set_aside else {}),
        "triggers": TRIGGERS,
        "histogram_of": f"every {THINNED}th text",
        "clusters": CLUSTERS,
        "projection": "through the final norm's centring and gain, without its scale",
    }
