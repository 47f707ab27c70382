"""What neurons hold, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import cell, show
from loci.cli.terminal import plain
from loci.patches import short
from loci.reading import (
    Atlas,
    Clusters,
    Memories,
    NeuronCard,
    NeuronKind,
    QueryRows,
    SubUpdates,
    WordNeurons,
)
from loci.stats import spelt


@show.register
def show_card(card: NeuronCard) -> None:
    console.rule(f"[bold]{card.name}[/]")
    console.print(
        f"fires at: {card.fires} · key·value cosine {card.cosine:+.2f} · ‖key‖ {card.key_norm:.2f}"
        f" · ‖value‖ {card.value_norm:.2f} · threshold {card.threshold:+.2f}\n"
    )
    if card.firing_rate is not None:
        console.print("[dim]key: what it looks for[/]")
    for trigger in card.triggers:
        token = (
            f"[bold black on yellow]{escape(trigger.token)}[/]"
            if console.coloured
            else f"»{escape(trigger.token)}«"
        )
        marked = f"{escape(trigger.before)}{token}[dim]{escape(trigger.after)}[/]"
        console.print(f"  {trigger.activation:6.2f}  {marked}")
    if card.firing_rate == 0:
        console.print("  it never fires in this text")
    console.print(f"{'' if card.firing_rate is None else chr(10)}[dim]value: what it writes[/]")
    console.print(
        "  promotes    "
        + escape(", ".join(token.strip() or repr(token) for token, _ in card.promotes))
    )
    console.print(
        "  suppresses  "
        + escape(", ".join(token.strip() or repr(token) for token, _ in card.suppresses))
    )
    if card.nearest:
        console.print(
            "  near it     " + ", ".join(f"{name} {cosine:+.2f}" for name, cosine in card.nearest)
        )


@show.register
def show_atlas(atlas: Atlas) -> None:
    said, layers = (
        atlas.provenance,
        atlas.by_layer(),
    )  # asked first: a broken atlas is said before anything is printed
    console.print(
        f"[bold]{escape(str(atlas.folder))}[/]: {said['layers'] * said['d_mlp']:,} neurons of"
        f" {escape(said['model'])} {short(said['weights'])}, over {said['tokens']:,} tokens of"
        f" {escape(said['text'])}\n"
    )
    shares = {
        "firing": "firing",
        "dead": "dead",
        "always_on": "always on",
        "erasers": "erasers",
        "agrees": "agrees",
    }
    table = Table(
        "layer", *shares.values(), "median cosine", "median largest", box=None, header_style="dim"
    )
    for row in layers:
        table.add_row(
            str(row["layer"]),
            *(f"{row[name]:.1%}" for name in shares),
            f"{row['cosine']:+.2f}",
            f"{row['max']:.2f}",
        )
    console.print(table)
    console.print(
        "\n[dim]agrees: the value's first token is the one that followed its first trigger[/]"
    )


@show.register
def show_kind(found: NeuronKind) -> None:
    console.print(
        f"[bold]{found.count:,} {found.kind} neurons[/] in {escape(found.model)}: {found.rule}\n"
    )
    columns = [
        name
        for name in (found.neurons[0] if found.neurons else {})
        if name not in ("layer", "neuron")
    ]
    show(
        QueryRows(
            tuple(columns), tuple(tuple(row[name] for name in columns) for row in found.neurons)
        )
    )


@show.register
def show_clusters(found: Clusters) -> None:
    console.print(
        f"[bold]{len(found.clusters)} clusters[/] of {found.neurons:,} values of"
        f" {escape(found.model)}\n"
    )
    table = Table(
        "neurons", "cosine", "promotes", "nearest to the centre", box=None, header_style="dim"
    )
    for cluster in found.clusters[:40]:
        words = ", ".join(token.strip() or repr(token) for token, _ in cluster.promotes[:6])
        table.add_row(
            str(cluster.size),
            f"{cluster.cosine:.2f}",
            escape(words),
            ", ".join(cluster.nearest[:3]),
        )
    console.print(table)
    console.print(
        f"\nsilhouette {found.quality}, Gaussian vectors of the same covariance {found.control}"
    )
    console.print(
        "[dim]cosine: mean of a value to its cluster's centre; silhouette: 0 where there are no"
        " borders, 1 where all lie far apart[/]"
    )


@show.register
def show_updates(found: SubUpdates) -> None:
    console.print(
        f"[bold]{escape(found.prompt)}[/]: what each layer writes most at the last token\n"
    )
    for layer, (updates, half) in enumerate(zip(found.layers, found.half, strict=True)):
        table = Table(
            f"layer {layer}", "coefficient", "size", "share", "writes", box=None, header_style="dim"
        )
        for name, coefficient, size, share, promotes in updates:
            words = ", ".join(token.strip() or repr(token) for token in promotes)
            table.add_row(name, f"{coefficient:+.2f}", f"{size:.2f}", f"{share:.1%}", escape(words))
        console.print(table)
        console.print(
            f"[dim]{half} of {found.neurons:,} neurons hold half of the sum of sizes[/]\n"
        )


@show.register
def show_found(found: WordNeurons) -> None:
    console.print(f"[bold]{escape(found.word)}[/] in {escape(found.model)}\n")
    for title, rows in (("promoted by", found.promoted_by), ("fires", found.fires)):
        table = Table(
            title,
            *(
                name
                for name in (rows[0] if rows else {})
                if name not in ("name", "layer", "neuron")
            ),
            box=None,
            header_style="dim",
        )
        for row in rows:
            table.add_row(
                cell(row["name"]),
                *(
                    cell(value)
                    for name, value in row.items()
                    if name not in ("name", "layer", "neuron")
                ),
            )
        console.print(table if rows else f"[dim]{title}: none[/]")
        console.print()


@show.register
def show_rows(found: QueryRows) -> None:
    table = Table(*map(plain, found.columns), box=None, header_style="dim")
    for row in found.rows[:200]:
        table.add_row(*map(cell, row))
    console.print(table)
    if len(found.rows) > 200:
        console.print(f"[dim]… and {len(found.rows) - 200:,} more; --json has them all[/]")


@show.register
def show_memories(found: Memories) -> None:
    console.print(
        f"[bold]Keys and values of {escape(found.model)}[/], {found.neurons} neurons a layer,"
        f" {found.tokens:,} tokens\n"
    )
    table = Table(
        "layer",
        *(f"{kind} dropped" for kind in found.dropped),
        "agreement",
        "chance",
        "composed",
        "active",
        box=None,
        header_style="dim",
    )
    for layer in range(len(found.active)):
        rows = (
            *(row[layer] for row in found.dropped.values()),
            *(
                getattr(found, name)[layer]
                for name in ("agreement", "chance", "composed", "active")
            ),
        )
        table.add_row(
            str(layer),
            *(
                spelt(e.value, "+.0%" if i < len(found.dropped) else ".1%")
                for i, e in enumerate(rows)
            ),
        )
    console.print(table)
    words = {"shallow": found.shallow, "semantic": found.semantic}
    for layer, e in enumerate(found.lean):
        kind = next((kind for kind, layers in words.items() if layer in layers), "between")
        console.print(
            f"layer {layer} loses {e.told('+.0%')} more with the last token than with the first:"
            f" {kind}"
        )
    console.print(
        "\n[dim]dropped: change of activation at top triggers without that token; agreement: the"
        " value's first token is what followed; composed: tokens at which no active memory says"
        " what the layer says; shallow, semantic: above or below the layers' mean with the whole"
        " interval[/]"
    )
