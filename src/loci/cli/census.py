"""loci census: how many parameters, and where."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import check_out, finish
from loci.cli.options import JSON, OUT, words
from loci.errors import ModelError

MODEL = Annotated[
    str | None,
    words(
        "`demo`, a folder (its weights may be missing), or a hub id",
        "--model",
        "-m",
        kind="MODEL",
    ),
]
CONFIG = Annotated[
    str | None,
    words(
        "a config.json, a published shape, or a model type of transformers",
        "--config",
        "-c",
        kind="CONFIG",
    ),
]
LAYOUT = Annotated[
    Path | None,
    typer.Option(help="where the parts are, for an unknown family: JSON of loci.Layout"),
]
TRUST_REMOTE_CODE = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="run the checkpoint's own code, which you trust"),
]


def run(
    model: MODEL = None,
    config: CONFIG = None,
    layout: LAYOUT = None,
    trust_remote_code: TRUST_REMOTE_CODE = False,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Parameters by part, share of the MLPs, questions asked per layer, FLOPs per token, memory; no
    weights are read.

    Published shapes: gpt3-125m, gpt3-350m, gpt3-760m, gpt3-2.7b, gpt3-6.7b, gpt3-175b.

    Examples:

        loci census

        loci census --config gpt3-175b

        loci census --config llama

        loci census -m ./my-model --json
    """
    from loci.cli.opening import layout_from
    from loci.model.open import open_empty
    from loci.model.parameter_counts import PUBLISHED, census, published
    from loci.model.sources import check_config

    if model is not None and config is not None:
        raise ModelError("say either --model or --config")
    check_out(out)
    check_config(config)
    if config in PUBLISHED:
        result = published(config)
    else:
        result = census(
            open_empty(
                model or config or "demo",
                layout=layout_from(layout),
                trust_remote_code=trust_remote_code,
            )
        )
    finish(result, out, json)
