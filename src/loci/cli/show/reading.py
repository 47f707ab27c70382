"""What neurons hold, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.common import console
from loci.cli.show.base import cell, estimate_row, narrow, show
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
from loci.reading.activation_sparsity import Sparsity
from loci.reading.concept_directions import Directions
from loci.reading.concepts import Concepts
from loci.reading.privileged_basis import Bases
from loci.reading.steering import Steered
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


@show.register
def show_directions(found: Directions) -> None:
    console.print(
        f"[bold]{len(found.pairs)} pair{'s' * (len(found.pairs) > 1)} at {found.point}[/], norm of"
        f" the mean {found.norm:.3g}\n"
    )
    table = Table("", "mean cosine", "95 % interval", "pairs", box=None, header_style="dim")
    estimate_row(table, "the pairs' differences", found.alignment, percent=False)
    estimate_row(table, "partners shuffled", found.shuffled, percent=False)
    estimate_row(table, "beyond shuffled", found.beyond, percent=False)
    console.print(table)
    console.print()
    table = Table(
        "held-out analogies", "solved", "95 % interval", "pairs", box=None, header_style="dim"
    )
    for name, estimate in (
        ("direction of the others", found.analogy),
        ("none", found.without),
        ("random", found.random),
    ):
        estimate_row(table, name, estimate)
    console.print(table)
    for (a, b), near in list(zip(found.pairs, found.nearest, strict=True))[:10]:
        if near is None:
            continue
        console.print(
            f"  [dim]{escape(b)} →[/] {escape(near)}"
            + ("" if near == a else f" [dim](not {escape(a)})[/]")
        )
    console.print(
        "\n  promotes    "
        + escape(", ".join(token.strip() or repr(token) for token, _ in found.promotes))
    )
    console.print(
        "  suppresses  "
        + escape(", ".join(token.strip() or repr(token) for token, _ in found.suppresses))
    )
    apart = found.alignment.n
    few = ""
    if apart < 3:
        few = (
            f"; {apart} of the pairs can be compared: that takes two with no word in common, an"
            " interval of their cosine three"
        )
    console.print(f"\n[dim]the nearest of {found.candidates} words, by cosine{few}[/]")


@show.register
def show_steered(found: Steered) -> None:
    where = "all tokens" if found.everywhere else "the last token"
    console.print(f"[bold]{found.strength:g} · direction after layer {found.layer}[/] at {where}\n")
    for prompt, before, after in list(zip(found.prompts, found.before, found.after, strict=True))[
        :5
    ]:
        console.print(escape(prompt))
        for name, top in (("before", before), ("after", after)):
            console.print(
                f"  [dim]{name:6}[/] "
                + escape(", ".join(f"{t.strip() or repr(t)} {p:.3f}" for t, p in top[:5]))
            )
    if found.targets:
        table = Table(
            "P(first token)", "before", "after", "random directions", box=None, header_style="dim"
        )
        for target in found.targets:
            table.add_row(
                escape(target.word),
                *(spelt(e.value, ".4f") for e in (target.before, target.after, target.random)),
            )
        console.print()
        console.print(table)
    console.print(
        f"\nKL(before ‖ after) {found.kl} nats, random directions"
        f" {found.random_kl}\n[dim]{len(found.prompts)} prompt{'s' * (len(found.prompts) > 1)};"
        f" what was added has {found.relative.value:.2g} of the stream's norm[/]"
    )


@show.register
def show_concepts(found: Concepts) -> None:
    table = Table(
        f"at {found.point}",
        *map(escape, found.concepts),
        "explained",
        "by chance",
        box=None,
        header_style="dim",
    )
    for i, text in enumerate(found.texts):
        cells = zip(found.coefficients[i].tolist(), found.cosines[i].tolist(), strict=True)
        shares = (f"{found.explained[i]:.1%}", f"{found.random[i]:.1%}")
        table.add_row(
            escape(text),
            *(f"{part:+.2f} [dim]({cosine:+.2f})[/]" for part, cosine in cells),
            *shares,
        )
    console.print(table)
    console.print(
        "\n[dim]coefficients of the least-squares fit, in brackets cosines; share of the squared"
        " norm explained[/]"
    )


@show.register
def show_sparsity(found: Sparsity) -> None:
    console.print(
        f"[bold]Active neurons[/]: {found.rule}; {found.tokens:,} tokens of {found.texts:,} texts\n"
    )
    table = narrow(
        "layer",
        "active",
        "95 % interval",
        "5 … 95 % of tokens",
        "exactly 0",
        "error of skipping",
        "of rounding",
    )
    for layer, (on, none) in enumerate(zip(found.by_layer, found.zeros, strict=True)):
        low, _, high = found.spread[layer].tolist()
        errors = (f"{found.error[layer]:.0e}", f"{found.rounding[layer]:.0e}")
        table.add_row(
            str(layer),
            spelt(on.value, ".1%"),
            on.interval(".1%"),
            f"{low:.0%} … {high:.0%}",
            f"{none.value:.1%}",
            *errors,
        )
    console.print(table)
    for name, named in (("most", found.most), ("fewest", found.fewest)):
        console.print(
            f"\n[dim]{name:7}[/]"
            + escape(", ".join(f"{t.strip() or repr(t)} {e.value:.1%}" for t, e in named)),
            end="",
        )
    kind = "all that is skipped is exactly 0" if found.exact else "what is skipped is not 0"
    console.print(
        f"\n\nskipping the others saves {found.saved.told('.1%')} of the MLPs' FLOPs; {kind}"
    )
    console.print(
        f"[dim]errors over the output's largest value, at {found.checked} tokens; FLOPs are"
        " arithmetic, not time[/]"
    )


@show.register
def show_bases(found: Bases) -> None:
    console.print(
        f"[bold]Excess kurtosis of coordinates[/], {found.tokens:,} tokens of {found.texts:,}"
        " texts\n"
    )
    table = Table(
        "",
        "layer",
        "median",
        "95 % interval",
        "rotated",
        "mean",
        "rotated",
        "never vary",
        box=None,
        header_style="dim",
    )
    for row in found.rows:
        middle, own = row.own_median, (row.rotated_median.value, row.own.value, row.rotated.value)
        cells = (
            spelt(middle.value, ".2f"),
            middle.interval(".2f"),
            *(spelt(value, ".2f") for value in own),
        )
        table.add_row(
            row.space,
            "" if row.layer is None else str(row.layer),
            *cells,
            f"{row.left_out} of {row.width}",
        )
    console.print(table)
    for space, reason in found.missing.items():
        console.print(f"\nNot asked ({space}): {escape(reason)}")
    console.print("\n[dim]0 for a Gaussian; rotated: the same vectors in a random rotation[/]")
