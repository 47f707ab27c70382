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

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from loci.errors import ModelError, OutputError
from loci.files import write_aside
from loci.model import Model
from loci.model.tokens import Tokens
from loci.progress import Progress, silent
from loci.reading.atlas_folder import CHECKPOINT, SCHEMA, TABLES, building, finish
from loci.reading.neuron_cards import NEAR
from loci.reading.value_clusters import kmeans
from loci.reading.value_projections import Promoted, all_nearest, lie, promoted_by, written
from loci.survey import Extremes, FiringRate, Histogram, Moments, TextDigest, TopTriggers, survey

TRIGGERS, TOKENS = 8, 10
QUANTILES = (0.5, 0.9, 0.99)
THINNED = 8
"""Histograms count every so manyth text: they show a shape, and cost as much as all else if they
count every token."""
CLUSTERS = 32
"""Of a layer's values, at most."""
Columns = dict[str, list[Any]]


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
    store = _Tables()
    with building(folder, source) as unfinished:
        if unfinished:
            _build(model, texts, folder, store, source, limit, budget, progress)
    return folder


def _build(
    model: Model,
    texts: Callable[[], Iterable[str]],
    folder: Path,
    store: "_Tables",
    source: str,
    limit: int | None,
    budget: int,
    progress: Progress,
) -> None:
    gathering = {
        point: (FiringRate(), Moments(), Extremes(), Histogram(THINNED), TopTriggers(k=TRIGGERS))
        for point in model.names("mlp_act")
    }
    first = TextDigest()
    kept: dict[str, Any] = {"checkpoint": folder / CHECKPOINT, "every": 4, "digest": first}
    seen = survey(model, texts(), gathering, budget=budget, limit=limit, progress=progress, **kept)
    by_layer = {layer: _Layer(*gathering[f"mlp_act.{layer}"]) for layer in range(model.n_layers)}
    needed = {int(text) for layer in by_layer.values() for text in layer.triggers.places[..., 0].flatten().unique()}
    again, second = {}, TextDigest()
    for i, text in enumerate(islice(texts(), seen.texts)):
        second.update(text)
        if i in needed:
            again[i] = text
    if first.hexdigest() != second.hexdigest():
        raise ModelError("the text has changed while it was read: build the atlas again in a new folder")
    read = dict(zip(again, map(_Text, model.tokenize_all(list(again.values()))), strict=True))
    for layer, gathered in by_layer.items():
        best = promoted_by(model, layer, min(TOKENS, model.d_vocab))
        triggers, following = _triggers(layer, gathered, read)
        agrees = [first == next for first, next in zip(best.promotes[:, 0].tolist(), following, strict=True)]
        store.add("triggers", triggers)
        store.add("values", _values(layer, best, model))
        store.add("neurons", _neurons(layer, gathered, model, peak=best.peak.tolist(), agrees=agrees, **_alike(layer, model)))
        counts = gathered.histogram.counts.tolist()
        store.add("histograms", {"layer": [layer] * model.d_mlp, "neuron": list(range(model.d_mlp)), "counts": counts})
    store.add("texts", {"text": list(again), "content": list(again.values())})
    for name in TABLES:
        store.write(name, folder / f"{name}.parquet")
    provenance: dict[str, Any] = {
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
    finish(folder, provenance)


class _Layer(NamedTuple):
    """The statistics that a pass gathered of one layer."""

    rate: FiringRate
    moments: Moments
    extremes: Extremes
    histogram: Histogram
    triggers: TopTriggers


class _Text(NamedTuple):
    """A text that holds triggers."""

    tokens: Tokens

    def at(self, position: int) -> tuple[str, str, str, str, int]:
        """Before, token, after, the whole word, and the id of the token that follows (−1 at the
        end)."""
        text, (start, end) = self.tokens.text, self.tokens.offsets[position]
        following = self.tokens.ids[position + 1] if position + 1 < len(self.tokens) else -1
        return text[:start], text[start:end], text[end:], word_at(text, start, end), following


def word_at(text: str, start: int, end: int) -> str:
    """The whole word in which characters stand, in lower case; of what is no word, the
    characters themselves."""
    while start < end and text[start].isspace():
        start += 1
    if not any(character.isalnum() for character in text[start:end]):
        return text[start:end].strip()
    while start and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return text[start:end].strip().casefold()


def _triggers(layer: int, gathered: _Layer, read: dict[int, _Text]) -> tuple[Columns, list[int]]:
    """A row for each place where a neuron fires; and the token that followed each neuron's first
    one (−1 for none)."""
    activations, places = gathered.triggers.values.T.tolist(), gathered.triggers.places.transpose(0, 1).tolist()
    rows, followed = [], [-1] * len(activations)
    for neuron, (row, spots) in enumerate(zip(activations, places, strict=True)):
        for rank, (activation, (text, position)) in enumerate(zip(row, spots, strict=True)):
            if activation <= 0:
                break
            before, token, after, word, following = read[text].at(position)
            rows.append((word, layer, neuron, rank, text, position, before[-200:], token, after[:100], activation))
            followed[neuron] = following if rank == 0 else followed[neuron]
    names = ("word", "layer", "neuron", "rank", "text", "position", "before", "token", "after", "activation")
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}, followed


