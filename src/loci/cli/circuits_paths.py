"""loci circuits paths: an answer's score as a sum over paths; edges between two parts."""

from pathlib import Path
from typing import Annotated, Any

import typer

from loci.cli.common import answer_from, bar, check_out, filled, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    AGAINST,
    ANSWER,
    JSON,
    LAYERS,
    OUT,
    SUBJECT,
    TOP,
    number,
    said,
    whole,
    words,
)
from loci.errors import CircuitError

SHOWN = Annotated[int, TOP]


ORDER = Annotated[
    int | None,
    whole(
        "heads that a path may pass, beyond which all is one remainder; default: all",
        low=0,
        high=LAYERS,
    ),
]
SINGLE = Annotated[int, whole("list single paths of at most so many heads", low=0, high=LAYERS)]
CORRUPTED = Annotated[
    str | None,
    words("another prompt of as many tokens: patch the edges between parts", kind="PROMPT"),
]
SENDER = Annotated[
    str | None,
    words("with --corrupted: one edge alone, from embed, L0H3 or L0MLP", "--from", kind="PART"),
]
RECEIVER = Annotated[str | None, words("… to L1H3.q, .k, .v, L1MLP or logits", "--to", kind="PART")]
IMPORTANCE = Annotated[
    bool,
    typer.Option("--importance", help="the loss over text when paths of more heads are removed"),
]
TEXT = Annotated[Path | None, typer.Option("--text", help="with --importance: text to run on")]


@opens()
def paths(
    prompt: Annotated[str | None, said("a prompt; not for --importance", "PROMPT")] = None,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    against: AGAINST = None,
    order: ORDER = None,
    single: SINGLE = 2,
    memory: Annotated[float, number("GiB that listing them may take", high=1e6)] = 1.0,
    corrupted: CORRUPTED = None,
    sender: SENDER = None,
    receiver: RECEIVER = None,
    importance: IMPORTANCE = False,
    text: TEXT = None,
    top: SHOWN = 20,
    *,
    opening: Opening,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """An answer's score as a sum over paths through heads; the worth of each order; edges between
    any two parts.

    Examples:

        loci circuits paths "Michael Jordan plays the sport of" --against baseball

        loci circuits paths "Osaka is a city in" --corrupted "Lyon is a city in" --out edges.html

        loci circuits paths --importance
    """
    from loci.circuits import PromptPair, edges, order_losses
    from loci.circuits import paths as split

    if prompt == corrupted is not None:
        raise CircuitError("--corrupted is the prompt itself: nothing that it says is different")
    if not importance:
        if prompt is None or not prompt.strip():
            raise CircuitError("say a prompt, or --importance")
        if corrupted is None and (sender or receiver):
            raise CircuitError(
                "--from and --to need --corrupted: what would the sender say otherwise?"
            )
        if (sender is None) != (receiver is None):
            raise CircuitError("an edge has two ends: say --from and --to")
    check_out(out)
    opened = opening.open()
    if importance:
        from loci.text import read_texts

        texts = list(read_texts(text)) if text else None
        with bar("removing orders") as progress:
            finish(order_losses(opened, texts, progress=progress), out, json)
        return
    prompt = filled(prompt or "", subject)
    said = answer_from(opened, prompt, answer)
    if corrupted is None:
        limits: dict[str, Any] = {"highest": order, "single": single, "top": top, "memory": memory}
        finish(split(opened, prompt, said, against=against, **limits), out, json)
    elif sender is None or receiver is None:
        finish(edges(opened, prompt, corrupted, said, against=against, top=top), out, json)
    else:
        finish(
            PromptPair(opened, prompt, corrupted, said, against).edge(sender, receiver), out, json
        )
