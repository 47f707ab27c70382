"""The atlas: the book of all neurons of a model, as Parquet files that any DuckDB or pandas opens.

    neurons.parquet     a row a neuron: how key and value lie, how often it fires, how its activations are spread
    values.parquet      what each value promotes and suppresses, sorted by word
    triggers.parquet    where each neuron is largest, sorted by the word it is largest at
    histograms.parquet  counts of its activations
    provenance.json     whose atlas, of which text, with which settings; written last, so that a half-built atlas has none

1. One pass over the text with accumulators of all layers, with a checkpoint: a build that was stopped goes on.
2. The texts that hold a trigger are gathered from the stream once more, and cut at the token.
3. Weights: cosines, norms, projections in blocks of neurons.
Cost: the pass, and for each layer one product of its values with the unembedding. Memory: a batch and the tables.
"""

import json
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

from loci.errors import OutputError
from loci.files import check_writable, write_aside
from loci.model import Model
from loci.model.tokens import Tokens, tokenize
from loci.progress import Progress, silent
from loci.reading.values import lie, promoted_by
from loci.survey import Extremes, FiringRate, Histogram, Moments, TopTriggers, survey

TRIGGERS, TOKENS = 8, 10
QUANTILES = (0.5, 0.9, 0.99)
THINNED = 8
"""Histograms count every so manyth text: they show a shape, and cost as much as all else if they count every token."""
PROVENANCE, CHECKPOINT = "provenance.json", "survey.safetensors"
Columns = dict[str, list[Any]]