def _values(layer: int, best: Promoted, model: Model) -> Columns:
    """A row for each token at either end of a value's projection."""
    ids = torch.cat([best.promotes, best.suppresses], 1)
    scores = torch.cat([best.promoted, best.suppressed], 1)
    texts = {i: model.token_text(i) for i in ids.unique().tolist()}
    count, top = best.promotes.shape
    tokens = [texts[i] for i in ids.flatten().tolist()]
    return {
        "word": [token.strip().casefold() for token in tokens],
        "layer": [layer] * len(tokens),
        "neuron": torch.arange(count).repeat_interleave(2 * top).tolist(),
        "side": (["promotes"] * top + ["suppresses"] * top) * count,
        "rank": [*range(top), *range(top)] * count,
        "token_id": ids.flatten().tolist(),
        "token": tokens,
        "score": scores.flatten().tolist(),
    }


def _neurons(layer: int, gathered: _Layer, model: Model, **more: list[Any]) -> Columns:
    """A row for each neuron; what has no value (the kurtosis of a neuron that never fires) is
    null."""
    rate, moments, extremes = gathered.rate.rate, gathered.moments, gathered.extremes
    numbers = {
        **lie(model, layer),
        "firing_rate": rate,
        "mean": moments.mean,
        "std": moments.variance.sqrt(),
        "kurtosis": moments.kurtosis,
        "min": extremes.low,
        "max": extremes.high,
        **{f"q{round(100 * q)}": gathered.histogram.quantile(q) for q in QUANTILES},
    }
    columns = {name: [x if x == x else None for x in tensor.float().tolist()] for name, tensor in numbers.items()}
    flags = {"dead": (rate == 0).tolist(), "always_on": (rate == 1).tolist()}
    return {"layer": [layer] * model.d_mlp, "neuron": list(range(model.d_mlp)), **columns, **flags, **more}


def _alike(layer: int, model: Model) -> Columns:
    """Each neuron's cluster among the values of its layer, and the neurons whose values are
    nearest."""
    near = all_nearest(model, layer, NEAR)
    labels, *_ = kmeans(normalize(written(model, layer).cpu(), dim=1), min(CLUSTERS, model.d_mlp))
    return {
        "cluster": labels.tolist(),
        "nearest": [[other for other, _ in row] for row in near],
        "nearest_cosine": [[cosine for _, cosine in row] for row in near],
    }


def quoted(text: object) -> str:
    """A string as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"


class _Tables:
    """Tables to Parquet, sorted by DuckDB. Raises `OutputError` where the extra is missing."""

    def __init__(self) -> None:
        self.parts: dict[str, list[Any]] = {}
        try:
            self.duckdb, self.arrow = import_module("duckdb"), import_module("pyarrow")
        except ImportError:
            raise OutputError("an atlas needs loci-lm[tables]") from None

    def add(self, name: str, columns: Columns) -> None:
        self.parts.setdefault(name, []).append(self.arrow.table(columns))

    def write(self, name: str, path: Path) -> None:
        """Sorted by all columns from the left: by word where a table begins with one."""
        connection = self.duckdb.connect()
        connection.register("rows", self.arrow.concat_tables(self.parts.pop(name)))
        with write_aside(path) as aside, self._as_os_error():
            connection.execute(f"COPY (SELECT * FROM rows ORDER BY ALL) TO {quoted(aside)} (FORMAT parquet, ROW_GROUP_SIZE 65536)")

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """A full disk, in DuckDB's words, as the error that a file's writer expects."""
        try:
            yield
        except self.duckdb.Error as error:
            raise OSError(str(error).splitlines()[0]) from error
