"""loci facts: what the embedded model was taught, or what a file holds; discover: what of it a
model knows.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import bar, check_new, check_out, finish, written
from loci.cli.console import console
from loci.cli.opening import Opening, opens
from loci.cli.options import CHAT, FACTS, JSON, SEED, SHOTS, said, whole, words
from loci.cli.terminal import plain
from loci.errors import FactError

QUERY = Annotated[
    str,
    said(
        "a fact file or a published set; or part of a subject, or an answer; all facts where it"
        " is left out",
        "QUERY",
    ),
]
RELATION = Annotated[str | None, words("only this relation", "--relation", "-r", kind="RELATION")]
OUT = Annotated[
    Path | None, typer.Option("--out", "-o", help="write them as a fact file, .csv or .jsonl")
]


def run(
    query: QUERY = "",
    relation: RELATION = None,
    out: OUT = None,
    json: JSON = False,
) -> None:
    """List the facts of the embedded model, or write them as a fact file to edit from.

    With a file (.csv, .jsonl; CounterFact, zsRE, RippleEdits, KnowEdit, LRE and ParaRel as
    published, .json; or a folder of these): what it holds. `loci facts discover` says which of them
    a model knows.

    Examples:

        loci facts "Michael Jordan"

        loci facts --relation athlete_sport --out athletes.csv

        loci facts counterfact.json

        loci facts counterfact.json --relation P37 --out languages.jsonl
    """
    from loci.facts import FactFile, FactSet, known_facts, read_facts, save_facts
    from loci.validate import is_there

    if relation is not None and not relation.strip():
        raise FactError("--relation is empty; loci facts lists all")
    check_new(out, ".csv", ".jsonl")
    given = bool(query) and (is_there(query) or Path(query).suffix in (".csv", ".json", ".jsonl"))
    if given:
        held = read_facts(query)
        file = replace(held, facts=held.facts.of(relation) if relation else held.facts)
    else:
        known = known_facts()
        chosen = FactSet(
            f
            for f in known
            if (not relation or f.relation == relation)
            and (query in f.subject or query == f.answer)
        )
        if not chosen:
            raise FactError(
                f"no fact with {query or relation!r}; relations:"
                f" {', '.join(map(str, known.relations))}"
            )
        file = FactFile("demo", "the embedded model's facts", chosen, ())
    if out:
        save_facts(file.facts, out)
        written(out)
    if json or given:
        finish(file, json=json)
        return
    for fact in file.facts[:200]:
        console.print(
            f"[dim]{plain(fact.relation or ''):20}[/] {plain(fact.text)}"
            f" [bold]{plain(fact.answer)}[/]"
        )
    if len(file.facts) > 200:
        console.print(f"[dim]… and {len(file.facts) - 200} more[/]")


@opens()
def discover(
    facts: FACTS = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="write the known ones as a fact file, .csv or .jsonl"),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option(
            help="write the counts of each relation: .html, .png, .svg, .json or .parquet"
        ),
    ] = None,
    shots: SHOTS = 0,
    chat: CHAT = False,
    phrasings: Annotated[
        int | None, whole("of each fact at most so many phrasings; all by default", "--phrasings")
    ] = None,
    sample: Annotated[
        int | None, whole("of each relation at most so many facts, drawn by --seed", "--sample")
    ] = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Which facts of a file a model knows: its greedy continuation begins with the answer, in one
    phrasing at least.

    They are written as a fact file that every other command takes, the phrasings that worked and no
    others. A fact file, a published set, or a folder of them; the embedded facts by default.

    Examples:

        loci facts discover -o known.jsonl

        loci facts discover -m gemma3-270m --facts relations/ --sample 50 -o known.jsonl

        loci facts discover -m gpt2 --facts relations/ --shots 5 -o known-with-5-shots.jsonl
    """
    from loci.auditing import discover as find
    from loci.facts import known_facts, load_facts, save_facts

    check_new(out, ".csv", ".jsonl")
    check_out(figure)
    asked = load_facts(facts) if facts else known_facts()
    if sample is not None:
        asked = asked.sample_each(sample, seed)
    opened = opening.open()
    with bar("asking") as progress:
        result = find(
            opened, asked, shots=shots, chat=chat, phrasings=phrasings, seed=seed, progress=progress
        )
    if out and not result.facts:
        raise FactError(
            f"{result.model!r} knows none of these {result.asked:,} facts: there is nothing to"
            " write"
        )
    if out:
        save_facts(result.facts, out)
        written(out)
    finish(result, figure, json)
