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
from typing import Any, ClassVar, Literal, get_args

import torch

from loci.errors import WriteError
from loci.facts import FactSet, load_facts, save_facts
from loci.files import write_aside
from loci.model import Model, open_model, quiet
from loci.result import About, Result
from loci.tables import Table, columns
from loci.validate import read_json
from loci.writing.keys import subject_keys
from loci.writing.planted_weights import (
    D_MLP,
    FACT_LAYERS,
    LAYERS,
    NEURONS,
    PlantedDirections,
    blank_transformer,
    one_neuron_per_fact,
    superposed,
    temper,
    write_decoys,
    write_embeddings,
    write_heads,
)
from loci.writing.planted_world import RELATIONS, World
from loci.writing.table import classes

Kind = Literal["one-per-fact", "superposed"]


@dataclass(frozen=True)
class PlantedPlace:
    """Where a fact is: the layer of its MLP, and its neurons there; the token is the subject's
    last."""

    layer: int
    neurons: tuple[int, ...]


@dataclass(frozen=True)
class PlantedModel(Result):
    """A model, its facts, and the place of each."""

    about: ClassVar[About] = About(
        "a planted model",
        "A transformer whose facts have known places.",
    )

    model: Model
    kind: Kind
    gated: bool
    seed: int
    facts: FactSet
    places: tuple[PlantedPlace, ...]

    def summary(self) -> tuple[str, ...]:
        return (f"{len(self.facts)} facts, whose layers and neurons stand in planted.json.",)

    def title(self) -> str:
        shared = "a neuron of its own each" if self.kind == "one-per-fact" else "in shared neurons"
        return f"{self.model.name}: {len(self.facts)} planted facts, {shared}"

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (fact.text, fact.answer, str(place.layer), ", ".join(map(str, place.neurons)))
            for fact, place in zip(self.facts, self.places, strict=True)
        )
        return (
            Table(
                "Facts and their places",
                columns("prompt", "answer", "layer", "neurons"),
                rows,
                note="at the subject's last token; all other neurons are decoys",
                shown=8,
            ),
        )

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
    kind: Kind = "one-per-fact",
    *,
    gated: bool = False,
    subjects: int = 48,
    neurons: int = NEURONS,
    seed: int = 0,
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
    model = blank_transformer(gated)
    write_embeddings(model, space)
    write_heads(model, space)
    places: list[PlantedPlace] = []
    for layer in range(LAYERS):
        write_decoys(model, space, layer, source)
        if layer in FACT_LAYERS:
            places += _write_facts(
                model, space, world, FACT_LAYERS.index(layer), kind, used, source
            )
    temper(model, world.facts)
    return PlantedModel(model, kind, gated, seed, world.facts, tuple(places))


def _write_facts(
    model: Model,
    space: PlantedDirections,
    world: World,
    index: int,
    kind: Kind,
    neurons: int,
    source: torch.Generator,
) -> list[PlantedPlace]:
    """Put a relation's facts into neurons of its layer, drawn at random, and say which."""
    layer, facts = FACT_LAYERS[index], world.of(index)
    keys = subject_keys(model, facts, layer)
    table = classes(keys, torch.tensor(world.labels[index]), len(RELATIONS[index].answers))
    mlp = (
        one_neuron_per_fact(model, space, world, table)
        if kind == "one-per-fact"
        else superposed(model, table, neurons)
    )
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
        (aside / "planted.json").write_text(
            json.dumps(made.to_dict(), ensure_ascii=False), encoding="utf-8"
        )


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
    return PlantedModel(
        open_model(folder), **plain, facts=load_facts(folder / "facts.jsonl"), places=places
    )
