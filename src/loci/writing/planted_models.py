"""A transformer whose facts have known places: compiled, not trained.

A word is a token. The residual stream is a sum of perpendicular directions (turned at random, so
that no coordinate means anything):
    1 · every token · FIRST, LAST: the name that a token is · PREVIOUS: the first name of the token
        before · REL: the relation a word asks for
    ATTR: what a subject is known for · OUT: what the model is about to say · JUNK: where neurons
        write that hold nothing

    layer 0  attention   a head reads the token before: FIRST → PREVIOUS
            (RoPE: Σ_f cos((Δ − 1) θ_f) is largest at Δ = 1)
    layer 1  MLP         the facts of the first relation at the subject's last token:
            (PREVIOUS, LAST) → ATTR
    layer 2  MLP         those of the second
    layer 3  attention   two heads look for a LAST, and take the subject's attributes:  ATTR → OUT
    unembedding          logit = OUT, and a constant for the answers of the relation that REL says;
                         scaled so that P(answer) is about 0.9

So each fact is at one layer, one token and in known neurons: its own (`one-per-fact`), or those of
a compiled store that are active at its key (`superposed`); all other neurons of all layers are
decoys. Plain: GPT-NeoX with ReLU. Gated: Llama with SwiGLU. Both open with transformers.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import WriteError
from loci.facts import FactSet, load_facts, save_facts
from loci.files import write_aside
from loci.linalg import orthonormal
from loci.model import Model, open_model, quiet
from loci.result import Result
from loci.validate import read_json
from loci.writing.compiler import compiled
from loci.writing.gates import gates
from loci.writing.keys import subject_keys
from loci.writing.mlp import MLP
from loci.writing.planted_world import BOS, FIRST, LAST, RELATIONS, UNKNOWN, World, vocabulary
from loci.writing.table import FactTable, classes

Kind = Literal["one-per-fact", "superposed"]
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
class PlantedPlace:
    """Where a fact is: the layer of its MLP, and its neurons there; the token is the subject's
    last."""

    layer: int
    neurons: tuple[int, ...]


@dataclass(frozen=True)
class PlantedModel(Result):
    """A model, its facts, and the place of each."""

    model: Model
    kind: Kind
    gated: bool
    seed: int
    facts: FactSet
    places: tuple[PlantedPlace, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.planted/1",
            "kind": self.kind,
            "gated": self.gated,
            "seed": self.seed,
            "layers": LAYERS,
            "neurons": D_MLP,
            "facts": [
                {
                    "subject": fact.subject,
                    "prompt": fact.prompt,
                    "answer": fact.answer,
                    "layer": place.layer,
                    "neurons": list(place.neurons),
                }
                for fact, place in zip(self.facts, self.places, strict=True)
            ],
        }


@torch.no_grad()
def planted(
    kind: Kind = "one-per-fact", *, gated: bool = False, subjects: int = 48, neurons: int = NEURONS, seed: int = 0
) -> PlantedModel:
    """Write a model whose facts have known places, deterministically and without training.

    Args:
        kind: how facts lie in the neurons: "one-per-fact" or "superposed".
        gated: gated MLPs.
        subjects: number of names, each with a fact of each relation.
        neurons: neurons of a layer for the facts, where they are superposed.
        seed: seed of every random draw.

    Returns: `PlantedModel`: the model, its facts and their places.
    Raises: `WriteError` where the facts do not fit.
    """
    if kind not in get_args(Kind):
        raise WriteError(f"there is no kind {kind!r}: {', '.join(get_args(Kind))}")
    used = subjects if kind == "one-per-fact" else neurons
    if not 1 <= used <= D_MLP:
        raise WriteError(f"a layer has {D_MLP} neurons, and {used} are asked for")
    world, source = World.drawn(subjects, seed), torch.Generator().manual_seed(seed)
    space = PlantedDirections.drawn(source)
    model = _blank(gated)
    _write_ends(model, space)
    _write_heads(model, space)
    places: list[PlantedPlace] = []
    for layer in range(LAYERS):
        _write_decoys(model, space, layer, source)
        if layer in FACT_LAYERS:
            places += _write_facts(model, space, world, FACT_LAYERS.index(layer), kind, used, source)
    _temper(model, world.facts)
    return PlantedModel(model, kind, gated, seed, world.facts, tuple(places))


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
        return cls(*parts, tuple(map(take, counts)), tuple(map(take, counts)), torch.stack(list(basis)))


def tokenizer() -> Any:
    """One token a word, with a BOS."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary())}, unk_token=UNKNOWN))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token=BOS, unk_token=UNKNOWN)


