"""loci ask: what a model says."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import CHAT, FACTS, JSON, OUT, SEED, SHOTS, check_top, whole
from loci.errors import FactError

PROMPTS = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PROMPT", help="one prompt or several, each up to where the answer comes"
    ),
]
PATCH = Annotated[
    Path | None, typer.Option("--patch", help="a patch to put on the model meanwhile")
]
TOKENS = Annotated[int, whole("most tokens of a continuation", "--tokens", "-n", high=4096)]


@opens()
def run(
    prompts: PROMPTS = None,
    facts: FACTS = None,
    patch: PATCH = None,
    tokens: TOKENS = 12,
    top: Annotated[int, whole("how many next tokens to show", "--top", "-k", low=0)] = 5,
    shots: SHOTS = 0,
    chat: CHAT = False,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Ask a model a plain question: its greedy continuation, how sure it is, and what else it might
    have said.

    With a fact file its prompts are asked, and it is said how many of the old and of the new
    answers come.

    Examples:

        loci ask "Michael Jordan plays the sport of"

        loci ask "Michael Jordan plays the sport of" --patch jordan.safetensors

        loci ask --facts corrections.csv -m edited

        loci ask "What is the capital of France?" --chat -m smollm2-135m
    """
    from loci.auditing import ask
    from loci.facts import Fact, load_facts
    from loci.model import Frame
    from loci.patches import load_patch

    if not (prompts or facts):
        raise FactError("say a prompt, or --facts FILE")
    if prompts and shots:
        raise FactError(
            "--shots are other facts of a fact's relation: say --facts FILE, and no prompt"
        )
    check_out(out)
    given = load_facts(facts) if facts is not None else []
    loaded = load_patch(patch) if patch is not None else None
    opened = opening.open()
    check_top(opened, top)
    frame = Frame(shots, chat, seed)
    asked: list[str | Fact] = [
        *(frame.text(opened, prompt) for prompt in prompts or ()),
        *frame.facts(opened, given),
    ]
    result = ask(opened, asked, patch=loaded, tokens=tokens, top=top)
    finish(replace(result, shots=shots, chat=chat), out, json)
