"""loci demo: one fact the whole way."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loci.cli.common import emit, status
from loci.cli.console import console
from loci.cli.edit import FAILED
from loci.cli.opening import Opening, opens
from loci.cli.options import JSON, SEED, whole, words
from loci.cli.terminal import plain

if TYPE_CHECKING:
    from loci.report import Story


@opens()
def run(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="folder for report.html and edit.safetensors")
    ] = Path("loci-demo"),
    prompt: Annotated[
        str, words("a known fact's prompt, with {} for the subject", "--prompt", "-p")
    ] = "{} plays the sport of",
    subject: Annotated[str, words("whose fact", "--subject", "-s")] = "Michael Jordan",
    answer: Annotated[str, words("what it shall become", "--answer", "-a")] = "baseball",
    edits: Annotated[int, whole("further edits to audit, beside this one")] = 20,
    *,
    opening: Opening,
    seed: SEED = 0,
    json: JSON = False,
) -> None:
    """Trace, read, edit, audit and undo one fact; write a report that opens in any browser.

    Examples:

        loci demo

        loci demo -s Mozambique -p "The capital of {} is" -a Lisbon --out mozambique
    """
    from loci.cli.common import fact_from
    from loci.editing import as_said
    from loci.facts import Fact, known_facts
    from loci.files import check_writable
    from loci.report import edit_summary, tell, write_page

    started = time.perf_counter()
    report, patch_file = out / "report.html", out / "edit.safetensors"
    check_writable(report)
    opened = opening.open()
    world = known_facts()
    asked = Fact(subject, prompt, "?")
    known = world.same(asked)
    fact = (
        as_said(opened, known)
        if known is not None
        else fact_from(opened, asked.text, asked.subject)
    )
    with status("starting") as shown:
        story = tell(opened, fact.to(answer), world, more=edits, seed=seed, stage=shown)
    story.patch.save(patch_file)
    write_page(story, report)
    if json:
        seconds = time.perf_counter() - started
        edit = edit_summary(story.patch, str(patch_file))
        emit({**story.to_dict(), "edit": edit, "seconds": seconds, "report": str(report)})
    else:
        _show(story, report, patch_file, started)
    if story.patch.report is not None and story.patch.report.failed:
        raise typer.Exit(FAILED)


def _show(story: "Story", report: Path, patch_file: Path, started: float) -> None:
    from loci.cli.show import show
    from loci.cli.show.reports import said_line

    show(story)
    if story.patch.report is not None:
        console.print(said_line(story.patch.report))
    console.print(
        f"\nreport: [bold]{plain(report)}[/]   patch: {plain(patch_file)}  "
        f" ({time.perf_counter() - started:.0f} s)"
    )
