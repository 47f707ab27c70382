"""Patches, what differs between two, and fact files, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import show
from loci.cli.show.reports import show_report
from loci.cli.terminal import plain
from loci.facts import FactFile
from loci.patches import Difference, Patch, short, strongest


@show.register
def show_patch(patch: Patch) -> None:
    document = patch.to_dict()
    console.print(
        f"[bold]patch {escape(patch.id)}[/] · {escape(patch.method)} · {len(patch.facts)}"
        f" fact{'s' * (len(patch.facts) != 1)}"
    )
    console.print(f"base   {escape(patch.base_name)} {short(patch.base)}")
    for parent in patch.parents:
        console.print(f"from   {plain(parent['id'])} · {plain(parent['method'])}")
    errors = patch.numbers.get("error", {})
    for name, weight in document["weights"].items():
        error = f", relative error {errors[name]:.2g}" if name in errors else ""
        console.print(
            f"change {escape(name)} {weight['shape'][0]} × {weight['shape'][1]}, rank"
            f" {weight['rank']}, norm {weight['norm']:.3g}{error}"
        )
    for layer, part in patch.neurons.items():
        console.print(f"add    {part.size} neurons to the MLP of layer {layer}")
    _notes(patch)
    show_report(patch)
    for fact in patch.facts[:20]:
        old = "" if fact.new_answer == fact.answer else f"[strike]{escape(fact.answer)}[/] → "
        console.print(f"       {escape(fact.text)} {old}[bold]{escape(fact.new_answer or '')}[/]")
    if len(patch.facts) > 20:
        console.print(f"       [dim]… and {len(patch.facts) - 20} more[/]")


def _notes(patch: Patch) -> None:
    """What merging and comparing found out."""
    most = strongest(patch.numbers.get("interaction", {}))
    if most:
        console.print(plain(most.line))
        if most.warning:
            console.print(f"[bold]warning[/] {most.warning}")
    for fact in patch.numbers.get("dropped", [])[:20]:
        console.print(
            f"lost   {escape(fact['prompt'].replace('{}', fact['subject'], 1))} →"
            f" {escape(fact['new_answer'])}"
        )
    if patch.numbers.get("left_out"):
        console.print(
            f"not in it, though it differs: {escape(', '.join(patch.numbers['left_out']))}"
        )


@show.register
def show_difference(found: Difference) -> None:
    console.print(f"[bold]{escape(found.first)}[/] and [bold]{escape(found.second)}[/]")
    patches = any(change.cosine is not None for change in found.changes)
    if not found.changes:
        console.print("no weight differs")
    else:
        table = Table(
            "weight",
            "norm",
            "relative",
            "rank",
            *(["cosine"] if patches else []),
            box=None,
            header_style="dim",
        )
        for change in found.changes[:50]:
            more = [f"{change.cosine:.3f}"] if change.cosine is not None else []
            table.add_row(
                escape(change.name),
                f"{change.norm:.4g}",
                f"{change.share:.2%}",
                str(change.rank),
                *more,
            )
        console.print(table)
        if len(found.changes) > 50:
            console.print(f"[dim]… and {len(found.changes) - 50} more[/]")
    for line in found.extras.lines(found.first, found.second):
        console.print(escape(line))
    if patches and not found.same_base:
        console.print("made on different bases: they cannot be merged")
    for sign, facts in zip("<>", found.facts, strict=True):
        for text in facts[:20]:
            console.print(f"{sign} {escape(text)}")


@show.register
def show_facts(found: FactFile) -> None:
    console.print(f"[bold]{escape(found.path)}[/] · {found.format}")
    for name, count in found.counts.items():
        console.print(f"{count:8,} {name.replace('_', ' ')}")
    for line in found.skipped[:5]:
        console.print(f"[dim]left out: {escape(line)}[/]")
    if len(found.skipped) > 5:
        console.print(f"[dim]… and {len(found.skipped) - 5} more left out[/]")
    for fact in found.facts[:10]:
        new = f" → [bold]{escape(fact.new_answer)}[/]" if fact.new_answer else ""
        console.print(
            f"[dim]{escape(fact.relation or ''):20}[/] {escape(fact.text)}"
            f" [bold]{escape(fact.answer)}[/]{new}"
        )
