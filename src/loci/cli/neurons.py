"""loci neurons: which neurons hold a fact, or everything that is known of an entity."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from loci.cli.common import bar, check_out, fact_from, finish, world_of
from loci.cli.opening import Opening, opens
from loci.cli.options import ANSWER, FACTS, JSON, OUT, SEED, SUBJECT, Baseline, said, whole, words
from loci.cli.options import share as share_option
from loci.errors import FactError

if TYPE_CHECKING:
    from loci.locating import EntityNeurons
    from loci.model import Model

PROMPT = Annotated[
    str | None, said("the prompt, up to where the answer comes; or --entity", "PROMPT")
]
ENTITY = Annotated[
    str | None,
    words("instead of a prompt a subject: single neurons on which all its facts hang", "--entity"),
]


@opens()
def run(
    prompt: PROMPT = None,
    entity: ENTITY = None,
    facts: FACTS = None,
    candidates: Annotated[int, whole("most selective neurons tested for --entity", high=1000)] = 5,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    baseline: Annotated[
        Baseline,
        typer.Option(help="from where the gradients are integrated: zero, or the corrupted run"),
    ] = "zero",
    threshold: Annotated[
        float, share_option("a phrasing keeps neurons above this share of its largest score")
    ] = 0.2,
    share: Annotated[
        float, share_option("neurons count that this share of the phrasings keep")
    ] = 0.5,
    controls: Annotated[
        int, whole("random and equally active sets of neurons to compare with", high=10_000)
    ] = 20,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Knowledge neurons: what the phrasings of a fact share, and what silencing and doubling it
    does, against controls.

    A known fact brings its paraphrases; another prompt stands alone.

    With --entity: the neurons that fire for this subject alone, over many prompts; which of its
    facts are lost without one, which of others', and what it brings where it is set at another
    word. --facts has the facts, where they are not known ones.

    Examples:

        loci neurons "Michael Jordan plays the sport of"

        loci neurons --entity "Michael Jordan"

        loci neurons "The Eiffel Tower is in" -s "Eiffel Tower" -m ./my-model --json
    """
    from loci.facts import known_facts
    from loci.locating import knowledge_neurons

    check_out(out)
    if (prompt is None) == (entity is None):
        raise FactError("give a prompt, or --entity with a subject, and not both")
    opened = opening.open()
    if entity is not None:
        finish(_entity(opened, entity, facts, candidates, seed), out, json)
        return
    assert prompt is not None
    asked = fact_from(opened, prompt, subject, answer=answer)
    known = known_facts().same(asked)
    fact = asked if known is None else replace(known, answer=asked.answer)
    settings: dict[str, Any] = {
        "baseline": baseline,
        "threshold": threshold,
        "share": share,
        "controls": controls,
        "seed": seed,
    }
    with bar("attributing") as progress:
        result = knowledge_neurons(opened, fact, **settings, progress=progress)
    finish(result, out, json)


def _entity(
    opened: "Model", entity: str, facts: Path | None, candidates: int, seed: int
) -> "EntityNeurons":
    from loci.locating import entity_neurons

    with bar("reading and trying neurons") as progress:
        return entity_neurons(
            opened, entity, world_of(facts), candidates=candidates, seed=seed, progress=progress
        )
