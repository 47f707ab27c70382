"""The report of an edit, its prompts asked again, in a few lines of a terminal."""

from loci.cli.console import console
from loci.cli.terminal import plain
from loci.patches import EditReport, Patch

FAILED = 10
"""Most failed facts that are listed."""
MOVED = 3
"""Most answers that are shown among those that moved."""
JOINT = (
    "--method joint searches all layers at once, and reaches what a solver at one layer misses or"
    " disturbs"
)
ADVICE = {
    "joint": "fewer facts at once, more of them with --after, or a shorter answer",
    "merge": "make these edits together, in one loci edit, instead of merging them",
}
"""Advice for edits that failed, by method."""


def show_report(patch: Patch) -> None:
    """The lines; none for a patch that was never asked."""
    report = patch.report
    if report is None:
        return
    console.print(said_line(report))
    for fact in report.failed[:FAILED]:
        console.print(
            f"[bold]failed[/] {plain(fact.prompt)} → {plain(fact.wanted)}: the model says"
            f" [bold]{plain(fact.says) or '(nothing)'}[/]"
        )
    if len(report.failed) > FAILED:
        console.print(f"       [dim]… and {len(report.failed) - FAILED} more[/]")
    console.print(moved_line(report))
    for answer in report.moved[:MOVED]:
        before, says = plain(answer.before), plain(answer.says) or "(nothing)"
        console.print(f"       [dim]{plain(answer.prompt)}: [strike]{before}[/strike] {says}[/]")
    for warning in report.warnings:
        console.print(f"[bold]warning[/] {plain(warning)}")
    if report.failed or report.harmful:
        console.print(f"to do  {ADVICE.get(patch.method, JOINT)}")


def said_line(report: EditReport) -> str:
    """How many of the facts the edited model says."""
    said = report.said
    if not said.n:
        return "said   no fact of the patch has a new answer"
    return (
        f"said   [bold]{report.hits} of {said.n}[/] new answers, in full and greedily "
        f"[dim](95 % interval {said.low:.0%} … {said.high:.0%})[/]"
    )


def moved_line(report: EditReport) -> str:
    """One line on side effects: neighbours, other facts of the subject and text that changed."""
    near, text = report.neighbours, report.sentences
    parts = []
    if near.n:
        parts.append(
            f"{round(near.value * near.n)} of {near.n} prompts about other subjects"
            f" [dim]({plain(report.source)})[/]"
        )
    if report.same_subject.n:
        own = report.same_subject
        parts.append(
            f"{round(own.value * own.n)} of {own.n} other facts of the"
            f" subject{'s' * (report.said.n != 1)}"
        )
    if text.n:
        parts.append(f"{text.value:.1%} of the next tokens of {text.n} texts of the model's own")
    nothing = "not known: there is nobody else to ask about, and no text of its own"
    return f"moved  {', '.join(parts) or nothing}"
