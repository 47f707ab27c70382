"""MLPs as key–value memories: what fires the keys, whether values say what follows, and whether
single memories decide (Geva et al.

2021).

By layer, over sampled neurons and text:
    dropped     relative change of a neuron's activation at its top triggers when the prefix loses
                its first, its last or a random token
    agreement   share of neurons whose value promotes most what followed their top trigger, beside
                chance: the same with triggers of other neurons
    lean        how much more of its activation a neuron loses with the last token than with the
                first, each neuron compared with itself
    composed    share of tokens at which no active memory's first token is the first token of the
                layer's output
    active      share of memories with a coefficient above 0

First tokens are those of the projection through the final norm's centring and gain. Shallow layers
should need the last token most and agree least; published for a 16-layer model: agreement 0 below
layer 11 and up to 3.5 % above, against 0.0004 % by chance; composed in at least 68 %.
"""

from collections.abc import Sequence
from random import Random

import torch
from jaxtyping import Int
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model, by_length
from loci.model.given import model_given, texts_given
from loci.model.tokens import Tokens, tokenize
from loci.progress import Progress, silent
from loci.reading.memories_result import Memories
from loci.reading.value_projections import project, promoted_by
from loci.stats import Estimate, mean, share
from loci.survey import TopTriggers, survey
from loci.text import sample_text

DROPS = ("first", "last", "random")
READ = 2000
"""Tokens at which layers are compared with their memories."""


TEXT_TOKENS = 50_000


