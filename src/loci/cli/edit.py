"""loci edit: make a patch."""

from pathlib import Path
from typing import Annotated

import typer

from loci.cli.common import FACTS, JSON, SEED, SUBJECT, TEXT, bar, console, emit, fact_from, texts_of
from loci.cli.opening import Opening, opens
from loci.errors import FactError


@opens()
def run(
    out: Annotated[Path, typer.Option("--out", "-o", help="the patch file to write")],
    subject: SUBJECT = None,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="the prompt, with {} for the subject or with it")] = None,
    answer: Annotated[str | None, typer.Option("--answer", "-a", help="the new answer")] = None,
    facts: FACTS = None,
    method: Annotated[
        str | None,
        typer.Option(help="joint, rome, emmet, memit, alphaedit or finetune; by default rome for one fact, joint for several"),
    ] = None,
    layer: Annotated[list[int] | None, typer.Option(help="a layer to edit; may be repeated")] = None,
    slack: Annotated[
        float | None, typer.Option(help="memit's and alphaedit's: how far targets may be missed to spare the text")
    ] = None,
    after: Annotated[
        Path | None, typer.Option(help="an earlier patch: the new one holds its change too, and keeps its facts")
    ] = None,
    text: TEXT = None,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Give facts new answers: a patch file, made without touching the model.

    One fact with --subject, --prompt and --answer, or many from a file with a column new_answer.

    Examples:

        loci edit -s "Michael Jordan" -p "{} plays the sport of" -a baseball -o jordan.safetensors

        loci edit --facts corrections.csv -o corrections.safetensors

        loci edit --facts more.csv --after corrections.safetensors -o both.safetensors

        loci edit --facts corrections.csv --method memit --layer 0 --layer 1 -o memit.safetensors
    """
    from loci.editing import edit
    from loci.facts import Fact, known_facts, load_facts
    from loci.files import check_writable
    from loci.patches import load_patch
    from loci.report import edit_summary

    single = (subject, prompt, answer)
    if facts is not None and any(value is not None for value in single):
        raise FactError("say either --facts, or --subject, --prompt and --answer")
    wishes = list(load_facts(facts)) if facts is not None else []
    check_writable(out)
    opened = opening.open()
    if facts is None:
        if subject is None or prompt is None or answer is None:
            raise FactError("an edit needs --subject, --prompt and --answer, or --facts FILE")
        whole = prompt.replace("{}", subject, 1)
        fact = fact_from(opened, whole, subject)
        wishes = [(known_facts().same(fact) or Fact(subject, fact.prompt, fact.answer)).to(answer)]
    earlier = load_patch(after) if after is not None else None
    stay = texts_of(opened, text, 0) if text is not None else None
    with bar("searching") as progress:
        patch = edit(
            opened, wishes, method=method, layers=layer, slack=slack, texts=stay, after=earlier, seed=seed, progress=progress
        )
    patch.save(out)
    if json:
        emit(edit_summary(patch, str(out)))
        return
    from loci.cli.show import show

    show(patch)
    console.print(f"\nwritten: [bold]{out}[/]   next: loci audit --patch {out}   or: loci patch apply {out} -o FOLDER")
