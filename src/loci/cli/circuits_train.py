"""loci circuits train, small: models of 0, 1 and 2 layers from nothing, and what they show."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import JSON, OUT, SEED, TEXT, bar, check_out, finish


def train(
    folder: Annotated[Path, typer.Option("--out", "-o", help="folder to save the model in, in Hugging Face form")],
    layers: Annotated[int, typer.Option("--layers", "-l", help="layers of attention: 0, 1 or 2")] = 2,
    heads: Annotated[int, typer.Option(help="heads of a layer")] = 4,
    d_head: Annotated[int, typer.Option(help="dimensions of a head; the stream has heads · d_head")] = 16,
    mlp: Annotated[int, typer.Option(help="neurons of a layer's MLP; 0: attention only")] = 0,
    optimizer: Annotated[str, typer.Option(help="adam, or sgd: plain, without momentum")] = "adam",
    rate: Annotated[float | None, typer.Option(help="learning rate; by default what suits the optimizer")] = None,
    steps: Annotated[int, typer.Option(help="steps of training")] = 1200,
    batch: Annotated[int, typer.Option(help="windows of a step")] = 64,
    context: Annotated[int, typer.Option(help="tokens of a window")] = 64,
    text: TEXT = None,
    figure: Annotated[Path | None, typer.Option(help="write the course of training: .html, .png, .svg, .json or .parquet")] = None,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Train an attention-only transformer (or one with a tiny MLP) on text made on the spot, or on your own, and save it.

    Made text has names that come back and frames such as "keep … in mind". The model opens with every other verb (-m FOLDER) and with plain
    transformers; training.json beside it has what was measured along the way. Ctrl-C saves what was learnt by then.

    Examples:

        loci circuits train --layers 2 --out two

        loci circuits train --layers 1 --heads 32 --d-head 2 --out fine

        loci circuits train --layers 2 --text book.txt --steps 4000 --out book
    """
    from loci.circuits.small import Recipe
    from loci.circuits.small import train as learn

    check_out(figure)
    recipe = Recipe(
        layers=layers, heads=heads, d_head=d_head, mlp=mlp, optimizer=optimizer, rate=rate, steps=steps, batch=batch, context=context, seed=seed
    )  # fmt: skip
    with bar("training") as progress:
        found = learn(recipe, folder, text, progress)
    finish(found, figure, json)


def small(
    what: Annotated[str, typer.Argument(help="bigrams, skips, induction, phase, sizes or bases")],
    models: Annotated[Path | None, typer.Option(help="keep the models in this folder, and find them there again")] = None,
    steps: Annotated[int | None, typer.Option(help="steps of training; by default what the phenomenon needs")] = None,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """What small models show, each from nothing: train the models that it takes (minutes), then look.

    bigrams: a model of no layers is its text's table of bigrams · skips: skip-trigrams of one layer, and their bug · induction: two layers compose
    · phase: in-context learning comes with prefix matching, in two layers only · sizes: heads of 1 to 64 dimensions · bases: coordinates
    under Adam and plain SGD.

    Examples:

        loci circuits small bigrams --out bigrams.html

        loci circuits small induction --models small --out induction.html
    """
    from loci.circuits.small import phenomenon

    check_out(out)
    with bar("training") as progress:
        found = phenomenon(what, models, steps=steps, seed=seed, progress=progress)
    finish(found, out, json)
