"""Read one MLP neuron: what it looks for, and what it writes.

    key   W_key[i]     the contexts in which it is largest, and how often it fires
    value W_down[:, i] the tokens it promotes and suppresses:  W_U · (γ ⊙ (v − mean v))

The value is projected through the final norm's centring and gain (and the gain of a norm behind the
MLP, where a family has one), without their scales, which depend on the token: the numbers rank
tokens, they are no logits. Sources: Geva et al. 2021, 2022; in/out cosine: Elhage et al. 2021.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch.nn.functional import cosine_similarity

from loci.errors import ModelError
from loci.model import Model, Weights
from loci.model.given import model_given, texts_given
from loci.model.names import neuron_name, parse_neuron
from loci.model.tokens import tokenize
from loci.progress import Progress, silent
from loci.reading.value_projections import nearest, promoted, written
from loci.result import About, Result
from loci.survey import FiringRate, TopTriggers, survey
from loci.tables import Table, columns, joined
from loci.text import sample_text

TOKENS = 100_000
NEAR = 5


@dataclass(frozen=True)
class Trigger:
    """A context that fires the neuron: its tokens up to the one where it is largest, and what
    follows."""

    before: str
    token: str
    after: str
    activation: float


@dataclass(frozen=True)
class NeuronCard(Result):
    """All there is to read of one neuron."""

    about: ClassVar[About] = About(
        "a neuron",
        "What does a neuron look for (its key), and what does it write (its value)?",
        "Marked tokens fire it. Blue tokens are promoted when it fires, orange ones suppressed.",
        "neurons.card_figure",
    )

    model: str
    bos: bool | None
    """Whether a BOS stood before the texts; None where nothing was run."""
    layer: int
    neuron: int
    expert: int | None
    """In a mixture of experts, whose neuron it is."""
    promotes: tuple[tuple[str, float], ...]
    suppresses: tuple[tuple[str, float], ...]
    cosine: float
    """Between key and value: near −1 it erases what it finds, near 1 it amplifies it."""
    key_norm: float
    value_norm: float
    threshold: float
    """Its bias: what must be overcome before it fires, times −1."""
    nearest: tuple[tuple[str, float], ...] = ()
    """The neurons of its layer whose values point most nearly the same way, with their cosines."""
    triggers: tuple[Trigger, ...] = ()
    firing_rate: float | None = None
    """Share of tokens of the text at which its activation is above 0; None where no text was
    looked through."""
    tokens: int = 0
    """Tokens of text behind the triggers and the rate."""

    @property
    def name(self) -> str:
        return neuron_name(self.layer, self.neuron, self.expert)

    @property
    def fires(self) -> str:
        """How often, in words."""
        return (
            "no text looked through"
            if self.firing_rate is None
            else f"{self.firing_rate:.2%} of {self.tokens:,} tokens"
        )

    def title(self) -> str:
        return self.name

    def summary(self) -> tuple[str, ...]:
        return (
            f"It fires at {self.fires}; key and value have a cosine of {self.cosine:+.2f}. ‖key‖"
            f" {self.key_norm:.2f}, ‖value‖ {self.value_norm:.2f}, threshold"
            f" {self.threshold:+.2f}.",
            *(("It never fires in this text.",) if self.firing_rate == 0 else ()),
        )

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (own.activation, f"{own.before}»{own.token}«{own.after}") for own in self.triggers
        )
        near = ", ".join(f"{name} {cosine:+.2f}" for name, cosine in self.nearest)
        writes = (
            ("promotes", joined(token for token, _ in self.promotes)),
            ("suppresses", joined(token for token, _ in self.suppresses)),
            *((("near it", near),) if near else ()),
        )
        heads = columns("activation|.2f", "text")
        return (
            *([Table("key: what it looks for", heads, rows)] if rows else []),
            Table("value: what it writes", columns("", "tokens"), writes),
        )

    def to_dict(self) -> dict[str, Any]:
        pairs = {
            side: [{"token": t, "score": s} for t, s in getattr(self, side)]
            for side in ("promotes", "suppresses")
        }
        near = [{"name": name, "cosine": cosine} for name, cosine in self.nearest]
        return {
            "schema": "loci.neuron/1",
            "name": self.name,
            **asdict(self),
            **pairs,
            "nearest": near,
        }


@torch.no_grad()
def read_weights(weights: Weights, name: str, *, top: int = 10) -> NeuronCard:
    """The card of one neuron from its weights alone.

    With `open_weights` a few tensors are read from their files and no model is built.

    Args:
        weights: an open model or `open_weights`; nothing is run.
        name: as in `L1N126`.
        top: tokens listed at each end.

    Returns: `NeuronCard` without triggers.
    Raises: `ModelError` for a neuron that is not there.
    Cost: One product of a value with the unembedding.
    """
    layer, neuron, expert = parse_neuron(name, weights)
    value = weights.W_down(layer, expert)[:, neuron].float()
    key = weights.W_key(layer, expert)[neuron].float()
    promotes, suppresses = promoted(weights, written(weights, layer, expert)[neuron], top)
    near = nearest(weights, layer, neuron, NEAR, expert=expert)
    return NeuronCard(
        model=weights.name,
        bos=None,
        layer=layer,
        neuron=neuron,
        expert=expert,
        promotes=promotes,
        suppresses=suppresses,
        cosine=float(cosine_similarity(key, value, dim=0)),
        key_norm=float(key.norm()),
        value_norm=float(value.norm()),
        threshold=-float(weights.b_key(layer)[neuron]),
        nearest=tuple((neuron_name(layer, other, expert), cosine) for other, cosine in near),
    )


def read(
    model: Model,
    name: str,
    texts: Sequence[str] | None = None,
    *,
    top: int = 10,
    progress: Progress = silent,
) -> NeuronCard:
    """The card of one neuron: what it looks for, and what it writes.

        card = loci.read(model, "L1N126")
        card.promotes, card.triggers

    Args:
        model: an open model; it is left as it was.
        name: as in `L1N126`.
        texts: where triggers are looked for; None: 100,000 tokens of the embedded text.
        top: triggers and tokens listed.
        progress: called with (steps done, steps in all).

    Returns: `NeuronCard`: `triggers`, `promotes`, `suppresses`, `firing_rate`, `cosine` of key and
        value, `nearest` neurons.
    Raises: `ModelError` for a neuron that is not there.
    Cost: One pass over the text, up to the neuron's layer.
    """
    layer, neuron, expert = parse_neuron(name, model_given(model))
    texts = None if texts is None else texts_given(texts)
    if expert is not None:
        raise ModelError(
            f"{name}: triggers of single experts' neurons are not gathered; read its weights alone "
            "(--weights-only)"
        )
    return read_many(
        model,
        [(layer, neuron)],
        sample_text(model, TOKENS) if texts is None else texts,
        top=top,
        progress=progress,
    )[0]


@torch.no_grad()
def read_many(
    model: Model,
    cells: Sequence[tuple[int, int]],
    texts: Sequence[str],
    *,
    top: int = 10,
    progress: Progress = silent,
) -> list[NeuronCard]:
    """Cards of several neurons from one pass over the text.

    Args:
        model: an open model; it is left as it was.
        cells: (layer, neuron) each.
        texts: where triggers are looked for.
        top: triggers and tokens listed.
        progress: called with (steps done, steps in all).

    Returns: A `NeuronCard` for each, in their order.
    Raises: `ModelError` for a neuron that is not there.
    Cost: One pass over the text, up to the highest layer.
    """
    by_layer: dict[int, list[int]] = {}
    for layer, neuron in cells:
        by_layer.setdefault(layer, []).append(neuron)
    gathering = {
        f"mlp_act.{layer}": (FiringRate(), TopTriggers(chosen, top))
        for layer, chosen in by_layer.items()
    }
    texts = [text for text in texts if text.strip()]
    seen = survey(model, texts, gathering, progress=progress).tokens
    cards = []
    for layer, neuron in cells:
        rate, triggers = gathering[f"mlp_act.{layer}"]
        column = by_layer[layer].index(neuron)
        places = zip(
            triggers.values[:, column].tolist(), triggers.places[:, column].tolist(), strict=True
        )
        rows = tuple(
            _trigger(model, texts[text], position, value)
            for value, (text, position) in places
            if value > 0
        )
        card = read_weights(model, f"L{layer}N{neuron}", top=top)
        cards.append(
            replace(
                card,
                bos=model.with_bos,
                triggers=rows,
                firing_rate=float(rate.rate[neuron]),
                tokens=seen,
            )
        )
    return cards


def _trigger(model: Model, text: str, position: int, value: float) -> Trigger:
    start, end = tokenize(model.tokenizer, text, None, model.bos).offsets[position]
    return Trigger(text[:start], text[start:end], text[end:], value)
