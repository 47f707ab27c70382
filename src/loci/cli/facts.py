"""loci facts: what the embedded model was taught."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import JSON, console, emit
from loci.errors import FactError


def run(
    query: Annotated[str, typer.Argument(help="part of a subject or an answer; all facts where it is left out")] = "",
    relation: Annotated[str | None, typer.Option("--relation", "-r", help="only this relation")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="write them as a fact file, .csv or .jsonl")] = None,
    json: JSON = False,
) -> None:
    """List the facts of the embedded model, or write them as a fact file to edit from.

    Examples:

        loci facts "Michael Jordan"

        loci facts --relation athlete_sport --out athletes.csv
    """
    from loci.facts import FactSet, known_facts, save_facts

    found = FactSet(
        f for f in known_facts() if (not relation or f.relation == relation) and (query in f.subject or query == f.answer)
    )
    if not found:
        raise FactError(f"no fact with {query or relation!r}; relations: {', '.join(map(str, known_facts().relations))}")
    if out:
        save_facts(found, out)
    if json:
        emit({"schema": "loci.facts/1", "facts": [fact.to_dict() for fact in found]})
    else:
        for fact in found[:200]:
            console.print(f"[dim]{fact.relation or '':20}[/] {fact.text} [bold]{fact.answer}[/]")
        if len(found) > 200:
            console.print(f"[dim]… and {len(found) - 200} more[/]")
