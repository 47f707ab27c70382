"""Measurements for the page alone: the lens at every token, a neuron on a text, the distribution of
a neuron's activations.

lens grid  softmax(unembed(resid_post.l[t]))    the likeliest words at layer l, token t, if the
           model stopped there
firing     mlp_act.l[t, i]                      one neuron at every token of a text
histogram  counts of mlp_act.l[:, i] over text  in bins a quarter of an octave wide, on both sides
           of 0
"""

from collections.abc import Sequence
from typing import Any

import torch

from loci.circuits import patterns
from loci.errors import FactError, ModelError
from loci.model import Model
from loci.model.answers import finite
from loci.model.names import head_name, parse_neuron
from loci.model.unembedding import unembedded
from loci.patches import Factors, Patch
from loci.progress import Progress, silent
from loci.reading.value_projections import written
from loci.survey import Histogram, survey
from loci.survey.histograms import edges

WINDOW = 48
"""Tokens of which a lens grid is made: a longer text is read a window at a time."""


@torch.no_grad()
def lens_grid(
    model: Model,
    prompt: str,
    top: int = 5,
    end: int | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """The likeliest words after every layer at the last `WINDOW` tokens, or at those before token
    `end`; row 0 is before any layer. Cost: one run, and an unembedding a cell.
    """
    if not prompt.strip():
        raise FactError("the prompt is empty")
    tokens = model.tokenize(prompt)
    last = min(len(tokens.ids), max(WINDOW, end or len(tokens.ids)))
    first = max(0, last - WINDOW)
    points = ["resid_pre.0", *model.names("resid_post")]
    with model.watch(*points) as reads:
        finite(model(model.ids([tokens.ids]), last=1), model)
    rows = []
    for point in points:
        cells: list[list[dict[str, Any]]] = []
        for _, logits in unembedded(model, reads[point][0, first:last].to(model.dtype)):
            best = logits.float().softmax(-1).topk(min(top, model.d_vocab))
            cells += [
                [{"token": model.token_text(i), "prob": p} for i, p in zip(ids, probs, strict=True)]
                for ids, probs in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
        rows.append(cells)
        progress(1, len(points))
    return {
        "schema": "loci.lens_grid/1",
        "model": model.name,
        "prompt": prompt,
        "first": first,
        "length": len(tokens.ids),
        "tokens": list(tokens.labels)[first:last],
        "rows": rows,
    }


def one_of(model: Model, name: str) -> tuple[int, int]:
    """Layer and number of a neuron that is no expert's. Raises `ModelError`."""
    layer, neuron, expert = parse_neuron(name, model)
    if expert is not None:
        raise ModelError(f"{name}: single experts' neurons are not shown here")
    return layer, neuron


@torch.no_grad()
def firing(model: Model, name: str, text: str) -> dict[str, Any]:
    """One neuron's activation at each token of a text. Cost: one run up to its layer."""
    if not text.strip():
        raise FactError("the text is empty")
    layer, neuron = one_of(model, name)
    tokens = model.tokenize(text)
    values = (
        model.read(model.ids([tokens.ids]), f"mlp_act.{layer}")[f"mlp_act.{layer}"][0, :, neuron]
        .float()
        .tolist()
    )
    return {
        "schema": "loci.firing/1",
        "model": model.name,
        "name": name,
        "tokens": list(tokens.labels),
        "activations": values,
    }


def histogram(
    model: Model, name: str, texts: Sequence[str], progress: Progress = silent
) -> dict[str, Any]:
    """How a neuron's activations are spread over texts: the bins that are not empty. Cost: one run
    over them up to its layer.
    """
    layer, neuron = one_of(model, name)
    spread = Histogram()
    seen = survey(model, texts, {f"mlp_act.{layer}": [spread]}, progress=progress).tokens
    upper, counts = edges().tolist(), spread.counts[neuron].tolist()
    lower = [None, *upper[:-1]]
    bins = [
        {"from": a, "to": b, "count": n} for a, b, n in zip(lower, upper, counts, strict=True) if n
    ]
    return {
        "schema": "loci.histogram/1",
        "model": model.name,
        "name": name,
        "tokens": seen,
        "bins": bins,
    }


def scaled(model: Model, name: str, factor: float) -> Patch:
    """A patch that multiplies what a neuron writes: W_down[:, i] ← factor · W_down[:, i], by one
    rank.

    For every input this is the same as multiplying its activation.
    """
    layer, neuron = one_of(model, name)
    weight = f"W_down.{layer}"
    left = (factor - 1) * model.weight(weight)[:, [neuron]].detach().float().cpu()
    right = torch.zeros(1, model.d_mlp)
    right[0, neuron] = 1.0
    numbers = {"neuron": name, "factor": factor}
    return Patch(
        "scaled neuron", model.fingerprint, model.name, {weight: Factors(left, right)}, (), numbers
    )


@torch.no_grad()
def attention_top(model: Model, text: str, layer: int, most: int) -> dict[str, Any]:
    """Attention of one layer, sparse: of each head and query the `most` largest entries, plain and
    times ‖W_O v‖.

    So a text of a thousand tokens stays small: heads × tokens × `most` numbers instead of heads ×
    tokens².
    """
    if layer >= model.n_layers:
        raise ModelError(f"layer {layer}: the model has the layers 0 … {model.n_layers - 1}")
    attention = patterns(model, text, [head_name(layer, h) for h in range(model.n_heads)])
    heads = {}
    for name, pattern in attention.plain.items():
        best = pattern.topk(min(most, pattern.shape[1]))
        weighted = attention.weighted[name].gather(1, best.indices)
        heads[name] = {
            "keys": best.indices.tolist(),
            "plain": best.values.tolist(),
            "weighted": weighted.tolist(),
        }
    return {
        "schema": "loci.attention_top/1",
        "model": model.name,
        "text": text,
        "tokens": list(attention.tokens),
        "heads": heads,
    }


@torch.no_grad()
def promoting(model: Model, word: str, top: int) -> dict[str, Any]:
    """The neurons whose values promote a word's first token most, in all layers. Cost: one product
    with the values of each layer.
    """
    ids = model.tokenizer(f" {word.strip()}", add_special_tokens=False)["input_ids"]
    if not ids:
        raise FactError(f"the tokenizer makes no token of {word!r}")
    gain, _, centres = model.norm("final_norm")
    row = gain.float() * model.W_U[ids[0]].float()
    row = row - row.mean() if centres else row
    candidates: list[tuple[float, int, int]] = []
    for layer in range(model.n_layers):
        scores = written(model, layer) @ row
        best = scores.topk(min(top, len(scores)))
        candidates += [
            (s, layer, i) for s, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
    neurons = [
        {"name": f"L{layer}N{i}", "layer": layer, "neuron": i, "score": s}
        for s, layer, i in sorted(candidates, reverse=True)[:top]
    ]
    return {
        "schema": "loci.promoting/1",
        "model": model.name,
        "word": word,
        "token": model.token_text(ids[0]),
        "neurons": neurons,
    }
