"""loci dictionaries facts, isolate and edits: what features say of facts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from loci.cli.common import bar, check_out, finish
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    FACTS,
    JSON,
    OUT,
    SEED,
    said,
    whole,
)

if TYPE_CHECKING:
    from loci.dictionaries import Dictionary
    from loci.facts import FactSet
    from loci.model import Model

DICTIONARY = Annotated[
    str, said("a dictionary's file or folder, or demo:mlp_out.3, .1 or .0", "DICTIONARY")
]


def _opened(
    dictionary: str, facts: Path | None, opening: Opening, out: Path | None
) -> "tuple[Model, Dictionary, FactSet]":
    """The model, the dictionary in its place there, and the facts: files first, then the model."""
    from loci.dictionaries import load_dictionary
    from loci.dictionaries.conventions import placed
    from loci.facts import known_facts, load_facts

    check_out(out)
    loaded = load_dictionary(dictionary, pickle=opening.pickle)
    asked = known_facts() if facts is None else load_facts(facts)
    model = opening.open()
    return model, placed(loaded, model, dictionary), asked


@opens()
def facts(
    dictionary: DICTIONARY,
    facts: FACTS = None,
    count: Annotated[int, whole("facts that are asked, spread over all", "--count", "-n")] = 100,
    samples: Annotated[int, whole("draws of the noise on the subject", "--samples")] = 5,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Does a fact live in few features? How many carry half of the causal trace's effect at the
    subject, beside neurons and random directions.

    The dictionary gives an MLP's output: an autoencoder of mlp_out.L, or a transcoder to it. Facts
    are those of the embedded model, unless --facts says others.

    Examples:

        loci dictionaries facts demo:mlp_out.0

        loci dictionaries facts sae -m ./my-model --facts facts.csv --count 50 --out facts.html
    """
    from random import Random

    from loci.dictionaries import fact_sparsity

    opened, chosen, asked = _opened(dictionary, facts, opening, out)
    some = Random(seed).sample(list(asked), min(count, len(asked)))
    with bar("restoring units") as progress:
        result = fact_sparsity(opened, chosen, some, samples=samples, seed=seed, progress=progress)
    finish(result, out, json)


@opens()
def isolate(
    dictionary: DICTIONARY,
    facts: FACTS = None,
    pairs: Annotated[int, whole("pairs of subjects that are asked", "--pairs", "-n")] = 64,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """RAVEL's question: change one attribute of a subject without touching the others, by features,
    neurons, a probe's span or random directions.

    Subjects need facts of several relations: those of the embedded model, unless --facts says
    others.

    Examples:

        loci dictionaries isolate demo:mlp_out.0

        loci dictionaries isolate sae -m ./my-model --facts facts.csv --pairs 200 --json
    """
    from loci.dictionaries import attribute_isolation

    opened, chosen, asked = _opened(dictionary, facts, opening, out)
    with bar("changing attributes") as progress:
        result = attribute_isolation(
            opened, chosen, asked, pairs=pairs, seed=seed, progress=progress
        )
    finish(result, out, json)


@opens()
def edits(
    dictionary: DICTIONARY,
    facts: FACTS = None,
    count: Annotated[int, whole("counterfactuals", "--edits", "-n", high=10_000)] = 20,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Editing by features beside ROME, by the questions of an audit: features clamped to a donor's
    values, one feature steered, the donor's whole output.

    Examples:

        loci dictionaries edits demo:mlp_out.0

        loci dictionaries edits sae -m ./my-model --facts facts.csv --edits 50 --json
    """
    from loci.auditing import audit_feature_edits

    opened, chosen, asked = _opened(dictionary, facts, opening, out)
    with bar("editing") as progress:
        result = audit_feature_edits(opened, chosen, asked, count, seed=seed, progress=progress)
    finish(result, out, json)
