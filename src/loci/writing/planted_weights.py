"""The weights of a planted model: directions, embeddings, heads, decoys and stores.

    directions   an orthonormal basis of the complement of (1, …, 1), dealt out to what the stream
                 says
    heads        W_QK: SHARPNESS on the direction looked for; W_OV: read directions → write
                 directions
    decoys       Gaussian keys, and values in directions that nothing reads
    facts        (PREVIOUS, LAST) → ATTR: a gate a fact, or a compiled store

`planted_models` says how they work together.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import WriteError
from loci.facts import FactSet
from loci.linalg import orthonormal
from loci.model import Model
from loci.model.families import LAYOUTS
from loci.writing.compiler import compiled
from loci.writing.gates import gates
from loci.writing.mlp import MLP
from loci.writing.planted_world import BOS, FIRST, LAST, RELATIONS, UNKNOWN, World, vocabulary
from loci.writing.table import FactTable

LAYERS, D_MODEL, D_MLP, HEADS, CONTEXT = 5, 128, 128, 4, 64
FACT_LAYERS, ASKING = (1, 2), 3
NEURONS = 24
ALWAYS = 4.0
"""Length of what every token has: it keeps the norms of tokens alike."""
SHARPNESS, LOGIT, ASKED, DECOY = 60.0, 20.0, 40.0, 0.05
SURE = 0.9
SHARP = 20.0
"""Of the gates in a SwiGLU, where SiLU is nearly a ReLU."""


@dataclass(frozen=True)
class PlantedDirections:
    """Perpendicular directions of unit length, as rows."""

    always: Float[Tensor, "1 d_model"]
    first: Float[Tensor, "first d_model"]
    previous: Float[Tensor, "first d_model"]
    last: Float[Tensor, "last d_model"]
    rel: Float[Tensor, "relation d_model"]
    attr: tuple[Float[Tensor, "answer d_model"], ...]
    out: tuple[Float[Tensor, "answer d_model"], ...]
    junk: Float[Tensor, "junk d_model"]

    @classmethod
    def drawn(cls, source: torch.Generator) -> "PlantedDirections":
        """A random basis of what is perpendicular to (1, …, 1), which a LayerNorm takes away."""
        rows = torch.randn(D_MODEL, D_MODEL, generator=source, dtype=torch.float64)
        rows[0] = 1
        basis = iter(orthonormal(rows.T)[0].T[1:].float())

        def take(count: int) -> Tensor:
            return torch.stack([next(basis) for _ in range(count)])

        counts = [len(relation.answers) for relation in RELATIONS]
        parts = take(1), take(len(FIRST)), take(len(FIRST)), take(len(LAST)), take(len(RELATIONS))
        return cls(
            *parts, tuple(map(take, counts)), tuple(map(take, counts)), torch.stack(list(basis))
        )


def tokenizer() -> Any:
    """One token a word, with a BOS."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary())}, unk_token=UNKNOWN)
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=BOS, unk_token=UNKNOWN)


