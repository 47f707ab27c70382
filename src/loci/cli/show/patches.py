"""Patches, what differs between two, and fact files, on a terminal."""

from rich.markup import escape

from loci.cli.console import console
from loci.cli.show.base import show
from loci.cli.show.reports import show_report
from loci.cli.terminal import plain
from loci.patches import Patch, short, strongest


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
    """Print the warnings that merging and comparing left in a patch."""
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
