"""loci circuits train, small: models of 0, 1 and 2 layers from nothing, and what they show."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import bar, check_out, finish, takes, written
from loci.cli.options import JSON, OUT, SEED, TEXT, Optimizer, Phenomenon, number, whole

FOLDER = Annotated[
    Path, typer.Option("--out", "-o", help="folder to save the model in, in Hugging Face form")
]
D_HEAD = Annotated[int, whole("dimensions of a head; the stream has heads · d_head", high=10_000)]
OPTIMIZER = Annotated[Optimizer, typer.Option(help="adam, or sgd: plain, without momentum")]
RATE = Annotated[
    float | None,
    number("learning rate, above 0; by default what suits the optimizer", high=1e3),
]
FIGURE = Annotated[
    Path | None,
    typer.Option(help="write the course of training: .html, .png, .svg, .json or .parquet"),
]
MINUTES: dict[Phenomenon, float] = {
    "bigrams": 1,
    "skips": 3,
    "induction": 3,
    "phase": 3,
    "sizes": 20,
    "bases": 4,
}
"""Of one core, for 1,200 steps of the models that each takes."""


def train(
    folder: FOLDER,
    layers: Annotated[int, whole("layers of attention", "--layers", "-l", low=0, high=2)] = 2,
    heads: Annotated[int, whole("heads of a layer", high=10_000)] = 4,
    d_head: D_HEAD = 16,
    mlp: Annotated[int, whole("neurons of a layer's MLP; 0: attention only", low=0)] = 0,
    optimizer: OPTIMIZER = "adam",
    rate: RATE = None,
    steps: Annotated[int, whole("steps of training")] = 1200,
    batch: Annotated[int, whole("windows of a step")] = 64,
    context: Annotated[int, whole("tokens of a window", low=2, high=100_000)] = 64,
    text: TEXT = None,
    figure: FIGURE = None,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Train an attention-only transformer (or one with a tiny MLP) on text made on the spot, or on
    your own, and save it.

    Made text has names that come back and frames such as "keep … in mind". The model opens with
    every other verb (-m FOLDER) and with plain transformers; training.json beside it has what was
    measured along the way. Ctrl-C saves what was learnt by then.

    Examples:

        loci circuits train --layers 2 --out two

        loci circuits train --layers 1 --heads 32 --d-head 2 --out fine

        loci circuits train --layers 2 --text book.txt --steps 4000 --out book
    """
    from loci.studies.attention_only import Recipe
    from loci.studies.attention_only import train as learn

    check_out(figure)
    recipe = Recipe(
        layers=layers,
        heads=heads,
        d_head=d_head,
        mlp=mlp,
        optimizer=optimizer,
        rate=rate,
        steps=steps,
        batch=batch,
        context=context,
        seed=seed,
    )
    with bar("training") as progress:
        result = learn(recipe, folder, text, progress)
    written(folder)
    finish(result, figure, json)


def small(
    what: Annotated[Phenomenon, typer.Argument(help="what is shown")],
    models: Annotated[
        Path | None, typer.Option(help="keep the models in this folder, and find them there again")
    ] = None,
    steps: Annotated[
        int | None, whole("steps of training; by default what the phenomenon needs")
    ] = None,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Train the small models that show a phenomenon from scratch (minutes), then show it.

    bigrams: a model of no layers is its text's table of bigrams · skips: skip-trigrams of one
    layer, and their bug · induction: two layers compose · phase: in-context learning comes with
    prefix matching, in two layers only · sizes: heads of 1 to 64 dimensions · bases: coordinates
    under Adam and plain SGD.

    Examples:

        loci circuits small bigrams --out bigrams.html

        loci circuits small induction --models small --out induction.html
    """
    from loci.studies.attention_only import phenomenon

    check_out(out)
    if models is None or not models.exists():
        takes(MINUTES[what] * 60 * (1.0 if steps is None else steps / 1200))
    with bar("training") as progress:
        result = phenomenon(what, models, steps=steps, seed=seed, progress=progress)
    finish(result, out, json)
