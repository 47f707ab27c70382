"""loci directions: what pairs of words have in common, and what adding it to the stream does."""

from typing import Annotated

import typer

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    FACTS,
    JSON,
    OUT,
    SEED,
    check_layers,
    check_top,
    number,
    said,
    whole,
    words,
)
from loci.cli.options import layer as layer_option
from loci.errors import FactError

PAIRS = Annotated[
    list[str] | None, said('pairs of words or prompts: "woman,man" "queen,king"', "PAIRS")
]
RELATION = Annotated[
    str | None,
    words(
        "instead of pairs: answer and subject of all facts of a relation",
        "--relation",
        "-r",
        kind="RELATION",
    ),
]
POINT = Annotated[
    str, words("where the words are read: embed, or as in resid_post.3", kind="POINT")
]
PROMPT = Annotated[
    list[str] | None,
    words("steer this prompt with the direction; may be said again", "--prompt", "-p"),
]
LAYER = Annotated[
    int | None, layer_option("add the direction after this layer, to steer", "--layer", "-l")
]
STRENGTH = Annotated[float, number("how many times the direction is added", low=-1e6, high=1e6)]
EVERYWHERE = Annotated[
    bool,
    typer.Option("--everywhere", help="add it at all tokens of the prompt, not at the last alone"),
]
TARGET = Annotated[
    list[str] | None, words("a word whose probability is shown", "--target", "-t", kind="WORD")
]


@opens()
def run(
    pairs: PAIRS = None,
    relation: RELATION = None,
    facts: FACTS = None,
    point: POINT = "embed",
    prompt: PROMPT = None,
    layer: LAYER = None,
    strength: STRENGTH = 1.0,
    everywhere: EVERYWHERE = False,
    target: TARGET = None,
    top: Annotated[int, whole("how many tokens to show")] = 10,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """The direction a − b of pairs: do they agree, does it solve held-out analogies, what does it
    promote. With --layer and --prompt: what adding it changes in the next token, beside random
    directions of equal norm.

    Examples:

        loci directions "woman,man" "queen,king" "girl,boy"

        loci directions -r country_language --point resid_post.2 --out directions.html

        loci directions "Japan,France" --everywhere -p "The capital of France is" -t Tokyo -t Paris
    """
    from loci.reading.concept_directions import direction, directions
    from loci.reading.steering import steer

    check_out(out)
    if bool(prompt) != (layer is not None):
        raise FactError("steering needs both a --prompt and a --layer")
    if bool(pairs) == bool(relation):
        raise FactError('say pairs, as in "woman,man" "queen,king", or a --relation of the facts')
    from loci.facts import known_facts, load_facts

    if relation:
        world = load_facts(facts) if facts else known_facts()
        chosen = list(
            dict.fromkeys(
                (fact.answer, fact.subject)
                for fact in world.of(relation)
                if fact.answer != fact.subject
            )
        )
    else:
        chosen = [_pair(text) for text in pairs or ()]
    opened = opening.open()
    check_layers(opened, layer)
    check_top(opened, top)
    if prompt and layer is not None:
        vector = direction(opened, chosen, point=point)
        with bar("steering") as progress:
            steered = steer(
                opened,
                prompt,
                vector,
                layer,
                strength,
                everywhere=everywhere,
                targets=target or (),
                top=top,
                seed=seed,
                progress=progress,
            )
        finish(steered, out, json)
        return
    finish(directions(opened, chosen, point=point, top=top, seed=seed), out, json)


def _pair(text: str) -> tuple[str, str]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 2 or not all(parts):
        raise FactError(
            f'{text!r} is no pair: expected two words with a comma between them, as in "woman,man"'
        )
    return parts[0], parts[1]
