"""An atlas in Neuronpedia's form for uploads: batches of at most 128 features, a layer at a time.

    {modelId, source: "3-mlp", features: [{index, density, topLogits, bottomLogits, activations:
        [{tokens, values}]}]}

The activations around a trigger are needed, so the model runs the windows that hold one again;
their texts are in the atlas. Neurons that never fire have none and are left out. Format:
Neuronpedia's route feature/upload-batch.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from loci.errors import ModelError, OutputError
from loci.files import check_writable, write_aside
from loci.model import Model, by_length
from loci.progress import Progress, silent
from loci.reading.atlas_files import Atlas
from loci.survey import windows
from loci.validate import is_folder, named

FEATURES, LOGITS, LONGEST = 128, 20, 1024
OWN = re.compile(r"\d+-mlp-\d{3,}\.json|\.loci-aside-\d+-\w+")
"""Files that an export writes, or leaves when it is killed: a folder of these alone may be begun
again.
"""
Activation = dict[str, list[Any]]


@torch.no_grad()
def export_neuronpedia(
    atlas: Atlas,
    model: Model,
    folder: str | Path,
    *,
    model_id: str,
    layers: Iterable[int] | None = None,
    progress: Progress = silent,
) -> list[Path]:
    """Write an atlas as Neuronpedia's upload files, `LAYER-mlp-NNN.json`.

    Args:
        atlas: the atlas.
        model: the model of the atlas.
        folder: where the files go.
        model_id: the model's name at Neuronpedia.
        layers: None: all.
        progress: called with (steps done, steps in all).

    Returns: The files.
    Raises: `ModelError` for another model, and where it does not reproduce the atlas's activations.
    Cost: A run over the texts of the triggers, layer by layer.
    """
    if atlas.provenance["weights"] != model.fingerprint:
        raise ModelError(f"{atlas.folder} is the atlas of other weights than {model.name!r}")
    check_export(atlas, folder)
    wanted = range(model.n_layers) if layers is None else list(layers)
    if any(not 0 <= layer < model.n_layers for layer in wanted):
        raise ModelError(f"this atlas has layers 0 … {model.n_layers - 1}")
    written = []
    for layer in wanted:
        features = _features(atlas, layer, _activations(atlas, model, layer))
        for number, start in enumerate(range(0, len(features), FEATURES)):
            batch = {
                "modelId": model_id.lower(),
                "source": f"{layer}-mlp",
                "features": features[start : start + FEATURES],
            }
            path = Path(folder) / f"{layer}-mlp-{number:03}.json"
            with write_aside(path) as aside:
                aside.write_text(json.dumps(batch, ensure_ascii=False), encoding="utf-8")
            written.append(path)
        progress(1, len(wanted))
    return written


def check_export(atlas: Atlas, folder: str | Path) -> None:
    """Check that an export may be written into a folder, before the work.

    Args:
        atlas: the atlas.
        folder: where files would go.

    Raises: `OutputError` for the atlas itself, and for a folder with other files than an export
        has.
    """
    folder = Path(folder)
    if atlas.folder.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise OutputError(f"{named(folder)} is in the atlas: name another folder")
    strange = (
        sorted(path.name for path in folder.iterdir() if not OWN.fullmatch(path.name))
        if is_folder(folder)
        else []
    )
    if strange:
        raise OutputError(
            f"{named(folder)}: there are other files in it ({', '.join(map(named, strange[:3]))}); "
            "name a new folder"
        )
    check_writable(folder / "0-mlp-000.json")


def _features(
    atlas: Atlas, layer: int, activations: dict[int, list[Activation]]
) -> list[dict[str, Any]]:
    """The features of one layer, in the order of their neurons."""
    density = dict(
        atlas.query(f"SELECT neuron, firing_rate FROM neurons WHERE layer = {layer}").rows
    )
    logits: dict[tuple[int, str], list[dict[str, Any]]] = {}
    asked = (
        f"SELECT neuron, side, token, score FROM values WHERE layer = {layer} AND rank < {LOGITS} "
        "ORDER BY neuron, side, rank"
    )
    for neuron, side, token, score in atlas.query(asked).rows:
        logits.setdefault((neuron, side), []).append({"token": token, "value": score})
    return [
        {
            "index": neuron,
            "density": density[neuron],
            "topLogits": logits[neuron, "promotes"],
            "bottomLogits": logits[neuron, "suppresses"],
            "activations": examples,
        }
        for neuron, examples in sorted(activations.items())
    ]


def _activations(atlas: Atlas, model: Model, layer: int) -> dict[int, list[Activation]]:
    """Each neuron's triggers, the strongest first, with its activation at every token of their
    windows."""
    rows = atlas.query(
        f"SELECT neuron, rank, text, position, activation FROM triggers WHERE layer = {layer} "
        "ORDER BY ALL"
    ).rows
    asked = (
        f"SELECT * FROM texts WHERE text IN (SELECT text FROM triggers WHERE layer = {layer}) "
        "ORDER BY text"
    )
    cut = {
        (window.text, window.start): window
        for window in windows(model, [(text, content) for text, content in atlas.query(asked).rows])
    }
    starts: dict[int, list[int]] = {}
    for text, start in cut:
        starts.setdefault(text, []).append(start)
    held: dict[tuple[int, int], list[tuple[int, int, int, float]]] = {}
    for neuron, rank, text, position, activation in rows:
        start = starts[text][bisect_right(starts[text], position) - 1]
        held.setdefault((text, start), []).append((neuron, rank, position - start, activation))
    needed = [cut[row] for row in held]
    activations: dict[tuple[int, int], Activation] = {}
    for batch in by_length(needed, lambda window: len(window.ids), 4096):
        acts = (
            model.read(model.ids([needed[i].ids for i in batch]), f"mlp_act.{layer}")[
                f"mlp_act.{layer}"
            ]
            .float()
            .cpu()
        )
        for act, window in zip(acts, (needed[i] for i in batch), strict=True):
            for neuron, rank, position, activation in held[window.text, window.start]:
                values = act[window.before :, neuron]
                if (
                    position >= len(values)
                    or abs(float(values[position]) - activation) > 1e-2 * abs(activation) + 1e-4
                ):
                    raise ModelError(
                        f"{atlas.folder}: L{layer}N{neuron} does not fire as the atlas says; was "
                        "it built with another BOS?"
                    )
                activations[neuron, rank] = {
                    "tokens": list(window.labels[:LONGEST]),
                    "values": values.tolist()[:LONGEST],
                }
    by_neuron: dict[int, list[Activation]] = {}
    for neuron, rank in sorted(activations):
        by_neuron.setdefault(neuron, []).append(activations[neuron, rank])
    return by_neuron
