"""Directions, concepts and bases of a space, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import estimate_row, narrow, show
from loci.reading.activation_sparsity import Sparsity
from loci.reading.concept_directions import Directions
from loci.reading.concepts import Concepts
from loci.reading.privileged_basis import Bases
from loci.reading.steering import Steered
from loci.stats import spelt


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
