"""The logit lens, layer by layer, and direct logit attribution of the answer.

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

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.lens_results import Lens, NeuronScore, Rung, Update, Word
from loci.model import Model, answer_of
from loci.model.answers import answer_row, finite, with_answer
from loci.model.frozen_norm import FrozenNorm
from loci.model.given import model_given
from loci.model.updates import update_sizes


@torch.no_grad()
def lens(
    model: Model,
    prompt: str | Fact,
    answer: str | None = None,
    *,
    against: str | None = None,
    top: int = 5,
) -> Lens:
    """Read the last position after every layer, and split the score of the answer's first token
    among the components.

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
    last_states = {name: tensor[0, -1].float() for name, tensor in reads.items()}
    last, direction = last_states[f"resid_post.{model.n_layers - 1}"], model.W_U.float().T @ row
    final = FrozenNorm(model, "final_norm", None, last)
    read, constant = final.read(direction), float(final.bias @ direction + model.b_U.float() @ row)
    score = float(
        row @ model.module("unembed")(model.module("final_norm")(last.to(model.dtype))).float()
    )
    rungs = tuple(
        _rung(model, last_states, layer, read, target, top) for layer in range(model.n_layers)
    )
    embedding = float(read @ last_states["resid_pre.0"])
    total = embedding + constant + sum(rung.attn + rung.mlp for rung in rungs)
    return Lens(
        model=model.name,
        bos=model.with_bos,
        prompt=prompt,
        answer=answer,
        against=against,
        start=_words(model, _said(model, last_states["resid_pre.0"]), top),
        layers=rungs,
        embedding=embedding,
        constant=constant,
        score=score,
        sum_error=abs(total - score),
    )


def _rung(
    model: Model, last: dict[str, Tensor], layer: int, read: Tensor, target: int, top: int
) -> Rung:
    resid, attn, mlp = (last[f"{stem}.{layer}"] for stem in ("resid_post", "attn_out", "mlp_out"))
    through_attn, through_mlp = read, read
    if model.layout.attn_post:
        through_attn = FrozenNorm(model, "attn_post", layer, last[f"attn_raw.{layer}"]).read(read)
    if model.layout.mlp_post:
        through_mlp = FrozenNorm(model, "mlp_post", layer, last[f"mlp_raw.{layer}"]).read(read)
    heads = einsum(model.W_O(layer).float(), last[f"z.{layer}"], through_attn, "h m d, h d, m -> h")
    parts: tuple[NeuronScore, ...] = ()
    updates: tuple[Update, ...] = ()
    if model.has("mlp_act"):
        act, values = last[f"mlp_act.{layer}"], model.W_down(layer).float()
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
    probabilities = _said(model, resid)
    return Rung(
        layer=layer,
        top=_words(model, probabilities, top),
        prob=float(probabilities[target]),
        attn=float(read @ attn),
        mlp=float(read @ mlp),
        heads=tuple(heads.tolist()),
        neurons=parts,
        updates=updates,
    )


def _said(model: Model, resid: Float[Tensor, " d_model"]) -> Float[Tensor, " d_vocab"]:
    """Probabilities of the next token if the model stopped here."""
    return model.unembed(resid.to(model.dtype)).float().softmax(-1)


def _words(model: Model, probabilities: Float[Tensor, " d_vocab"], top: int) -> tuple[Word, ...]:
    best = probabilities.topk(top)
    return tuple(
        Word(model.token_text(i), p)
        for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    )
