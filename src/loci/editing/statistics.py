"""Second moments of keys: what a change of each layer's output costs over text.

    C = E[k kᵀ]          k: the MLP's neurons at a token, [d_mlp]

The published procedure runs 44 million tokens through each layer; a few times d_mlp tokens are
enough (Gupta et al. 2025, FastMEMIT), all layers in one pass. What was computed once is kept in the
user's cache under the content that it depends on: weights, layer, text, BOS. C is symmetric: its
upper triangle is kept, in float32, d_mlp (d_mlp + 1) · 2 bytes (8.4 MB a layer of Gemma 3 270M); a
moment just taken is rounded alike, so that the second edit is the first one's.
"""

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import cast

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from loci.asides import tidy
from loci.cache import mark_used, trim
from loci.errors import OutputError
from loci.files import cache_folder, write_aside
from loci.model import Model
from loci.progress import Progress, silent
from loci.survey import SecondMoment, Workers, gather, keys_question, survey
from loci.text import sample_text

TOKENS_PER_NEURON = 20
Moment = Float[Tensor, "d_mlp d_mlp"]
Triangle = Float[Tensor, " triangle"]


def key_moments(
    model: Model,
    layers: Sequence[int],
    *,
    texts: Sequence[str] | None = None,
    tokens: int | None = None,
    workers: Workers | None = None,
    progress: Progress = silent,
) -> dict[int, Moment]:
    """C of each layer, exact to float32, as float64, over `texts`, or `tokens` tokens of the
    embedded text (by default 20 for each neuron).

    Cost: one pass up to the highest layer for those that are not in the cache, here or by
    `workers`. `LOCI_CACHE` names its folder; empty, nothing is kept.
    """
    text = (
        list(texts)
        if texts is not None
        else sample_text(model, tokens or TOKENS_PER_NEURON * model.d_mlp)
    )
    files = _files(model, layers, text)
    for folder in {path.parent for path in files.values()}:
        tidy(folder)
    found = {layer: _load(files.get(layer), model.d_mlp) for layer in layers}
    missing = {layer: SecondMoment() for layer, C in found.items() if C is None}
    if missing and workers is not None:
        missing = _by_workers(model, list(missing), text, workers, progress)
    elif missing:
        survey(
            model,
            text,
            {f"mlp_act.{layer}": [moment] for layer, moment in missing.items()},
            progress=progress,
        )
    for layer, moment in missing.items():
        packed = packed_triangle(moment.mean)
        found[layer] = unpacked(packed, model.d_mlp)
        _save(files.get(layer), packed)
    return {layer: C for layer, C in found.items() if C is not None}


def _by_workers(
    model: Model, layers: list[int], text: list[str], workers: Workers, progress: Progress
) -> dict[int, SecondMoment]:
    """The same pass by other processes; killed, it goes on where it was, if there is a cache."""
    base, about = (
        cache_folder(),
        f"{model.fingerprint} {layers} {model.with_bos} {model.dtype} {_hash(text)}",
    )
    kept = (
        None if base is None else base / "surveys" / hashlib.sha256(about.encode()).hexdigest()[:32]
    )
    with nullcontext(kept) if kept is not None else TemporaryDirectory() as place:
        folder = Path(place)
        state, _ = gather(model, keys_question(layers), text, workers, folder, progress=progress)
        rmtree(folder, ignore_errors=True)
    return {layer: cast(SecondMoment, state.gathered[f"mlp_act.{layer}"][0]) for layer in layers}


def _hash(texts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def output_size(model: Model, layer: int, C: Moment) -> float:
    """‖W C^½‖: the root mean square of what the layer's down projection gives over text."""
    W = model.W_down(layer).double().cpu()
    return float((W @ C * W).sum().clamp(min=0).sqrt())


def _files(model: Model, layers: Sequence[int], texts: Sequence[str]) -> dict[int, Path]:
    """Where moments are kept: the name of each is the hash of everything that it depends on."""
    folder = cache_folder()
    if folder is None:
        return {}
    said = _hash(texts)
    about = {
        layer: f"{model.fingerprint} {layer} {model.with_bos} {model.dtype} {said}"
        for layer in layers
    }
    names = {
        layer: hashlib.sha256(words.encode()).hexdigest()[:32] for layer, words in about.items()
    }
    return {layer: folder / "moments" / f"{name}.safetensors" for layer, name in names.items()}


def _load(path: Path | None, width: int) -> Moment | None:
    """A kept moment; None where there is none, or none that can be used."""
    if path is None or not path.exists():
        return None
    try:
        packed = load_file(path)["triangle"]
    except (SafetensorError, KeyError, OSError):
        return None
    mark_used(path)
    usable = packed.shape == (width * (width + 1) // 2,) and bool(packed.isfinite().all())
    return unpacked(packed, width) if usable else None


def packed_triangle(C: Moment) -> Triangle:
    """The upper triangle, row by row, in float32."""
    return C[torch.ones_like(C, dtype=torch.bool).triu()].float().cpu()


def unpacked(packed: Triangle, width: int) -> Moment:
    """The whole of it, in float64."""
    C = torch.zeros(width, width, dtype=torch.float64)
    C[torch.ones(width, width, dtype=torch.bool).triu()] = packed.double()
    return C + C.triu(1).T


def _save(path: Path | None, packed: Triangle) -> None:
    """Keep a moment; a full or forbidden disk only means that it will be computed again."""
    if path is None:
        return
    with suppress(OSError, OutputError), write_aside(path) as aside:
        aside.write_bytes(save({"triangle": packed}))
    trim()