@torch.no_grad()
def memories(
    model: Model,
    texts: Sequence[str] | None = None,
    *,
    neurons: int = 128,
    triggers: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> Memories:
    """Measure MLPs as key–value memories: what fires the keys, and what the values say.

        loci.memories(model).shallow                    # layers that lean on the last token

    Args:
        model: an open model; it is left as it was.
        texts: None: 50,000 tokens of the embedded text.
        neurons: neurons sampled of each layer.
        triggers: prefixes looked at for each neuron.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Memories`: `dropped` (change of activations without a token), `lean`, `agreement` and
        its `chance`, `composed`, `active`, each by layer with intervals.
    Raises: `ModelError` for mixtures of experts, and where there is no text.
    Cost: A pass over the texts, short runs of the triggers' prefixes, and a product of all values
        with the unembedding.
    Source: Geva et al. 2021.
    """
    model_given(model).place("mlp_act.0")
    texts = sample_text(model, TEXT_TOKENS) if texts is None else texts_given(texts)
    if neurons < 2 or triggers < 1:
        raise ModelError(
            f"at least two neurons a layer and one trigger each are needed, not {neurons} and "
            f"{triggers}"
        )
    texts = [text for text in texts if text.strip()]
    chosen = _sampled_neurons(model, neurons, seed)
    gathering = {
        f"mlp_act.{layer}": [TopTriggers(some, triggers)] for layer, some in chosen.items()
    }
    seen = survey(model, texts, gathering)
    best = {layer: promoted_by(model, layer, 1).promotes[:, 0] for layer in chosen}
    read: dict[int, Tokens] = {}
    rows: dict[str, list[Estimate]] = {name: [] for name in (*DROPS, "lean", "agreement", "chance")}
    for layer, some in chosen.items():
        top_triggers = gathering[f"mlp_act.{layer}"][0]
        cells = _prefixes(model, texts, top_triggers, read)
        estimates = _by_dropped_token(_dropped(model, layer, some, cells, seed))
        estimates |= _agreement(best[layer][some].tolist(), top_triggers, read)
        for name, estimate in estimates.items():
            rows[name].append(estimate)
        progress(1, model.n_layers + 1)
    composed, active = _composed(model, texts, best)
    progress(1, model.n_layers + 1)
    return Memories(
        model=model.name,
        bos=model.with_bos,
        neurons=len(chosen[0]),
        tokens=seen.tokens,
        seed=seed,
        dropped={kind: tuple(rows[kind]) for kind in DROPS},
        lean=tuple(rows["lean"]),
        agreement=tuple(rows["agreement"]),
        chance=tuple(rows["chance"]),
        composed=composed,
        active=active,
    )


def _sampled_neurons(model: Model, neurons: int, seed: int) -> dict[int, list[int]]:
    """Neurons of each layer, drawn without repetition, in ascending order."""
    count = min(neurons, model.d_mlp)
    return {
        layer: sorted(Random(f"{seed}/{layer}").sample(range(model.d_mlp), count))
        for layer in range(model.n_layers)
    }


def _by_dropped_token(changes: dict[str, list[float]]) -> dict[str, Estimate]:
    """Mean change of activations by dropped token; `lean`: how much more the last token counts."""
    lean = [first - last for first, last in zip(changes["first"], changes["last"], strict=True)]
    return {**{kind: mean(values) for kind, values in changes.items()}, "lean": mean(lean)}


def _agreement(
    promoted: list[int], triggers: TopTriggers, read: dict[int, Tokens]
) -> dict[str, Estimate]:
    """Share of neurons that promote the token behind their top trigger, and the same by chance.

    Args:
        promoted: the first token that each sampled neuron's value promotes.
        triggers: `places[0]` holds (text, position) of each neuron's largest activation.
        read: the tokens of each text.
    """
    followed = [
        read[text].ids[position + 1] if position + 1 < len(read[text]) else -1  # −1: the text ends
        for text, position in triggers.places[0].tolist()
    ]
    hits = [float(a == b) for a, b in zip(promoted, followed, strict=True)]
    by_chance = [sum(a == b for b in followed) / len(followed) for a in promoted]
    return {"agreement": share(hits), "chance": share(by_chance)}


Cell = tuple[int, tuple[int, ...], float]
"""A neuron's column, the tokens up to its trigger, and its activation there."""


def _prefixes(
    model: Model, texts: Sequence[str], triggers: TopTriggers, read: dict[int, Tokens]
) -> list[Cell]:
    cells = []
    for activations, places in zip(triggers.values.tolist(), triggers.places.tolist(), strict=True):
        for column, (activation, (text, position)) in enumerate(
            zip(activations, places, strict=True)
        ):
            if text not in read:
                read[text] = tokenize(model.tokenizer, texts[text], None, model.bos)
            if activation > 0:
                cells.append((column, read[text].ids[: position + 1], activation))
    return cells


def _dropped(
    model: Model, layer: int, some: Sequence[int], cells: Sequence[Cell], seed: int
) -> dict[str, list[float]]:
    """Each neuron's mean relative change, by which token is dropped; prefixes of fewer than
    three tokens are left out."""
    special = model.special
    random = Random(seed)
    cut: dict[str, list[Cell]] = {kind: [] for kind in DROPS}
    for column, ids, activation in cells:
        if special + 3 <= len(ids) <= (model.n_ctx or len(ids)):
            for kind, position in zip(
                DROPS, (special, len(ids) - 1, random.randrange(special, len(ids))), strict=True
            ):
                cut[kind].append((column, ids[:position] + ids[position + 1 :], activation))
    by_kind: dict[str, list[float]] = {}
    for kind, some_cells in cut.items():
        changes: dict[int, list[float]] = {}
        now = _activations(model, layer, [(some[column], ids) for column, ids, _ in some_cells])
        for (column, _, before), after in zip(some_cells, now, strict=True):
            changes.setdefault(column, []).append(after / before - 1)
        by_kind[kind] = [sum(values) / len(values) for values in changes.values()]
    return by_kind


def _activations(
    model: Model, layer: int, asked: Sequence[tuple[int, tuple[int, ...]]]
) -> list[float]:
    """A neuron's activation at the last token of its text, for each pair."""
    activations = [0.0] * len(asked)
    for batch in by_length(asked, lambda pair: len(pair[1]), 4096):
        act = model.read(model.ids([asked[i][1] for i in batch]), f"mlp_act.{layer}")[
            f"mlp_act.{layer}"
        ][:, -1]
        for row, i in enumerate(batch):
            activations[i] = float(act[row, asked[i][0]])
    return activations


def _composed(
    model: Model, texts: Sequence[str], first: dict[int, Int[Tensor, " neuron"]]
) -> tuple[tuple[Estimate, ...], tuple[Estimate, ...]]:
    """By layer: the share of tokens at which no active memory says what the layer says, and the
    share of active memories."""
    composed: list[list[float]] = [[] for _ in first]
    active: list[list[float]] = [[] for _ in first]
    tokens = 0
    for text in texts:
        ids = tokenize(model.tokenizer, text, model.n_ctx, model.bos)
        reads = model.read(model.ids([ids.ids]), *model.names("mlp_act", "mlp_out"))
        for layer, memory in first.items():
            act, out = (
                reads[f"{point}.{layer}"][0, ids.special :] for point in ("mlp_act", "mlp_out")
            )
            predicted = project(model, out).argmax(-1)
            alone = ((act > 0) & (memory.to(predicted.device) == predicted[:, None])).any(1)
            composed[layer].append(float((~alone).double().mean()))
            active[layer].append(float((act > 0).double().mean()))
        tokens += len(ids) - ids.special
        if tokens >= READ:
            break
    return tuple(map(mean, composed)), tuple(map(mean, active))