def blank_transformer(gated: bool) -> Model:
    """The architecture, with all matrices and biases 0."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    sizes: dict[str, Any] = {
        "vocab_size": len(vocabulary()),
        "hidden_size": D_MODEL,
        "intermediate_size": D_MLP,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 1,
    }
    plain: dict[str, Any] = sizes | {
        "hidden_act": "relu",
        "use_parallel_residual": False,
        "rotary_pct": 1.0,
    }
    hf: Any
    if gated:
        hf = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=HEADS, mlp_bias=True))
    else:
        hf = GPTNeoXForCausalLM(GPTNeoXConfig(**plain))
    for name, parameter in hf.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    family = "llama" if gated else "neox-sequential"
    row = next(
        layout for layout in LAYOUTS if layout.family == family
    )  # said: of zeros, other rows hold as well
    return Model(hf, tokenizer(), "planted-gated" if gated else "planted", row)


def write_embeddings(model: Model, space: PlantedDirections) -> None:
    """Embedding and unembedding."""
    ids = {word: i for i, word in enumerate(vocabulary())}
    W_E, W_U = model.W_E, model.W_U
    W_E += ALWAYS * space.always
    for names, rows in ((FIRST, space.first), (LAST, space.last)):
        for name, row in zip(names, rows, strict=True):
            W_E[ids[name]] += row
    for relation, asked, out in zip(RELATIONS, space.rel, space.out, strict=True):
        for word in (relation.word, relation.synonym):
            W_E[ids[word]] += asked
        for answer, row in zip(relation.answers, out, strict=True):
            W_U[ids[answer]] += LOGIT * row + ASKED * asked


def write_heads(model: Model, space: PlantedDirections) -> None:
    """The head that reads the token before, and those that read the subject."""
    half = model.d_head // 2
    theta = 10000.0 ** (-torch.arange(half) / half)
    strength = (SHARPNESS * model.d_head**0.5) ** 0.5 / _scale(1) / ALWAYS
    model.W_K(0)[0, :half] += strength * space.always
    model.W_Q(0)[0, :half] += strength * theta.cos()[:, None] * space.always
    model.W_Q(0)[0, half:] -= strength * theta.sin()[:, None] * space.always
    _carry(model, 0, 0, space.first, space.previous, 1)
    slow = half - 1
    for head, (attr, out) in enumerate(zip(space.attr, space.out, strict=True)):
        model.W_Q(ASKING)[head, slow] += strength * space.always[0]
        model.W_K(ASKING)[head, slow] += strength * ALWAYS * space.last.sum(0)
        _carry(model, ASKING, head, attr, out, 1)


def _carry(model: Model, layer: int, head: int, read: Tensor, write: Tensor, length: float) -> None:
    """Let a head write along some directions what it finds along others, at the length that it had
    in the stream."""
    model.W_V(layer)[head, : len(read)] += read / _scale(length)
    model.W_O(layer)[head, :, : len(read)] += write.T


def _scale(length: float) -> float:
    """By what a norm multiplies a stream that holds what every token has and something of this
    length besides."""
    return float((D_MODEL / (ALWAYS**2 + length**2)) ** 0.5)


def write_decoys(
    model: Model, space: PlantedDirections, layer: int, source: torch.Generator
) -> None:
    """Neurons that read anything and write junk."""
    rows = torch.randn(D_MLP, D_MODEL, generator=source)
    rows -= rows.mean(1, keepdim=True)
    model.W_key(layer).copy_(rows / D_MODEL**0.5)
    if model.gated:
        model.W_up(layer).copy_(torch.randn(D_MLP, D_MODEL, generator=source) / D_MODEL**0.5)
    junk = torch.randn(D_MLP, len(space.junk), generator=source) @ space.junk
    model.W_down(layer).copy_(DECOY * junk.T / len(space.junk) ** 0.5)


def temper(model: Model, facts: FactSet) -> None:
    """Scale the unembedding so that half of the facts are answered with P ≥ `SURE`: where P is
    1, nothing that one takes away shows."""
    logits = torch.cat([model(model.ids([model.tokenize(fact.text).ids]))[:, -1] for fact in facts])
    answers = torch.tensor([model.tokenizer.convert_tokens_to_ids(fact.answer) for fact in facts])
    low, high = 1e-4, 1.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        sure = float((logits * middle).softmax(-1).gather(1, answers[:, None]).median())
        low, high = (low, middle) if sure > SURE else (middle, high)
    model.W_U.mul_(high)


def one_neuron_per_fact(
    model: Model, space: PlantedDirections, world: World, table: FactTable
) -> MLP:
    """A neuron a fact: an AND of the two names, as in the lesson, with the bias −1.5 between one
    name and both."""
    rows = torch.stack([space.previous[i] + space.last[j] for i, j in world.subjects])
    rows = rows / ((table.keys * rows).sum(1, keepdim=True) / 2)
    plain = gates(rows, 2 * table.targets, -1.5)
    if not model.gated:
        return plain
    always = space.always / (table.keys @ space.always.T).mean()
    up = always.expand_as(rows).contiguous() / SHARP
    return MLP("silu", up, plain.W_down, SHARP * plain.tensors["bias"], SHARP * rows)


def superposed(model: Model, table: FactTable, neurons: int) -> MLP:
    mlp = compiled(table, neurons, act="silu" if model.gated else "relu", gated=model.gated)
    lost = int((table.margins(mlp(table.keys)) <= 0).sum())
    if lost:
        raise WriteError(
            f"{lost} of {len(table)} facts found no room in {neurons} neurons: ask for more "
            "neurons or fewer subjects"
        )
    return mlp
