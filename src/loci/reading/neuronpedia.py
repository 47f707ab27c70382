"""An atlas in Neuronpedia's form for uploads: batches of at most 128 features, a layer at a time.

    {modelId, source: "3-mlp", features: [{index, density, topLogits, bottomLogits, activations: [{tokens, values}]}]}

The activations of a trigger's whole text are needed, so the model runs the texts that hold one again. Neurons that never fire have none
and are left out. Format: Neuronpedia's route feature/upload-batch.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from loci.errors import ModelError
from loci.files import check_writable, write_aside
from loci.model import Model, by_length
from loci.model.tokens import tokenize
from loci.progress import Progress, silent
from loci.reading.shelf import Atlas

FEATURES, LOGITS, LONGEST = 128, 20, 1024
Activation = dict[str, list[Any]]


@torch.no_grad()
def export_neuronpedia(
    atlas: Atlas,
    model: Model,
    texts: Callable[[], Iterable[str]],
    folder: str | Path,
    *,
    model_id: str,
    layers: Iterable[int] | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Write `LAYER-mlp-NNN.json` files of an atlas; `texts` must be those it was built from, `model` its model.

    Raises `ModelError` for another model or another text.
    """
    if atlas.provenance["weights"] != model.fingerprint:
        raise ModelError(f"{atlas.folder} is the atlas of other weights than {model.name!r}")
    wanted = range(model.n_layers) if layers is None else list(layers)
    if any(not 0 <= layer < model.n_layers for layer in wanted):
        raise ModelError(f"this atlas has layers 0 … {model.n_layers - 1}")
    written = []
    for layer in wanted:
        features = _features(atlas, layer, _activations(atlas, model, texts, layer))
        for number, start in enumerate(range(0, len(features), FEATURES)):
            batch = {"modelId": model_id.lower(), "source": f"{layer}-mlp", "features": features[start : start + FEATURES]}
            path = Path(folder) / f"{layer}-mlp-{number:03}.json"
            check_writable(path)
            with write_aside(path) as aside:
                aside.write_text(json.dumps(batch, ensure_ascii=False), encoding="utf-8")
            written.append(path)
        progress(1, len(wanted))
    return written


def _features(atlas: Atlas, layer: int, activations: dict[int, list[Activation]]) -> list[dict[str, Any]]:
    """The features of one layer, in the order of their neurons."""
    density = dict(atlas.query(f"SELECT neuron, firing_rate FROM neurons WHERE layer = {layer}").rows)
    logits: dict[tuple[int, str], list[dict[str, Any]]] = {}
    asked = f"SELECT neuron, side, token, score FROM values WHERE layer = {layer} AND rank < {LOGITS} ORDER BY neuron, side, rank"
    for neuron, side, token, score in atlas.query(asked).rows:
        logits.setdefault((neuron, side), []).append({"token": token, "value": score})
    return [
        {
            "index": neuron,
            "density": density[neuron],
            "topLogits": logits[neuron, "promotes"],
            "bottomLogits": logits[neuron, "suppresses"],
            "activations": found,
        }
        for neuron, found in sorted(activations.items())
    ]


def _activations(atlas: Atlas, model: Model, texts: Callable[[], Iterable[str]], layer: int) -> dict[int, list[Activation]]:
    """Each neuron's trigger texts, the strongest first, with its activation at every token."""
    rows = atlas.query(f"SELECT neuron, rank, text, position, activation FROM triggers WHERE layer = {layer} ORDER BY ALL").rows
    by_text: dict[int, list[tuple[int, int, int, float]]] = {}
    for neuron, rank, text, position, activation in rows:
        by_text.setdefault(text, []).append((neuron, rank, position, activation))
    read = {i: tokenize(model.tokenizer, text, model.n_ctx, model.bos) for i, text in enumerate(texts()) if i in by_text}
    if read.keys() != by_text.keys():
        raise ModelError(f"{atlas.folder} was built from another text ({atlas.provenance['text']})")
    found: dict[tuple[int, int], Activation] = {}
    numbers = list(read)
    for batch in by_length(numbers, lambda i: len(read[i]), 4096):
        acts = model.read(model.ids([read[numbers[i]].ids for i in batch]), f"mlp_act.{layer}")[f"mlp_act.{layer}"].float().cpu()
        for act, i in zip(acts, (numbers[i] for i in batch), strict=True):
            for neuron, rank, position, activation in by_text[i]:
                if position >= len(act) or abs(float(act[position, neuron]) - activation) > 1e-2 * abs(activation) + 1e-4:
                    raise ModelError(f"{atlas.folder} was built from another text ({atlas.provenance['text']})")
                found[neuron, rank] = _window(read[i].labels, act[:, neuron].tolist(), read[i].special)
    by_neuron: dict[int, list[Activation]] = {}
    for neuron, rank in sorted(found):
        by_neuron.setdefault(neuron, []).append(found[neuron, rank])
    return by_neuron


def _window(labels: tuple[str, ...], values: list[float], special: int) -> Activation:
    return {"tokens": list(labels[special : special + LONGEST]), "values": values[special : special + LONGEST]}
