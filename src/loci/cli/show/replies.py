"""What a model says, on a terminal."""

from rich.table import Table

from loci.auditing import AskedAnswer, Replies, Reply
from loci.cli.console import console
from loci.cli.show.base import show
from loci.cli.terminal import plain
from loci.stats import Estimate

LADDERS = 10
"""Most prompts that are shown with their next tokens; of more there is a line each."""


@show.register
def show_replies(found: Replies) -> None:
    if len(found.replies) > LADDERS:
        console.print(_table(found))
    else:
        for reply in found.replies:
            _one(reply)
    for name, estimate in (("new", found.new), ("old", found.old)):
        if estimate.n:
            console.print(
                f"[bold]{_count(estimate)} {name} answers are said[/] [dim](95 % interval"
                f" {_interval(estimate)})[/]"
            )


def _one(reply: Reply) -> None:
    console.print(
        f"{plain(reply.prompt)} [bold]{plain(reply.answer) or '(nothing)'}[/]   P ="
        f" {reply.probability:.3f}"
    )
    if reply.says.strip(" .\n") != reply.answer:
        console.print(f"  [dim]goes on as[/] {plain(reply.says.strip())}")
    if reply.next:
        console.print(
            "  [dim]next[/] "
            + "   ".join(
                f"{plain(token.strip() or repr(token))} {p:.3f}" for token, p in reply.next
            )
        )
    if reply.warning:
        console.print(
            f"  [dim]note: {plain(reply.warning.partition(': say')[0].partition('; say')[0])}[/]"
        )
    wanted = [
        (name, answer)
        for name, answer in (("new", reply.new), ("old", reply.old))
        if answer is not None
    ]
    if wanted:
        console.print(
            "  " + "   ".join(f"[dim]{name} answer[/] {_wanted(answer)}" for name, answer in wanted)
        )


def _table(found: Replies) -> Table:
    table = Table("prompt", "answer", "P", "new answer", "old answer", box=None, header_style="dim")
    for reply in found.replies:
        table.add_row(
            plain(reply.prompt),
            plain(reply.answer),
            f"{reply.probability:.3f}",
            _wanted(reply.new),
            _wanted(reply.old),
        )
    return table


def _wanted(wanted: AskedAnswer | None) -> str:
    if wanted is None:
        return ""
    return (
        f"{'[bold]said[/]' if wanted.said else 'not said'} {plain(wanted.answer)}"
        f" {wanted.probability:.3f}"
    )


def _count(estimate: Estimate) -> str:
    return f"{round(estimate.value * estimate.n)} of {estimate.n}"


def _interval(estimate: Estimate) -> str:
    return f"{estimate.low:.0%} … {estimate.high:.0%}"
