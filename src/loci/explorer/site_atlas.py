"""An atlas as files that a page can search without a database.

data/atlas.json          whose atlas, and how the parts below are cut
data/neurons/L0-3.json   cards of 32 neurons of a layer, with the bins of their histograms
data/words.json          all words, sorted: what is looked for, with slips forgiven
data/words/7.json        of 256 words: the neurons that promote each, and those that fire at it
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from loci.errors import OutputError
from loci.reading import Atlas
from loci.survey.histograms import edges

NEURONS, WORDS, LISTED = 32, 256, 50
"""Neurons and words of a file, and neurons that are listed of a word."""
BEFORE, AFTER = 90, 60
"""Characters of text around a trigger, as the page shows them."""


def write_atlas(atlas: Atlas, data: Path) -> None:
    """All files of an atlas. Cost: one pass over each of its tables."""
    about = atlas.provenance
    for name in ("neurons", "words"):
        (data / name).mkdir()
    shape = {"neurons": NEURONS, "words": WORDS, "listed": LISTED}
    kept = ("model", "weights", "layers", "d_mlp", "text", "tokens")
    put(data / "atlas.json", {**shape, **{name: about[name] for name in kept}})
    for layer in range(about["layers"]):
        cards = _cards(atlas, layer)
        for number, part in enumerate(parts(cards, NEURONS)):
            put(data / "neurons" / f"L{layer}-{number}.json", part)
    words = _words(atlas)
    put(data / "words.json", sorted(words))
    for number, names in enumerate(parts(sorted(words), WORDS)):
        put(data / "words" / f"{number}.json", [words[name] for name in names])


def _cards(atlas: Atlas, layer: int) -> list[dict[str, Any]]:
    """All cards of a layer, as `loci.neuron/1`, and the bins of each histogram."""
    rows = atlas.query(
        "SELECT neuron, cosine, key_norm, value_norm, threshold, firing_rate, nearest,"
        f" nearest_cosine FROM neurons WHERE layer = {layer} ORDER BY neuron"
    ).rows
    about = atlas.provenance
    cards: list[dict[str, Any]] = [
        {
            "schema": "loci.neuron/1", "name": f"L{layer}N{neuron}", "model": about["model"],
            "bos": about["bos"], "layer": layer, "neuron": neuron, "expert": None,
            "promotes": [], "suppresses": [], "cosine": cosine, "key_norm": key,
            "value_norm": value, "threshold": threshold,
            "nearest": [
                {"name": f"L{layer}N{other}", "cosine": near}
                for other, near in zip(others, cosines, strict=True)
            ],
            "triggers": [], "firing_rate": rate, "tokens": about["tokens"], "bins": [],
        }
        for neuron, cosine, key, value, threshold, rate, others, cosines in rows
    ]  # fmt: skip
    for neuron, side, token, score in atlas.query(
        f"SELECT neuron, side, token, score FROM values WHERE layer = {layer} ORDER BY neuron, rank"
    ).rows:
        cards[neuron][side].append({"token": token, "score": score})
    for neuron, before, token, after, activation in atlas.query(
        f"SELECT neuron, before, token, after, activation FROM triggers WHERE layer = {layer}"
        " ORDER BY neuron, rank"
    ).rows:
        cards[neuron]["triggers"].append(
            {"before": before[-BEFORE:], "token": token, "after": after[:AFTER],
             "activation": activation}
        )  # fmt: skip
    upper = edges().tolist()
    lower = [None, *upper[:-1]]
    for neuron, counts in atlas.query(
        f"SELECT neuron, counts FROM histograms WHERE layer = {layer}"
    ).rows:
        cards[neuron]["bins"] = [
            {"from": a, "to": b, "count": n}
            for a, b, n in zip(lower, upper, counts, strict=True)
            if n
        ]
    return cards


def _words(atlas: Atlas) -> dict[str, dict[str, list[Any]]]:
    """Of each word the neurons that promote it, by score, and those it fires, by how many of their
    strongest contexts are at it.
    """
    promoted = atlas.query(
        "SELECT word, layer, neuron, score FROM (SELECT word, layer, neuron, max(score) AS score"
        " FROM values WHERE side = 'promotes' AND word != '' GROUP BY word, layer, neuron)"
        " QUALIFY row_number() OVER (PARTITION BY word ORDER BY score DESC, layer, neuron)"
        f" <= {LISTED} ORDER BY word, score DESC, layer, neuron"
    ).rows
    fired = atlas.query(
        "SELECT word, layer, neuron, triggers, activation, firing_rate FROM (SELECT word, layer,"
        " neuron, count(*) AS triggers, max(activation) AS activation FROM triggers WHERE"
        " word != '' GROUP BY word, layer, neuron) JOIN neurons USING (layer, neuron)"
        " QUALIFY row_number() OVER (PARTITION BY word ORDER BY triggers DESC, activation DESC)"
        f" <= {LISTED} ORDER BY word, triggers DESC, activation DESC"
    ).rows
    words: dict[str, dict[str, list[Any]]] = {}
    for word, *row in promoted:
        words.setdefault(word, {"promotes": [], "fires": []})["promotes"].append(row)
    for word, *row in fired:
        words.setdefault(word, {"promotes": [], "fires": []})["fires"].append(row)
    return words


def put(path: Path, document: Any) -> None:
    """Plain JSON. Raises `OutputError` where it cannot be written."""
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        path.write_text(text, encoding="utf-8", errors="replace")
    except ValueError as error:
        raise OutputError(f"{path.name}: {error}") from None


def parts(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Rows in files of so many."""
    return (rows[start : start + size] for start in range(0, len(rows), size))