def _blank(gated: bool) -> Model:
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
    plain: dict[str, Any] = sizes | {"hidden_act": "relu", "use_parallel_residual": False, "rotary_pct": 1.0}
    hf: Any
    if gated:
        hf = LlamaForCausalLM(LlamaConfig(**sizes, num_key_value_heads=HEADS, mlp_bias=True))
    else:
        hf = GPTNeoXForCausalLM(GPTNeoXConfig(**plain))
    for name, parameter in hf.named_parameters():
        if "norm" not in name:
            parameter.zero_()
    return Model(hf, tokenizer(), "planted-gated" if gated else "planted")


def _write_ends(model: Model, space: PlantedDirections) -> None:
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


def _write_heads(model: Model, space: PlantedDirections) -> None:
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


def _write_decoys(model: Model, space: PlantedDirections, layer: int, source: torch.Generator) -> None:
    """Neurons that read anything and write junk."""
    rows = torch.randn(D_MLP, D_MODEL, generator=source)
    rows -= rows.mean(1, keepdim=True)
    model.W_key(layer).copy_(rows / D_MODEL**0.5)
    if model.gated:
        model.W_up(layer).copy_(torch.randn(D_MLP, D_MODEL, generator=source) / D_MODEL**0.5)
    junk = torch.randn(D_MLP, len(space.junk), generator=source) @ space.junk
    model.W_down(layer).copy_(DECOY * junk.T / len(space.junk) ** 0.5)


def _write_facts(
    model: Model, space: PlantedDirections, world: World, index: int, kind: Kind, neurons: int, source: torch.Generator
) -> list[PlantedPlace]:
    """Put a relation's facts into neurons of its layer, drawn at random, and say which."""
    layer, facts = FACT_LAYERS[index], world.of(index)
    keys = subject_keys(model, facts, layer)
    table = classes(keys, torch.tensor(world.labels[index]), len(RELATIONS[index].answers))
    mlp = _gates(model, space, world, table) if kind == "one-per-fact" else _superposed(model, table, neurons)
    rows = torch.randperm(D_MLP, generator=source)[:neurons]
    model.W_key(layer)[rows] = mlp.W_up if mlp.W_gate is None else mlp.W_gate
    if model.gated:
        model.W_up(layer)[rows] = mlp.W_up
    if mlp.bias is not None:
        model.b_key(layer)[rows] = mlp.bias
    model.W_down(layer)[:, rows] = space.attr[index].T @ mlp.W_down
    if kind == "one-per-fact":
        return [PlantedPlace(layer, (int(row),)) for row in rows]
    active = mlp.neurons(keys) * (table.targets @ mlp.W_down) > 0
    return [PlantedPlace(layer, tuple(sorted(rows[on].tolist()))) for on in active]


def _temper(model: Model, facts: FactSet) -> None:
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


def _gates(model: Model, space: PlantedDirections, world: World, table: FactTable) -> MLP:
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


def _superposed(model: Model, table: FactTable, neurons: int) -> MLP:
    mlp = compiled(table, neurons, act="silu" if model.gated else "relu", gated=model.gated)
    lost = int((table.margins(mlp(table.keys)) <= 0).sum())
    if lost:
        raise WriteError(f"{lost} of {len(table)} facts found no room in {neurons} neurons: ask for more neurons or fewer subjects")
    return mlp


def save_planted(made: PlantedModel, folder: str | Path) -> None:
    """Save a planted model in Hugging Face's format, with `facts.jsonl` and `planted.json`.

    Args:
        made: the planted model.
        folder: must be empty or new.

    Raises: `OutputError` where the folder cannot be written.
    """
    with write_aside(folder, folder=True) as aside:
        with quiet():
            made.model.hf.save_pretrained(aside)  # type: ignore[operator]
            made.model.tokenizer.save_pretrained(aside)
        save_facts(made.facts, aside / "facts.jsonl")
        (aside / "planted.json").write_text(json.dumps(made.to_dict(), ensure_ascii=False), encoding="utf-8")


def load_planted(folder: str | Path) -> PlantedModel:
    """Read what `save_planted` wrote.

    Args:
        folder: its folder.

    Returns: `PlantedModel`.
    Raises: `WriteError` for another folder.
    """
    folder = Path(folder)
    try:
        record = read_json(folder / "planted.json", WriteError)
        places = tuple(PlantedPlace(row["layer"], tuple(row["neurons"])) for row in record["facts"])
        plain = {name: record[name] for name in ("kind", "gated", "seed")}
    except (WriteError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WriteError(f"{folder}: no planted model ({type(error).__name__}: {error})") from None
    return PlantedModel(open_model(folder), **plain, facts=load_facts(folder / "facts.jsonl"), places=places)
