"""loci circuits fact: one fact's way through attention and MLPs."""

from typing import Annotated

from loci.cli.common import bar, check_out, fact_from, finish, written
from loci.cli.opening import Opening, opens
from loci.cli.options import (
    AGAINST,
    ANSWER,
    FACTS,
    JSON,
    KNOWN,
    OUT,
    SEED,
    SUBJECT,
    said,
)
from loci.errors import CircuitError


@opens()
def fact(
    prompt: Annotated[
        str | None,
        said(
            "a prompt about a known subject, or about --subject; none for --facts or --known",
            "PROMPT",
        ),
    ] = None,
    subject: SUBJECT = None,
    answer: ANSWER = None,
    against: AGAINST = None,
    facts: FACTS = None,
    known: KNOWN = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
    out: OUT = None,
) -> None:
    """Which heads carry a subject to its answer, and what the values of early neurons add through
    them. As .html: one page.

    Examples:

        loci circuits fact "Michael Jordan plays the sport of" --out jordan.html

        loci circuits fact --known 50
    """
    from loci.circuits import extraction, fact_circuit
    from loci.facts import known_facts, load_facts

    if [prompt, facts, known].count(None) != 2:
        raise CircuitError("say a prompt, a --facts file, or --known and how many")
    check_out(out)
    asked = load_facts(facts) if facts is not None else known_facts().sample(known or 1, seed=seed)
    opened = opening.open()
    if prompt is None:
        with bar("following facts") as progress:
            finish(extraction(opened, asked, progress=progress), out, json)
        return
    one = fact_from(opened, prompt, subject, answer=answer)
    result = fact_circuit(opened, one, against=against)
    if out is not None and out.suffix == ".html":
        from loci.report import save_circuit

        with bar("reading its neurons") as progress:
            save_circuit(opened, result, out, progress=progress)
        written(out)
        out = None
    finish(result, out, json)
