"""What the residual stream says layer by layer, and who put the answer there.

    lens:        P_l = softmax(unembed(resid_post.l))           the model's words, if it stopped
                 after layer l
    attribution: score(answer) = Σ_components u · c + constant
        u = γ ⊙ W_U[answer] / s, centred where the norm centres

The final norm's scale s is held at the value that it has in this run; then the score is linear in
what the components wrote, and the parts sum to it: start (embedding and positions), every attention
and every MLP; attention again by head, an MLP by neuron. A norm behind a sub-layer is held
likewise. Where logits are capped, the score is the one before the cap. `sum_error` is what the sum
misses.
Cost: one run. Sources: nostalgebraist 2020 (lens); Elhage et al. 2021 (attribution); Geva et al.
2022 (sub-updates).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.model import Model, answer_of
from loci.model.answers import answer_row, finite, with_answer
from loci.model.frozen_norm import FrozenNorm
from loci.model.given import model_given
from loci.model.updates import update_sizes
from loci.result import Result


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

    model: str
    bos: bool
    prompt: str
    answer: str
    against: str | None
    start: tuple[Word, ...]
    layers: tuple[Rung, ...]
    embedding: float
    """What token and position embedding add to the answer's score."""
    constant: float
    """What biases of the final norm and the unembedding add."""
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


@torch.no_grad()
def lens(
    model: Model,
    prompt: str | Fact,
    answer: str | None = None,
    *,
    against: str | None = None,
    top: int = 5,
) -> Lens:
    """What would the model say after each layer? Read the last position, and split the score of the
    answer's first token.

        ladder = loci.lens(model, "Michael Jordan plays the sport of")
        [rung.prob for rung in ladder.layers]           # P(answer) after each layer

    Args: a prompt or a fact, the answer (the model's own by default), `top` words of each layer.
    Returns: `Lens`: `layers` (`prob`, `rank`, `top`, and what `attn`, `mlp`, heads and neurons add
    to the score), `score`, `constant`, `sum_error`. Cost: one run.

    With `against`, the score is that of the answer's token minus that of the other's. Raises
    `FactError` where both begin alike.
    """
    model_given(model)
    if isinstance(prompt, Fact):
        answer = answer or prompt.answer
        prompt = prompt.text
    answer = answer_of(model, prompt) if answer is None else answer
    if top < 1:
        raise FactError(f"a lens shows at least one word of each layer, not {top}")
    tokens, (start, _) = with_answer(model, prompt, answer)
    target, row = tokens.ids[start], answer_row(model, prompt, answer, against)
    stems = ["resid_pre", "resid_post", "attn_out", "attn_raw", "mlp_out", "mlp_raw", "z"] + [
        "mlp_act"
    ] * model.has("mlp_act")
    with model.watch(*model.names(*stems)) as reads:
        finite(model(model.ids([tokens.ids[:start]]), last=1), model)
    at = {name: tensor[0, -1].float() for name, tensor in reads.items()}
    last, direction = at[f"resid_post.{model.n_layers - 1}"], model.W_U.float().T @ row
    final = FrozenNorm(model, "final_norm", None, last)
    read, constant = final.read(direction), float(final.bias @ direction + model.b_U.float() @ row)
    score = float(
        row @ model.module("unembed")(model.module("final_norm")(last.to(model.dtype))).float()
    )
    rungs = tuple(_rung(model, at, layer, read, target, top) for layer in range(model.n_layers))
    embedding = float(read @ at["resid_pre.0"])
    total = embedding + constant + sum(rung.attn + rung.mlp for rung in rungs)
    return Lens(
        model=model.name,
        bos=model.with_bos,
        prompt=prompt,
        answer=answer,
        against=against,
        start=_words(model, _said(model, at["resid_pre.0"]), top),
        layers=rungs,
        embedding=embedding,
        constant=constant,
        score=score,
        sum_error=abs(total - score),
    )


def _rung(
    model: Model, at: dict[str, Tensor], layer: int, read: Tensor, target: int, top: int
) -> Rung:
    resid, attn, mlp = (at[f"{stem}.{layer}"] for stem in ("resid_post", "attn_out", "mlp_out"))
    through_attn, through_mlp = read, read
    if model.layout.attn_post:
        through_attn = FrozenNorm(model, "attn_post", layer, at[f"attn_raw.{layer}"]).read(read)
    if model.layout.mlp_post:
        through_mlp = FrozenNorm(model, "mlp_post", layer, at[f"mlp_raw.{layer}"]).read(read)
    heads = einsum(model.W_O(layer).float(), at[f"z.{layer}"], through_attn, "h m d, h d, m -> h")
    parts: tuple[NeuronScore, ...] = ()
    updates: tuple[Update, ...] = ()
    if model.has("mlp_act"):
        act, values = at[f"mlp_act.{layer}"], model.W_down(layer).float()
        scores, sizes = act * (through_mlp @ values), update_sizes(model, layer, act)
        some = min(top, len(scores))
        best = [
            *scores.topk(some).indices.tolist(),
            *scores.topk(some, largest=False).indices.tolist(),
        ]
        parts = tuple(NeuronScore(f"L{layer}N{i}", float(scores[i])) for i in dict.fromkeys(best))
        updates = tuple(
            Update(f"L{layer}N{i}", float(sizes[i]), float(scores[i]))
            for i in sizes.topk(some).indices.tolist()
        )
    said = _said(model, resid)
    return Rung(
        layer=layer,
        top=_words(model, said, top),
        prob=float(said[target]),
        attn=float(read @ attn),
        mlp=float(read @ mlp),
        heads=tuple(heads.tolist()),
        neurons=parts,
        updates=updates,
    )


def _said(model: Model, resid: Float[Tensor, " d_model"]) -> Float[Tensor, " d_vocab"]:
    """Probabilities of the next token if the model stopped here."""
    return model.unembed(resid.to(model.dtype)).float().softmax(-1)


def _words(model: Model, said: Float[Tensor, " d_vocab"], top: int) -> tuple[Word, ...]:
    best = said.topk(top)
    return tuple(
        Word(model.token_text(i), p)
        for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
