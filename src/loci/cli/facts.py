"""loci facts: what the embedded model was taught, or what a file holds."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import check_new, console, finish, written
from loci.cli.options import JSON, said, words
from loci.cli.terminal import plain
from loci.errors import FactError


def run(
    query: Annotated[
        str,
        said("a fact file or a published set; or part of a subject, or an answer; all facts where it is left out", "QUERY"),
    ] = "",
    relation: Annotated[str | None, words("only this relation", "--relation", "-r", kind="RELATION")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write them as a fact file, .csv or .jsonl")] = None,
    json: JSON = False,
) -> None:
    """List the facts of the embedded model, or write them as a fact file to edit from.

    With a file (.csv, .jsonl; CounterFact, zsRE, RippleEdits, KnowEdit and LRE as published, .json; or a folder of these): what it holds.

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
        found = replace(held, facts=held.facts.of(relation) if relation else held.facts)
    else:
        known = known_facts()
        chosen = FactSet(f for f in known if (not relation or f.relation == relation) and (query in f.subject or query == f.answer))
        if not chosen:
            raise FactError(f"no fact with {query or relation!r}; relations: {', '.join(map(str, known.relations))}")
        found = FactFile("demo", "the embedded model's facts", chosen, ())
    if out:
        save_facts(found.facts, out)
        written(out)
    if json or given:
        finish(found, json=json)
        return
    for fact in found.facts[:200]:
        console.print(f"[dim]{plain(fact.relation or ''):20}[/] {plain(fact.text)} [bold]{plain(fact.answer)}[/]")
    if len(found.facts) > 200:
        console.print(f"[dim]… and {len(found.facts) - 200} more[/]")
