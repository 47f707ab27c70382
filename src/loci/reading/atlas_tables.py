"""The rows of an atlas: from what a pass gathered of a layer, and from its weights.

    neurons      cosines and norms of key and value, firing rate, moments, quantiles, cluster
    values       the tokens at both ends of W_U (γ ⊙ (v − v̄)), `TOKENS` each
    triggers     the `TRIGGERS` places where the neuron is largest, with the text around them

Rows are columns of plain lists, which Arrow takes as they are; DuckDB sorts them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import normalize

from loci.errors import OutputError
from loci.files import write_aside
from loci.model import Model
from loci.model.tokens import Tokens
from loci.reading.neuron_cards import NEAR
from loci.reading.value_clusters import kmeans
from loci.reading.value_projections import Promoted, all_nearest, lie, written
from loci.survey import Extremes, FiringRate, Histogram, Moments, TopTriggers

TRIGGERS, TOKENS = 8, 10
QUANTILES = (0.5, 0.9, 0.99)
THINNED = 8
"""Histograms count every so manyth text: they show a shape, and cost as much as all else if they
count every token."""
CLUSTERS = 32
"""Of a layer's values, at most."""
Columns = dict[str, list[Any]]


class LayerStatistics(NamedTuple):
    """The statistics that a pass gathered of one layer."""

    rate: FiringRate
    moments: Moments
    extremes: Extremes
    histogram: Histogram
    triggers: TopTriggers


class TriggerText(NamedTuple):
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


def trigger_rows(
    layer: int, gathered: LayerStatistics, read: dict[int, TriggerText]
) -> tuple[Columns, list[int]]:
    """A row for each place where a neuron fires; and the token that followed each neuron's first
    one (−1 for none)."""
    activations, places = (
        gathered.triggers.values.T.tolist(),
        gathered.triggers.places.transpose(0, 1).tolist(),
    )
    rows, followed = [], [-1] * len(activations)
    for neuron, (row, spots) in enumerate(zip(activations, places, strict=True)):
        for rank, (activation, (text, position)) in enumerate(zip(row, spots, strict=True)):
            if activation <= 0:
                break
            before, token, after, word, following = read[text].at(position)
            rows.append(
                (
                    word,
                    layer,
                    neuron,
                    rank,
                    text,
                    position,
                    before[-200:],
                    token,
                    after[:100],
                    activation,
                )
            )
            followed[neuron] = following if rank == 0 else followed[neuron]
    names = (
        "word",
        "layer",
        "neuron",
        "rank",
        "text",
        "position",
        "before",
        "token",
        "after",
        "activation",
    )
    return {name: [row[i] for row in rows] for i, name in enumerate(names)}, followed


def value_rows(layer: int, best: Promoted, model: Model) -> Columns:
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


def neuron_rows(layer: int, gathered: LayerStatistics, model: Model, **more: list[Any]) -> Columns:
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
    columns = {
        name: [x if x == x else None for x in tensor.float().tolist()]
        for name, tensor in numbers.items()
    }
    flags = {"dead": (rate == 0).tolist(), "always_on": (rate == 1).tolist()}
    return {
        "layer": [layer] * model.d_mlp,
        "neuron": list(range(model.d_mlp)),
        **columns,
        **flags,
        **more,
    }


def neighbour_columns(layer: int, model: Model) -> Columns:
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


class Tables:
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
            connection.execute(
                f"COPY (SELECT * FROM rows ORDER BY ALL) TO {quoted(aside)} (FORMAT parquet, "
                "ROW_GROUP_SIZE 65536)"
            )

    @contextmanager
    def _as_os_error(self) -> Iterator[None]:
        """A full disk, in DuckDB's words, as the error that a file's writer expects."""
        try:
            yield
        except self.duckdb.Error as error:
            raise OSError(str(error).splitlines()[0]) from error
