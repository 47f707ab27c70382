"""Results of a logit lens: P(answer) after each layer, and the contribution of each part."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from loci.result import About, Result
from loci.tables import Table, columns


class Word(NamedTuple):
    """A next token and its probability."""

    token: str
    prob: float


class NeuronScore(NamedTuple):
    """A head or a neuron, and what it adds to the answer's score."""

    name: str
    score: float


class Update(NamedTuple):
    """A neuron's sub-update: size |coefficient| · ‖value‖,
    and what it adds to the answer's score.
    """

    name: str
    size: float
    score: float


@dataclass(frozen=True)
class Rung:
    """One layer at one position: the words after it, and what its parts add to the answer's
    score.
    """

    layer: int
    top: tuple[Word, ...]
    prob: float
    """Probability of the answer's token if the model stopped here."""
    attn: float
    mlp: float
    heads: tuple[float, ...]
    neurons: tuple[NeuronScore, ...]
    """The neurons that add most, for and against; none in a mixture of experts."""
    updates: tuple[Update, ...]
    """The dominant sub-updates, whatever they add."""


@dataclass(frozen=True)
class Lens(Result):
    """The ladder of one position: before any layer, then rung by rung."""

    about: ClassVar[About] = About(
        "a lens",
        "What would the model say if it stopped after each layer, and which part put "
        "the answer there?",
        "Above: how likely the answer is after each layer. Below: what attention "
        "(orange) and the MLP (blue) add to its score.",
        "lens.lens_figure",
    )

    model: str
    bos: bool
    prompt: str
    answer: str
    against: str | None
    start: tuple[Word, ...]
    layers: tuple[Rung, ...]
    embedding: float
    """The contribution of token and position embedding to the answer's score."""
    constant: float
    """The contribution of the biases of the final norm and the unembedding."""
    score: float
    """Of the answer's token, minus that of `against` where one is said; before any cap."""
    sum_error: float

    @property
    def contributions(self) -> dict[str, float]:
        """Everything that makes up the score."""
        layers = {
            f"{kind}.{rung.layer}": getattr(rung, kind)
            for rung in self.layers
            for kind in ("attn", "mlp")
        }
        return {"embedding": self.embedding, **layers, "constant": self.constant}

    def summary(self) -> tuple[str, ...]:
        first = next(
            (
                rung.layer
                for rung in self.layers
                if rung.top and self.answer.startswith(rung.top[0].token.strip())
            ),
            None,
        )
        biggest = max(self.layers, key=lambda rung: max(rung.attn, rung.mlp))
        part = "the MLP" if biggest.mlp >= biggest.attn else "attention"
        ahead = (
            f"The answer is the likeliest word from layer {first} on."
            if first is not None
            else "The answer never is the likeliest."
        )
        return (
            f"{ahead} The largest step towards it is {part} of layer {biggest.layer}:"
            f" {max(biggest.attn, biggest.mlp):+.2f} of a score of {self.score:.2f}.",
        )

    def title(self) -> str:
        against = f" against {self.against}" if self.against else ""
        return f"{self.prompt} → {self.answer}{against}"

    def tables(self) -> tuple[Table, ...]:
        rows = [
            (
                str(rung.layer),
                rung.prob,
                rung.attn,
                rung.mlp,
                _listed(rung.top),
                ", ".join(f"{update.name} {update.score:+.2f}" for update in rung.updates[:3]),
            )
            for rung in self.layers
        ]
        first = ("embedding", None, None, self.embedding, _listed(self.start), "")
        return (
            Table(
                "By layer",
                columns(
                    "layer",
                    "P(answer)|.3f",
                    "attention|+.2f",
                    "MLP|+.2f",
                    "what it would say",
                    "dominant sub-updates",
                ),
                (first, *rows),
                note=f"attention, MLP: what they add to the score {self.score:.2f} (biases"
                f" {self.constant:+.2f}); all parts sum to it within {self.sum_error:.0e}",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("layers", "start")
        }
        layers = [
            {
                "layer": rung.layer,
                "top": [word._asdict() for word in rung.top],
                "prob": rung.prob,
                "contributions": (
                    {"attn": rung.attn, "mlp": rung.mlp, "heads": list(rung.heads)}
                    | {
                        "neurons": [part._asdict() for part in rung.neurons],
                        "updates": [update._asdict() for update in rung.updates],
                    }
                ),
            }
            for rung in self.layers
        ]
        return {
            "schema": "loci.lens/1",
            **plain,
            "start": [word._asdict() for word in self.start],
            "layers": layers,
        }


def _listed(words: tuple[Word, ...]) -> str:
    """The three likeliest words with their probabilities."""
    return ", ".join(
        f"{word.token.strip() or repr(word.token)} {word.prob:.2f}" for word in words[:3]
    )
