"""loci sparsity: how many neurons are active, and how privileged each basis is."""

from typing import Annotated

import typer

from loci.cli.common import bar, check_out, finish, texts_of
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, OUT, SEED, TEXT, TOKENS_READ, number, whole


@opens()
def run(
    text: TEXT = None,
    tokens: Annotated[int, TOKENS_READ] = 20_000,
    threshold: Annotated[
        float | None,
        number("a neuron is active above this; by default 0 with ReLU, else 0.01 of the largest"),
    ] = None,
    relative: Annotated[
        bool | None,
        typer.Option(
            "--relative/--absolute",
            help="the threshold is a share of the layer's largest at the token, or not",
        ),
    ] = None,
    basis: Annotated[
        bool,
        typer.Option("--basis", help="kurtosis of each basis beside random rotations, instead"),
    ] = False,
    top: Annotated[int, whole("how many tokens to show")] = 10,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Share of active neurons by layer and by token, whether skipping the others changes anything,
    and the FLOPs it saves.

    Examples:

        loci sparsity

        loci sparsity -m ./my-model --relative --threshold 0.05 --text sentences.txt

        loci sparsity --basis --out basis.html
    """
    from loci.reading.activation_sparsity import sparsity
    from loci.reading.privileged_basis import bases

    check_out(out)
    opened = opening.open()
    chosen = texts_of(opened, text, tokens)
    if basis:
        with bar("kurtosis") as progress:
            result = bases(opened, chosen, seed=seed, progress=progress)
        finish(result, out, json)
        return
    with bar("counting") as progress:
        counted = sparsity(
            opened, chosen, threshold=threshold, relative=relative, top=top, progress=progress
        )
    finish(counted, out, json)
