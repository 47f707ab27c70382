"""Read one MLP neuron: what it looks for, and what it writes.

    key   W_key[i]     the contexts in which it is largest, and how often it fires
    value W_down[:, i] the tokens it promotes and suppresses:  W_U · (γ ⊙ (v − mean v))

The value is projected through the final norm's centring and gain, without its scale, which depends on the token: the numbers rank
tokens, they are no logits. Sources: Geva et al. 2021, 2022; in/out cosine: Elhage et al. 2021.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from loci.errors import ModelError
from loci.model import Model
from loci.progress import Progress, silent
from loci.survey import FiringRate, TopTriggers, sample_text, survey

TOKENS = 100_000
NEURON = re.compile(r"L(\d+)N(\d+)")


@dataclass(frozen=True)
class Trigger:
    """A context that fires the neuron: its tokens up to the one where it is largest, and what follows."""

    before: str
    token: str
    after: str
    activation: float


@dataclass(frozen=True)
class NeuronCard:
    """All there is to read of one neuron."""

    model: str
    bos: bool
    layer: int
    neuron: int
    promotes: tuple[tuple[str, float], ...]
    suppresses: tuple[tuple[str, float], ...]
    triggers: tuple[Trigger, ...]
    firing_rate: float
    """Share of tokens of the text at which its activation is above 0."""
    tokens: int
    """Tokens of text behind the triggers and the rate."""
    cosine: float
    """Between key and value: near −1 it erases what it finds, near 1 it amplifies it."""
    key_norm: float
    value_norm: float
    threshold: float
    """Its bias: what must be overcome before it fires, times −1."""

    @property
    def name(self) -> str:
        return f"L{self.layer}N{self.neuron}"

    def to_dict(self) -> dict[str, Any]:
        pairs = {side: [{"token": t, "score": s} for t, s in getattr(self, side)] for side in ("promotes", "suppresses")}
        return {"schema": "loci.neuron/1", "name": self.name, **asdict(self), **pairs}


def parse_neuron(name: str, model: Model) -> tuple[int, int]:
    """`L1N37` → (1, 37). Raises `ModelError` for another form or a neuron that the model does not have."""
    match = NEURON.fullmatch(name.strip())
    if match is None:
        raise ModelError(f"{name!r} names no neuron: expected a form like L1N37")
    layer, neuron = int(match[1]), int(match[2])
    if layer >= model.n_layers or neuron >= model.d_mlp:
        raise ModelError(f"{name}: this model has L0N0 … L{model.n_layers - 1}N{model.d_mlp - 1}")
    return layer, neuron


def read(model: Model, name: str, texts: Sequence[str] | None = None, *, top: int = 10, progress: Progress = silent) -> NeuronCard:
    """The card of one neuron, as in `read(model, "L1N37")`.

    `texts` are where its triggers are looked for; without them, 100,000 tokens of the embedded text.
    Cost: one pass over the text, up to the neuron's layer. Raises `ModelError` for a neuron that is not there.
    """
    cell = parse_neuron(name, model)
    return read_many(model, [cell], sample_text(model, TOKENS) if texts is None else texts, top=top, progress=progress)[0]


@torch.no_grad()
def read_many(
    model: Model, cells: Sequence[tuple[int, int]], texts: Sequence[str], *, top: int = 10, progress: Progress = silent
) -> list[NeuronCard]:
    """Cards of several neurons from one pass over the text."""
    by_layer: dict[int, list[int]] = {}
    for layer, neuron in cells:
        by_layer.setdefault(layer, []).append(neuron)
    gathering = {f"mlp_act.{layer}": (FiringRate(), TopTriggers(chosen, top)) for layer, chosen in by_layer.items()}
    texts = [text for text in texts if text.strip()]
    seen = survey(model, texts, gathering, progress=progress)
    cards = []
    for layer, neuron in cells:
        rate, triggers = gathering[f"mlp_act.{layer}"]
        column = by_layer[layer].index(neuron)
        found = [
            _trigger(model, texts[text], position, value)
            for value, (text, position) in zip(
                triggers.values[:, column].tolist(), triggers.places[:, column].tolist(), strict=True
            )
            if value > 0
        ]
        promotes, suppresses = promoted(model, layer, neuron, top)
        key, value, bias = (
            model.W_key(layer)[neuron].float(),
            model.W_down(layer)[:, neuron].float(),
            model.b_key(layer)[neuron],
        )
        cards.append(
            NeuronCard(
                model=model.name,
                bos=model.with_bos,
                layer=layer,
                neuron=neuron,
                promotes=promotes,
                suppresses=suppresses,
                triggers=tuple(found),
                firing_rate=float(rate.rate[neuron]),
                tokens=seen,
                cosine=float(cosine_similarity(key, value, dim=0)),
                key_norm=float(key.norm()),
                value_norm=float(value.norm()),
                threshold=-float(bias),
            )
        )
    return cards


Scored = tuple[tuple[str, float], ...]


@torch.no_grad()
def promoted(model: Model, layer: int, neuron: int, top: int) -> tuple[Scored, Scored]:
    """The tokens which the neuron's value promotes and suppresses most, with their projections."""
    scores = project(model, model.W_down(layer)[:, neuron])
    return _named(model, scores.topk(top)), _named(model, scores.topk(top, largest=False))


def _named(model: Model, best: torch.return_types.topk) -> Scored:
    return tuple((model.token_text(i), s) for i, s in zip(best.indices.tolist(), best.values.tolist(), strict=True))


@torch.no_grad()
def project(model: Model, vector: Float[Tensor, " d_model"]) -> Float[Tensor, " d_vocab"]:
    """A residual direction in the vocabulary: through the final norm's centring and gain, without its scale and bias."""
    gain, _, centres = model.norm("final_norm")
    return (model.W_U @ (gain * (vector - vector.mean() if centres else vector))).float()


def _trigger(model: Model, text: str, position: int, value: float) -> Trigger:
    start, end = model.tokenize(text).offsets[position]
    return Trigger(text[:start], text[start:end], text[end:], value)
