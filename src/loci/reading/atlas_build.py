"""The atlas: the book of all neurons of a model, as Parquet files that any DuckDB or pandas opens.

    neurons.parquet     a row a neuron: how key and value lie, how often it fires, how its
                        activations are spread
    values.parquet      what each value promotes and suppresses, sorted by word
    triggers.parquet    where each neuron is largest, sorted by the word it is largest at
    histograms.parquet  counts of its activations
    texts.parquet       the texts that hold a trigger
    provenance.json     whose atlas, of which text, with which settings; written last, so that a
                        half-built atlas has none

1. One pass over the text with accumulators of all layers, with a checkpoint: a build that was
   stopped goes on.
2. The texts that hold a trigger are gathered from the stream once more, and cut at the token.
3. Weights: cosines, norms, projections in blocks of neurons.
Cost: the pass, and for each layer one product of its values with the unembedding. Memory: a batch
and the tables.
"""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from loci.errors import ModelError
from loci.model import Model
from loci.progress import Progress, silent
from loci.reading.atlas_folder import CHECKPOINT, SCHEMA, TABLES, building, finish
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
    Extremes,
    FiringRate,
    Histogram,
    Moments,
    Surveyed,
    TextDigest,
    TopTriggers,
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
    progress: Progress = silent,
) -> Path:
    """Write the cards of all neurons as Parquet tables.

    Where the folder holds a half-built atlas of this model and text, the build goes on.

    Args:
        model: an open model; it is left as it was.
        texts: gives the same stream of texts at each call.
        folder: where the tables go.
        source: the text in words, kept in provenance.json.
        limit: most tokens read.
        budget: tokens of a batch.
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
            _build(model, texts, folder, store, source, limit, budget, progress)
    return folder


def _build(
    model: Model,
    texts: Callable[[], Iterable[str]],
    folder: Path,
    store: Tables,
    source: str,
    limit: int | None,
    budget: int,
    progress: Progress,
) -> None:
    gathering = {
        point: (FiringRate(), Moments(), Extremes(), Histogram(THINNED), TopTriggers(k=TRIGGERS))
        for point in model.names("mlp_act")
    }
    digest = TextDigest()
    kept: dict[str, Any] = {"checkpoint": folder / CHECKPOINT, "every": 4, "digest": digest}
    seen = survey(model, texts(), gathering, budget=budget, limit=limit, progress=progress, **kept)
    by_layer = {
        layer: LayerStatistics(*gathering[f"mlp_act.{layer}"]) for layer in range(model.n_layers)
    }
    contents = _texts_of_triggers(texts, seen.texts, by_layer, digest)
    tokenized = model.tokenize_all(list(contents.values()))
    read = dict(zip(contents, map(TriggerText, tokenized), strict=True))
    for layer, gathered in by_layer.items():
        _add_layer(store, model, layer, gathered, read)
    store.add("texts", {"text": list(contents), "content": list(contents.values())})
    for name in TABLES:
        store.write(name, folder / f"{name}.parquet")
    finish(folder, _provenance(model, source, seen))


def _texts_of_triggers(
    texts: Callable[[], Iterable[str]],
    count: int,
    by_layer: dict[int, LayerStatistics],
    digest: TextDigest,
) -> dict[int, str]:
    """The texts that hold a trigger, by number, from the stream once more.

    Raises: `ModelError` where the first `count` texts are not those of the pass, by their digest.
    """
    places = [
        layer.triggers.places for layer in by_layer.values()
    ]  # [trigger, neuron, (text, token)]
    needed = {int(text) for place in places for text in place[..., 0].flatten().unique()}
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


def _provenance(model: Model, source: str, seen: Surveyed) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "model": model.name,
        "weights": model.fingerprint,
        "bos": model.with_bos,
        "layers": model.n_layers,
        "d_mlp": model.d_mlp,
        "text": source,
        "texts": seen.texts,
        "tokens": seen.tokens,
        "triggers": TRIGGERS,
        "histogram_of": f"every {THINNED}th text",
        "clusters": CLUSTERS,
        "projection": "through the final norm's centring and gain, without its scale",
    }
