"""loci dictionaries graph: how a prompt becomes its answer."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import bar, check_new, check_out, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    AGAINST,
    ANSWER,
    JSON,
    OUT,
    PROMPT,
    whole,
    words,
)

TRANSCODER = Annotated[
    list[str] | None,
    words(
        "a layer's transcoder, whose features are nodes instead of its neurons; say it again"
        " for more",
        "--transcoder",
    ),
]
FOLLOWED = Annotated[
    int,
    whole("units whose inputs are computed, the most influential first", "--followed", high=10_000),
]
TESTED = Annotated[
    int, whole("units that are taken out in the real model", "--tested", low=0, high=10_000)
]
EXPORT = Annotated[
    Path | None,
    typer.Option("--export", help="a .json for circuit-tracer's front end and Neuronpedia"),
]


@opens()
def graph(
    prompt: PROMPT,
    answer: ANSWER = None,
    against: AGAINST = None,
    transcoder: TRANSCODER = None,
    followed: FOLLOWED = 128,
    tested: TESTED = 24,
    export: EXPORT = None,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """How a prompt becomes its answer: a graph of exact linear effects over plain neurons, or over
    transcoders' features.

    Attention, norms and slopes are held. Everything that goes into a node sums to it; interventions
    in the real model say how far to trust the graph.

    Examples:

        loci dictionaries graph "Michael Jordan plays the sport of"

        loci dictionaries graph "Michael Jordan plays the sport of" -a basketball --against tennis

        loci dictionaries graph "Michael Jordan plays" --transcoder mlp_out.1.safetensors
    """
    from loci.dictionaries import attribution_graph, export_graph, load_dictionary
    from loci.dictionaries.conventions import placed
    from loci.errors import DictionaryError

    check_out(out)
    check_new(export, ".json")
    loaded = [(path, load_dictionary(path, pickle=opening.pickle)) for path in transcoder or ()]
    opened = opening.open()
    chosen = {}
    for path, each in loaded:
        each = placed(each, opened, path)
        layer = str(each.point).partition(".")[2]
        if not layer or not each.transcoder:
            raise DictionaryError(
                f"{path}: a graph takes transcoders; this is an autoencoder of {each.point}"
            )
        chosen[int(layer)] = each
    with bar("following units") as progress:
        result = attribution_graph(
            opened,
            prompt,
            answer,
            against=against,
            transcoders=chosen,
            followed=followed,
            tested=tested,
            progress=progress,
        )
    if export is not None:
        export_graph(result, export)
        written(export)
    finish(result, out, json)