def build_atlas(
    model: Model,
    texts: Callable[[], Iterable[str]],
    folder: str | Path,
    *,
    source: str,
    limit: int | None = None,
    budget: int = 2048,
    progress: Progress = silent,
) -> Path:
    """Write the atlas of a model over a text; `texts()` gives the same stream each time, and `source` says in words what it is.

    Where the folder holds a half-built atlas of this model and text, the build goes on. Raises `ModelError` for mixtures of experts and for
    a model or text without which there is nothing to do, `OutputError` where the folder cannot be written or holds another atlas.
    """
    folder = Path(folder)
    model.place("mlp_act.0")
    store = _Tables()
    _check_folder(folder, model, source)
    gathering = {
        point: (FiringRate(), Moments(), Extremes(), Histogram(THINNED), TopTriggers(k=TRIGGERS))
        for point in model.names("mlp_act")
    }
    seen = survey(
        model, texts(), gathering, budget=budget, limit=limit, checkpoint=folder / CHECKPOINT, every=32, progress=progress
    )
    found = {layer: _Layer(*gathering[f"mlp_act.{layer}"]) for layer in range(model.n_layers)}
    needed = {int(text) for layer in found.values() for text in layer.triggers.places[..., 0].flatten().unique()}
    read = {i: _Text(model, text) for i, text in enumerate(texts()) if i in needed}
    neurons: Columns = {}
    values: Columns = {}
    triggers: Columns = {}
    histograms: Columns = {}
    for layer, gathered in found.items():
        best = promoted_by(model, layer, min(TOKENS, model.d_vocab))
        following = _triggers(triggers, layer, gathered, read)
        _values(values, layer, best, model)
        _neurons(
            neurons,
            layer,
            gathered,
            model,
            best.peak,
            [a == b for a, b in zip(best.promotes[:, 0].tolist(), following, strict=True)],
        )
        _extend(histograms, layer=[layer] * model.d_mlp, neuron=range(model.d_mlp), counts=gathered.histogram.counts.tolist())
    for name, columns, order in (
        ("neurons", neurons, ""),
        ("values", values, "word"),
        ("triggers", triggers, "word"),
        ("histograms", histograms, ""),
    ):
        store.write(columns, folder / f"{name}.parquet", order)
    provenance = {
        "schema": "loci.atlas/1",
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
        "projection": "through the final norm's centring and gain, without its scale",
    }
    with write_aside(folder / PROVENANCE) as aside:
        aside.write_text(json.dumps(provenance, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (folder / CHECKPOINT).unlink()
    return folder


class _Layer(NamedTuple):
    """What a pass gathered of one layer."""

    rate: FiringRate
    moments: Moments
    extremes: Extremes
    histogram: Histogram
    triggers: TopTriggers


class _Text:
    """A text that holds triggers, with its tokens."""

    def __init__(self, model: Model, text: str) -> None:
        self.tokens: Tokens = tokenize(model.tokenizer, text, None, model.bos)

    def at(self, position: int) -> tuple[str, str, str, str, int]:
        """Before, token, after, the whole word, and the id of the token that follows (−1 at the end)."""
        text, (start, end) = self.tokens.text, self.tokens.offsets[position]
        following = self.tokens.ids[position + 1] if position + 1 < len(self.tokens) else -1
        return text[:start], text[start:end], text[end:], word_at(text, start, end), following


def word_at(text: str, start: int, end: int) -> str:
    """The whole word in which characters stand, in lower case; of what is no word, the characters themselves."""
    while start < end and text[start].isspace():
        start += 1
    if not any(character.isalnum() for character in text[start:end]):
        return text[start:end].strip()
    while start and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return text[start:end].strip().casefold()


def _triggers(columns: Columns, layer: int, gathered: _Layer, read: dict[int, _Text]) -> list[int]:
    """A row for each place where a neuron fires; returns the token that followed the first one (−1 for none)."""
    activations, places = gathered.triggers.values.T.tolist(), gathered.triggers.places.transpose(0, 1).tolist()
    followed = []
    for neuron, (row, at) in enumerate(zip(activations, places, strict=True)):
        first = -1
        for rank, (activation, (text, position)) in enumerate(zip(row, at, strict=True)):
            if activation <= 0:
                break
            before, token, after, word, following = read[text].at(position)
            first = following if rank == 0 else first
            _extend(columns, word=[word], layer=[layer], neuron=[neuron], rank=[rank], text=[text], position=[position])
            _extend(columns, before=[before[-200:]], token=[token], after=[after[:100]], activation=[activation])
        followed.append(first)
    return followed


def _values(columns: Columns, layer: int, best: Any, model: Model) -> None:
    """A row for each token at either end of a value's projection."""
    for side, ids, scores in (("promotes", best.promotes, best.promoted), ("suppresses", best.suppresses, best.suppressed)):
        names = {i: model.token_text(i) for i in ids.unique().tolist()}
        tokens = [names[i] for i in ids.flatten().tolist()]
        count, top = ids.shape
        _extend(columns, word=[token.strip().casefold() for token in tokens], layer=[layer] * len(tokens))
        _extend(columns, neuron=torch.arange(count).repeat_interleave(top).tolist(), side=[side] * len(tokens))
        _extend(
            columns, rank=list(range(top)) * count, token_id=ids.flatten().tolist(), token=tokens, score=scores.flatten().tolist()
        )


def _neurons(columns: Columns, layer: int, gathered: _Layer, model: Model, peak: torch.Tensor, agrees: list[bool]) -> None:
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
        "peak": peak,
    }
    _extend(
        columns, layer=[layer] * model.d_mlp, neuron=range(model.d_mlp), **{name: t.float().tolist() for name, t in numbers.items()}
    )
    _extend(columns, dead=(rate == 0).tolist(), always_on=(rate == 1).tolist(), agrees=agrees)


def _extend(columns: Columns, **new: Iterable[Any]) -> None:
    for name, values in new.items():
        columns.setdefault(name, []).extend(values)


def _check_folder(folder: Path, model: Model, source: str) -> None:
    """Refuse a folder with another atlas, or with files that are no atlas."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if PROVENANCE in there:
        raise OutputError(f"{folder}: there is a finished atlas in it; name a new folder, or delete it")
    strange = there - {CHECKPOINT, "neurons.parquet", "values.parquet", "triggers.parquet", "histograms.parquet", "source.txt"}
    if strange:
        raise OutputError(f"{folder}: there are other files in it ({', '.join(sorted(strange)[:3])}); name a new folder")
    check_writable(folder / PROVENANCE)
    note = folder / "source.txt"
    if note.exists() and note.read_text(encoding="utf-8") != source:
        raise OutputError(
            f"{folder}: a half-built atlas of another text is in it ({note.read_text(encoding='utf-8')}); name a new folder"
        )
    note.write_text(source, encoding="utf-8")


def quoted(text: object) -> str:
    """A string as SQL writes it."""
    return "'" + str(text).replace("'", "''") + "'"


class _Tables:
    """Tables to Parquet, sorted by DuckDB. Raises `OutputError` where the extra is missing."""

    def __init__(self) -> None:
        try:
            self.duckdb, self.arrow = import_module("duckdb"), import_module("pyarrow")
        except ImportError:
            raise OutputError("an atlas needs loci-lm[tables]") from None

    def write(self, columns: Columns, path: Path, order: str) -> None:
        table = self.arrow.table(columns)
        connection = self.duckdb.connect()
        connection.register("rows", table)
        with write_aside(path) as aside:
            sorting = f"ORDER BY {order}, layer, neuron, rank" if order else ""
            connection.execute(f"COPY (SELECT * FROM rows {sorting}) TO {quoted(aside)} (FORMAT parquet, ROW_GROUP_SIZE 65536)")
