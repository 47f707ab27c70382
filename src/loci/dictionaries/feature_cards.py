"""Read one feature: where it is on, what it writes, what lies near it, and which neurons write it
and read it.

    triggers  where it is largest, over text           promotes
              W_U · (γ ⊙ (d − d̄)), d: its decoder row, as for neurons
    writers   neurons before it whose value points along its encoder row      readers
              later ones whose key points along its decoder row

Both are cosines of weights: they say what could be, no run is asked.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from loci.dictionaries.dictionary import Dictionary
from loci.errors import DictionaryError
from loci.model import Model
from loci.progress import Progress, silent
from loci.reading.neuron_cards import Trigger
from loci.reading.value_projections import promoted
from loci.result import About, Result
from loci.survey import FiringRate, TopTriggers, survey
from loci.survey.accumulators import Rows
from loci.tables import Table, columns, joined
from loci.text import sample_text

TOKENS, NEAR = 20_000, 5
Near = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class FeatureCard(Result):
    """All there is to read of one feature."""

    about: ClassVar[About] = About(
        "a feature",
        "What does it fire at, and what does it write?",
        "Contexts with the firing token marked; tokens that it promotes and suppresses.",
    )

    model: str
    point: str
    feature: int
    density: float
    """Share of tokens at which it is on."""
    tokens: int
    triggers: tuple[Trigger, ...]
    promotes: Near
    suppresses: Near
    """Tokens with scores; empty where it does not write into the residual stream."""
    nearest: Near
    """Features whose decoder rows point most nearly the same way, with cosines."""
    writers: Near
    readers: Near

    def title(self) -> str:
        return f"{self.point} F{self.feature}"

    def summary(self) -> tuple[str, ...]:
        return (
            f"on at {self.density:.2%} of {self.tokens:,} tokens of {self.model}",
            *(("it is never on in this text",) if not self.triggers else ()),
        )

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (own.activation, f"{own.before}»{own.token}«{own.after}") for own in self.triggers
        )
        tokens = [
            (name, joined(token for token, _ in getattr(self, name)))
            for name in ("promotes", "suppresses")
        ]
        units = [
            (words, ", ".join(f"{name} {cosine:+.2f}" for name, cosine in getattr(self, field)))
            for field, words in (
                ("nearest", "near it"),
                ("writers", "written by"),
                ("readers", "read by"),
            )
        ]
        told = tuple(row for row in (*tokens, *units) if row[1])
        return (
            *([Table("Fires on", columns("activation|.2f", "text"), rows)] if rows else []),
            *([Table("Writes", columns("", ""), told)] if told else []),
        )

    def to_dict(self) -> dict[str, Any]:
        words = {
            side: [{"token": t, "score": s} for t, s in getattr(self, side)]
            for side in ("promotes", "suppresses")
        }
        near = {
            side: [{"name": n, "cosine": c} for n, c in getattr(self, side)]
            for side in ("nearest", "writers", "readers")
        }
        return {"schema": "loci.feature/1", **asdict(self), **words, **near}


class EncodedTriggers:
    """An accumulator over a dictionary's features: their triggers and rates, for those that are
    chosen.
    """

    def __init__(self, dictionary: Dictionary, features: Sequence[int], top: int) -> None:
        self.dictionary, self.features = dictionary, list(features)
        self.triggers, self.rate = TopTriggers(k=top), FiringRate()

    def update(self, values: Tensor, rows: Rows) -> None:
        chosen = self.dictionary.encode(values.flatten(2).float().cpu())[..., self.features]
        self.triggers.update(chosen, rows)
        self.rate.update(chosen, rows)

    def merge(self, other: "EncodedTriggers") -> None:
        self.triggers.merge(other.triggers)
        self.rate.merge(other.rate)

    def state(self) -> dict[str, Tensor]:
        parts = {"triggers": self.triggers.state(), "rate": self.rate.state()}
        return {
            f"{part}/{name}": tensor
            for part, states in parts.items()
            for name, tensor in states.items()
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        for part, accumulator in (("triggers", self.triggers), ("rate", self.rate)):
            own = {
                name.removeprefix(f"{part}/"): tensor
                for name, tensor in state.items()
                if name.startswith(f"{part}/")
            }
            accumulator.restore(own)


@torch.no_grad()
def read_features(
    model: Model,
    dictionary: Dictionary,
    features: Sequence[int],
    texts: Sequence[str] | None = None,
    *,
    top: int = 10,
    progress: Progress = silent,
) -> list[FeatureCard]:
    """Cards of some features, from one pass over the text; without texts, 20,000 tokens of the
    embedded text.

    Raises `DictionaryError` for a feature that is not there, and where the dictionary does not say
    its point.
    """
    for feature in features:
        if not 0 <= feature < dictionary.features:
            raise DictionaryError(
                f"there is no feature {feature}: expected 0 … {dictionary.features - 1:,}"
            )
    if dictionary.point is None:
        raise DictionaryError(
            "the dictionary does not say where it belongs: say the point, as in --point mlp_out.3"
        )
    chosen = [
        text for text in (sample_text(model, TOKENS) if texts is None else texts) if text.strip()
    ]
    gathered = EncodedTriggers(dictionary, features, top)
    seen = survey(model, chosen, {dictionary.point: [gathered]}, progress=progress).tokens
    tokens: dict[int, Any] = {}
    cards = []
    for column, feature in enumerate(features):
        places = zip(
            gathered.triggers.values[:, column].tolist(),
            gathered.triggers.places[:, column].tolist(),
            strict=True,
        )
        rows = tuple(
            _trigger(model, chosen, text, at, value, tokens)
            for value, (text, at) in places
            if value > 0
        )
        promotes, suppresses = (
            promoted(model, dictionary.W_dec[feature], top)
            if _writes(model, dictionary)
            else ((), ())
        )
        density = float(gathered.rate.rate[column])
        ends = _ends(model, dictionary, feature)
        cards.append(
            FeatureCard(
                model.name,
                dictionary.point,
                feature,
                density,
                seen,
                rows,
                promotes,
                suppresses,
                _nearest(dictionary, feature),
                *ends,
            )
        )
    return cards


def _trigger(
    model: Model,
    texts: Sequence[str],
    text: int,
    position: int,
    value: float,
    known: dict[int, Any],
) -> Trigger:
    if text not in known:
        known[text] = model.tokenize_all([texts[text]])[0]
    start, end = known[text].offsets[position]
    return Trigger(texts[text][:start], texts[text][start:end], texts[text][end:], value)


def _writes(model: Model, dictionary: Dictionary) -> bool:
    """Whether its output is a vector of the residual stream."""
    stem = (dictionary.target or dictionary.point or "").partition(".")[0]
    return dictionary.d_out == model.d_model and stem in (
        "mlp_out",
        "mlp_raw",
        "attn_out",
        "attn_raw",
        "resid_post",
        "resid_mid",
        "resid_pre",
    )


def _nearest(dictionary: Dictionary, feature: int) -> Near:
    cosines = normalize(dictionary.W_dec, dim=1) @ normalize(dictionary.W_dec[feature], dim=0)
    cosines[feature] = -2
    best = cosines.topk(min(NEAR, dictionary.features - 1))
    return tuple(
        (f"F{i}", c) for i, c in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )


def _ends(model: Model, dictionary: Dictionary, feature: int) -> tuple[Near, Near]:
    """Neurons before whose values, and neurons behind whose keys, lie nearest; none where weights
    cannot say.
    """
    stem, _, layer = (dictionary.point or "").partition(".")
    if (
        not layer
        or model.n_experts
        or dictionary.d_in != model.d_model
        or not _writes(model, dictionary)
    ):
        return (), ()
    at = int(layer)
    before = (
        range(at, at + 1)
        if stem in ("mlp_out", "mlp_raw")
        else range(at + (stem in ("resid_post",)))
    )
    encoder, decoder = (
        normalize(dictionary.W_enc[feature], dim=0),
        normalize(dictionary.W_dec[feature], dim=0),
    )
    writers = [
        (f"L{i}N{{}}", normalize(model.W_down(i).float().T, dim=1) @ encoder) for i in before
    ]
    readers = []
    for i in range(at + 1, model.n_layers):
        gain = model.norm("mlp_norm", i).gain.float() if model.layout.mlp_norm else 1.0
        readers.append((f"L{i}N{{}}", normalize(model.W_key(i).float() * gain, dim=1) @ decoder))
    return _best(writers), _best(readers)


def _best(scored: list[tuple[str, Tensor]]) -> Near:
    pairs = [
        (name.format(i), c)
        for name, cosines in scored
        for c, i in zip(
            *(part.tolist() for part in cosines.topk(min(NEAR, len(cosines)))), strict=True
        )
    ]
    return tuple(sorted(pairs, key=lambda each: -each[1])[:NEAR])
