"""Paths, edges and a fact's circuit, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.circuits import (
    EdgeAttribution,
    ExtractionHeads,
    FactCircuit,
    OrderLosses,
    PathExpansion,
)
from loci.cli.console import console
from loci.cli.show.base import show
from loci.cli.show.circuits import EDGES, SOURCES, percent


@show.register
def show_paths(found: PathExpansion) -> None:
    against = f" less [bold]{escape(found.against)}[/]" if found.against else ""
    console.print(
        f"[bold]{escape(found.prompt)}[/] → [bold #2f7fd6]{escape(found.answer)}[/]{against}: score"
        f" {found.score:.3f}\n"
    )
    table = Table(
        "heads passed",
        "paths",
        "from tokens",
        "biases",
        "MLPs",
        "sum",
        box=None,
        header_style="dim",
    )
    for order in found.orders:
        parts = (f"{order.starts[start]:+.3f}" for start in ("tokens", "biases", "mlps"))
        table.add_row(str(order.heads), f"{order.paths:,}", *parts, f"{order.score:+.3f}")
    console.print(table)
    console.print(
        f"constant {found.constant:+.3f}, further orders {found.remainder:+.3f}; the sum misses the"
        f" score by {found.sum_error:.1e}"
    )
    console.print(
        "[dim]"
        + ("all paths" if found.exact else "MLPs' outputs are starts, not opened")
        + "; patterns and norms held[/]\n"
    )
    for path in found.top[:EDGES]:
        console.print(f"{path.score:+8.3f}  {escape(str(path))}")


@show.register
def show_losses(found: OrderLosses) -> None:
    console.print(
        f"[bold]Loss of {escape(found.model)} by orders of paths[/], {found.texts} texts,"
        f" {found.tokens:,} tokens\n"
    )
    table = Table(
        "heads, at most",
        "loss, nats",
        "what the last order takes off",
        box=None,
        header_style="dim",
    )
    for n, loss in enumerate(found.losses):
        table.add_row(str(n), str(loss), str(found.gains[n - 1]) if n else "")
    console.print(table)


@show.register
def show_edges(found: EdgeAttribution) -> None:
    console.print(
        f"[bold]{escape(found.prompt)}[/] ({found.clean:.2f}) told what"
        f" [bold]{escape(found.corrupted)}[/] ({found.corrupt:.2f}) says\n"
    )
    table = Table("from", "to", "patched", "estimated", box=None, header_style="dim")
    for edge in found.top:
        table.add_row(
            edge.sender,
            edge.receiver,
            "–" if edge.patched is None else f"{edge.patched:+.3f}",
            f"{edge.estimate:+.3f}",
        )
    console.print(table)
    console.print(
        "[dim]change of the answer's score when the path alone carries what the other prompt"
        " says[/]"
    )


@show.register
def show_fact(found: FactCircuit) -> None:
    console.print(
        f"[bold]{escape(found.prompt)}[/] → [bold #2f7fd6]{escape(found.answer)}[/], P ="
        f" {found.probability:.2f}\n"
    )
    table = Table(
        "head",
        "looks at subject",
        "writes, read there",
        "read elsewhere",
        "P lost when cut",
        box=None,
        header_style="dim",
    )
    for c in found.heads[:EDGES]:
        table.add_row(
            c.head,
            f"{c.attention:.2f}",
            f"{c.direct:+.2f}",
            f"{c.elsewhere:+.2f}",
            f"{c.lost:+.2%}",
        )
    console.print(table)
    console.print("[dim]what is written, in the answer's score[/]")
    console.print(
        f"with {', '.join(found.shown)} blind to the subject at once, {found.together:.0%} of P is"
        " lost\n"
    )
    for role in found.neurons[:SOURCES]:
        through = ", ".join(f"{head} {score:+.2f}" for head, score in role.through.items())
        console.print(
            f"{role.neuron:8} at {escape(found.tokens[role.token].strip())}: {role.total:+.3f}"
            f" through heads ({through})"
        )


@show.register
def show_extraction(found: ExtractionHeads) -> None:
    console.print(
        f"[bold]Heads of {escape(found.model)} that carry subjects to answers, over {found.n}"
        " facts[/]\n"
    )
    table = Table(
        "head",
        "P lost when cut",
        "score written",
        "attention to the subject",
        box=None,
        header_style="dim",
    )
    for head in found.heads[:EDGES]:
        table.add_row(head.head, percent(head.lost), str(head.direct), percent(head.attention))
    console.print(table)
    console.print(
        f"each fact's own four strongest heads cut at once: P lost {percent(found.together)}"
    )
