"""A model's parts and its health, on a terminal."""

from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import show
from loci.model import Census, Diagnosis


@show.register
def show_census(census: Census) -> None:
    console.print(
        f"[bold]{escape(census.model)}[/] · {escape(census.family)} · [bold]{census.total:,}[/]"
        f" {census.unit}\n"
    )
    table = Table("", "", "share", "", box=None, header_style="dim")
    for name, count in census.exclusive.items():
        share = count / census.total
        table.add_row(name, f"{count:,}", f"{share:.1%}", "█" * round(40 * share) or "▏")
    console.print(table)
    flops, memory = census.flops_per_token, census.memory
    said = {
        "MLP weights": (
            f"{census.parts['mlp_weights']:,}, {census.mlp_share:.2%} of all; with biases"
            f" {census.parts['mlp']:,}"
        ),
        "shapes": ", ".join(
            f"{name} {'×'.join(f'{n:,}' for n in shape)}" for name, shape in census.shapes.items()
        ),
        "questions": (
            f"{census.questions:,} in each of {census.layers} layers, asked of every token"
        ),
        "FLOPs a token": (
            f"{flops['matrices']:.3g} in matrices, {flops['attending']:.3g} attending over a full"
            " context"
        ),
        "memory": ", ".join(f"{name} {decimal(size)}" for name, size in memory.items()),
    }
    for name, text in said.items():
        console.print(f"[dim]{name:14}[/] {escape(text)}")
    if census.tied:
        console.print("[dim]The unembedding is the embedding, counted once.[/]")


@show.register
def show_diagnosis(diagnosis: Diagnosis) -> None:
    signs = {True: "[green]✓[/]", False: "[bold red]✗[/]", None: "[dim]–[/]"}
    console.print(
        f"[bold]{escape(diagnosis.model)}[/] · {escape(diagnosis.family)} · {diagnosis.dtype} on"
        f" {diagnosis.device}\n"
    )
    table = Table("", "claim", "error", "allowed", "", box=None, header_style="dim")
    for check in diagnosis.checks:
        error = "" if check.error is None else f"{check.error:.1e}" if check.error else "0"
        allowed = f"{check.allowed:.0e}" if check.allowed else "0"
        table.add_row(
            signs[check.passed], escape(check.name), error, allowed, f"[dim]{escape(check.note)}[/]"
        )
    console.print(table)
    passed, failed = (
        sum(check.passed is value for check in diagnosis.checks) for value in (True, False)
    )
    console.print(
        f"\n{passed} hold, [{'bold red' if failed else 'dim'}]{failed} fail[/],"
        f" {len(diagnosis.checks) - passed - failed} do not apply"
    )
