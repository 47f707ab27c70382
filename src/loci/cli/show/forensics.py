"""Forensics on a terminal: weights that changed, subjects found, the verdict."""

from rich.markup import escape
from rich.table import Table

from loci.auditing.forensics import Forensics, SingleCheckpoint
from loci.cli.console import console
from loci.cli.show.base import show

SHOWN = 20


@show.register
def show_forensics(found: Forensics) -> None:
    console.print(
        f"[bold]{escape(found.base)} → {escape(found.edited)}[/]\n{escape(found.verdict)}\n"
    )
    _weights(found)
    if found.searched:
        _subjects(found)
    for line in found.extras.lines(found.base, found.edited):
        console.print(f"[dim]{escape(line)}[/]")


@show.register
def show_alone(found: SingleCheckpoint) -> None:
    console.print(f"[bold]{escape(found.model)}[/], without its base\n{escape(found.verdict)}\n")
    table = Table("weight", "measure", "z", box=None, header_style="dim")
    for weight in found.weights[:8]:
        table.add_row(
            escape(weight.name),
            weight.measure,
            f"{weight.z:.1f}",
            style="bold" if weight.z >= found.threshold else "",
        )
    console.print(table)
    console.print(
        "[dim]z: above the line through the other layers, in their spread; from"
        f" {found.threshold:g} it stands out[/]"
    )


def _weights(found: Forensics) -> None:
    changes = sorted(
        (change for change in found.weights if not change.rounding),
        key=lambda change: -change.relative,
    )
    if not changes:
        return
    table = Table(
        "weight",
        "‖Δ‖ / ‖W‖",
        "rank",
        "of",
        "largest σ",
        "dominant turned",
        box=None,
        header_style="dim",
    )
    for change in changes[:SHOWN]:
        turned = f"{max(change.drift.left, change.drift.right):.0f}°" if change.drift else ""
        sizes = (
            f"{change.relative:.3g}",
            str(change.rank),
            str(len(change.values)),
            f"{float(change.values[0]):.3g}",
            turned,
        )
        table.add_row(escape(change.name), *sizes)
    console.print(table)
    if len(changes) > SHOWN:
        console.print(f"[dim]… and {len(changes) - SHOWN} more[/]")


def _subjects(found: Forensics) -> None:
    table = Table("subject", "score", "share", "says now", box=None, header_style="dim")
    for subject in found.suspected[:SHOWN]:
        answer = next((answer for answer in subject.answers if answer.changed), None)
        said = (
            f"{escape(answer.prompt)} [strike]{escape(answer.old)}[/] →"
            f" [bold]{escape(answer.new)}[/]"
            if answer
            else "[dim]as before[/]"
        )
        table.add_row(escape(subject.subject), f"{subject.score:.1f}", f"{subject.share:.2f}", said)
    if found.suspected:
        console.print()
        console.print(table)
    if len(found.suspected) > SHOWN:
        console.print(f"[dim]… and {len(found.suspected) - SHOWN} more (--json has all)[/]")
    rest = [subject.score for subject in found.subjects if not subject.edited]
    if rest:
        console.print(
            f"[dim]score: from {found.threshold:g} it counts; the others reach {max(rest):.1f}[/]"
        )
