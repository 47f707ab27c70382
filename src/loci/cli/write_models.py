"""loci write planted and install: facts written into whole transformers."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import bar, check_new, check_out, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    FACTS,
    JSON,
    OUT,
    SEED,
    PlantedKind,
    check_layers,
    whole,
)
from loci.cli.options import layer as layer_option


def planted(
    folder: Annotated[
        Path | None,
        typer.Option("--save", help="write the model, its facts and their places to this folder"),
    ] = None,
    kind: Annotated[
        PlantedKind, typer.Option(help="a neuron a fact, or superposed: a compiled store")
    ] = "one-per-fact",
    gated: Annotated[
        bool, typer.Option("--gated", help="a Llama with SwiGLU, not a GPT-NeoX with ReLU")
    ] = False,
    subjects: Annotated[int, whole("names, with two facts each")] = 48,
    neurons: Annotated[int, whole("superposed: the neurons that a layer's facts share")] = 24,
    score: Annotated[
        bool,
        typer.Option("--score", help="score Loci's methods of locating against the planted places"),
    ] = False,
    count: Annotated[int, whole("with --score: how many facts to ask each method for")] = 20,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """A small transformer whose facts have known places, written and not trained; it opens like any
    model.

    Examples:

        loci write planted --kind superposed --save planted

        loci trace "Usain Ali plays" --subject "Usain Ali" -m planted

        loci write planted --kind superposed --gated --score
    """
    from loci.writing import planted as make
    from loci.writing import save_planted

    check_out(out)
    check_new(folder)
    made = make(kind, gated=gated, subjects=subjects, neurons=neurons, seed=seed)
    if folder is not None:
        save_planted(made, folder)
        written(folder)
    if not score:
        finish(made, out, json)
        return
    from loci.auditing import score_locators

    with bar("locating") as progress:
        result = score_locators(made, count=count, seed=seed, progress=progress)
    finish(result, out, json)


@opens()
def install(
    facts: FACTS = None,
    count: Annotated[
        int, whole("without --facts: so many facts about people whom nobody knows")
    ] = 200,
    layer: Annotated[int, layer_option("whose MLP gets the neurons", "--layer", "-l")] = 1,
    patch: Annotated[Path | None, typer.Option(help="write the patch, .safetensors")] = None,
    save: Annotated[Path | None, typer.Option(help="write the wider model to this folder")] = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """New facts into a model, by neurons added to one MLP, without gradients.

    Examples:

        loci write install --count 50

        loci write install --facts new.csv --layer 1 --save wider

        loci write install --patch people.safetensors --seed 7

        loci patch apply people.safetensors -o wider
    """
    from loci.facts import known_facts, load_facts
    from loci.patches import apply_to_folder
    from loci.writing import install as make
    from loci.writing import new_facts

    check_out(out)
    check_new(patch, ".safetensors")
    check_new(save)
    wanted = list(load_facts(facts)) if facts else new_facts(known_facts(), count, seed)
    opened = opening.open()
    check_layers(opened, layer)
    with bar("installing") as progress:
        result = make(opened, wanted, layer, progress=progress)
    if save is not None:
        apply_to_folder(result.patch, opened, save)
        written(save)
    if patch is not None:
        result.patch.save(patch)
        written(patch)
    finish(result, out, json)
