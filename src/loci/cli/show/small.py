"""Small models on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import show
from loci.studies.attention_only import (
    BigramTable,
    HeadSizes,
    OptimizerBases,
    SkipTrigramBug,
    SkipTrigrams,
    SmallModel,
    TrainingHistory,
    TwoLayerInduction,
)
from loci.studies.attention_only.training_series import privilege

ROWS = 8


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, header_style="dim")


@show.register
def show_small(found: SmallModel) -> None:
    recipe = found.recipe
    console.print(
        f"[bold]{escape(found.model.name)}[/]: {recipe.layers} layers of {recipe.heads} heads of"
        f" {recipe.d_head}, {recipe.optimizer}, text: {escape(found.text)}; {found.last.step:,}"
        f" steps in {found.seconds:.0f} s\n"
    )
    table = _table("step", "loss", "late − early", "prefix", "previous", "kurtosis", "rotated")
    step = max(1, len(found.checkpoints) // ROWS)
    for c in (*found.checkpoints[:-1:step], found.last):
        scores = (
            (f"{c.best_induction:.2f}", f"{c.best_previous:.2f}") if recipe.layers else ("–", "–")
        )
        kurtosis = (f"{c.kurtosis.value:+.2f}", f"{c.rotated.value:+.2f}")
        table.add_row(f"{c.step:,}", f"{c.loss.value:.3f}", str(c.in_context), *scores, *kurtosis)
    console.print(table)


@show.register
def show_history(found: TrainingHistory) -> None:
    for small in found.models:
        show_small(small)
        console.print()


@show.register
def show_bigrams(found: BigramTable) -> None:
    console.print(
        f"On the text's pairs the model loses [bold]{found.loss:.4f}[/] nats; the exact table"
        f" {found.entropy:.4f}. Mean KL from text to model: [bold]{found.above:.4f}[/]"
    )


@show.register
def show_bug(found: SkipTrigramBug) -> None:
    for skips in found.models:
        console.print(
            f"[bold]{skips.layers} layer{'s' * (skips.layers > 1)}, heads: {len(skips.heads)}[/]\n"
        )
        show_skips(skips)
        console.print()


@show.register
def show_skips(found: SkipTrigrams) -> None:
    table = _table("", "right noun", "crossed", "each other noun")
    for preposition, row in found.chances.items():
        table.add_row(
            f"verb … {preposition} →", *(str(row[kind]) for kind in ("right", "crossed", "other"))
        )
    console.print(table)
    console.print()
    heads = _table(
        "head",
        *(f"looks from {p}" for p in found.chances),
        "adds to right",
        "to crossed",
        "copying",
        "copying λ",
    )
    for head in found.heads:
        looks = (f"{head.looks[p]:.2f}" for p in found.chances)
        copies = (f"{head.copying.value:+.2f}", f"{head.positivity:+.2f}")
        heads.add_row(
            f"L0H{head.head}", *looks, f"{head.right:+.2f}", f"{head.crossed:+.2f}", *copies
        )
    console.print(heads)
    console.print(
        "\n[dim]crossed: the verb's noun after the other preposition (keep … in → bay); logits over"
        " the mean noun[/]"
    )


@show.register
def show_corners(found: TwoLayerInduction) -> None:
    console.print(
        f"Previous-token head: [bold]{found.carrier}[/], {found.previous[found.carrier]}\n"
    )
    table = _table(
        "head",
        "prefix matching",
        f"without {found.carrier}",
        "score λ",
        "effect λ",
        f"K with {found.carrier}",
    )
    for head in sorted(found.heads, key=lambda head: -head.induction.value):
        without = head.silenced[found.carrier].value
        cells = (str(head.induction), f"{without:.3f}", f"{head.qk:+.2f}", f"{head.ov:+.2f}")
        table.add_row(head.name, *cells, f"{head.composition[found.carrier]:.2f} ×")
    console.print(table)
    console.print(
        "\n[dim]λ: Σλ/Σ|λ|, 1 where all eigenvalues are positive; K: times what random matrices"
        " have[/]"
    )


@show.register
def show_sizes(found: HeadSizes) -> None:
    table = _table(
        "heads", "loss", "late − early", "saved", "prefix", "previous", "right", "crossed"
    )
    for small, skips, saved in zip(found.models, found.skips, found.saved, strict=True):
        last, rows = small.last, list(skips.chances.values())
        nouns = (
            f"{sum(row[kind].value for row in rows) / len(rows):.0%}"
            for kind in ("right", "crossed")
        )
        scores = (f"{last.best_induction:.2f}", f"{last.best_previous:.2f}")
        sizes = f"{small.recipe.heads} × {small.recipe.d_head}"
        table.add_row(
            sizes,
            f"{last.loss.value:.3f}",
            str(last.in_context),
            f"{saved.value:.2f}",
            *scores,
            *nouns,
        )
    console.print(table)
    console.print(
        "[dim]saved: nats a token by saying random names again; prefix, previous: of the best"
        " single head[/]"
    )


@show.register
def show_bases(found: OptimizerBases) -> None:
    table = _table("optimizer", "loss", "kurtosis", "in a random rotation", "difference")
    for small in found.models:
        privileged = (f"{value:+.3f}" for value in privilege(small.last).values())
        table.add_row(small.recipe.optimizer, f"{small.last.loss.value:.3f}", *privileged)
    console.print(table)
