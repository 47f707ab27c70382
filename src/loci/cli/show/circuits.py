"""Heads, composition, paths and a fact's circuit, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.circuits import (
    AttentionPatterns,
    Composition,
    CompositionEdge,
    CompositionGraph,
    HeadScatter,
    HeadScores,
    Induction,
    TokenCircuit,
    VirtualWeights,
)
from loci.cli.console import console
from loci.cli.show.base import show
from loci.stats import Estimate

COLUMNS = {
    "previous_token": "one\nback",
    "duplicate": "same\ntoken",
    "induction": "behind\nsame",
    "copying": "copying",
    "copying_positivity": "OV λ",
    "first": "first\ntoken",
    "current": "itself",
    "entropy": "entropy",
    "deletion": "deletion",
}
"""Scores and their headings, which fit side by side on 80 columns."""
SOURCES = 6


EDGES = 12


@show.register
def show_heads(found: HeadScores) -> None:
    console.print(
        f"[bold]{len(found.heads)} heads of {escape(found.model)}[/] on {found.samples} ×"
        f" {found.length} random tokens, {found.repeats} times\n"
    )
    shown = [name for name in COLUMNS if name in found.scores]
    table = Table(
        "head", *(COLUMNS[name] for name in shown), box=None, pad_edge=False, header_style="dim"
    )
    best = {
        row.name: row
        for score in ("induction", "previous_token", "copying", "deletion")
        for row in found.top(score, 4)
    }
    for name, row in sorted(best.items()):
        table.add_row(name, *(f"{row.value(score):.3f}" for score in shown))
    console.print(table)
    console.print(
        "[dim]the best four at looking one back, at induction (behind same), copying and deletion;"
        " OV λ: Σλ/Σ|λ| from token to token; all heads in --json and --out[/]"
    )
    if any(found.erasers):
        shares = ", ".join(f"{share:.1%}" for share in found.erasers)
        console.print(
            "[dim]beside deletion heads: neurons that take away what they find, by layer"
            f" {shares}[/]"
        )


@show.register
def show_scatter(found: HeadScatter) -> None:
    show_heads(found.scores)


@show.register
def show_composition(found: Composition) -> None:
    _pairs(found, found.edges(-1.0), "")


@show.register
def show_graph(found: CompositionGraph) -> None:
    _pairs(found.composition, found.edges, f" {found.threshold:+g} above chance or more")


def _pairs(found: Composition, edges: list[CompositionEdge], which: str) -> None:
    turned = "" if found.offset is None else f", keys {found.offset} back"
    console.print(
        f"[bold]{len(edges):,} pairs of {escape(found.model)}[/]{which}, random ones score"
        f" {found.null:.4f}{turned}\n"
    )
    table = Table(
        "by",
        "later",
        "earlier",
        "score",
        "above chance",
        "times chance",
        box=None,
        header_style="dim",
    )
    for edge in edges[:EDGES]:
        table.add_row(
            edge.kind,
            edge.reader,
            edge.writer,
            f"{edge.score:.4f}",
            f"{edge.score - found.null:+.4f}",
            f"{edge.score / found.null:.2f}",
        )
    console.print(table)


@show.register
def show_links(found: VirtualWeights) -> None:
    console.print(
        f"[bold]{escape(found.part)}[/] of {escape(found.model)}; chance {found.null:.3f}\n"
    )
    for side, kinds in (("feeds it", found.before), ("is fed", found.after)):
        for kind, links in kinds.items():
            if links:
                console.print(
                    f"{side}, {kind}: "
                    + ", ".join(f"{link.part} {link.score:+.3f}" for link in links[:8])
                )


@show.register
def show_tokens(found: TokenCircuit) -> None:
    console.print(
        f"[bold]{found.head}[/] of {escape(found.model)}: copies {found.copies} of {found.tokens:,}"
        f" tokens best of all; Σλ/Σ|λ| of OV {found.copying_positivity:+.2f}, of QK"
        f" {found.qk_positivity:+.2f}\n"
    )
    for t in found.trigrams:
        console.print(
            f"{t.strength:8.2f}  {escape(repr(t.source))} … {escape(repr(t.destination))} →"
            f" {escape(repr(t.out))}"
        )
    console.print()
    for source in found.sources[:SOURCES]:
        seen, raised = (
            " ".join(escape(repr(w.token)) for w in some[:6])
            for some in (source.seen_by, source.raises)
        )
        console.print(
            f"[bold]{escape(repr(source.token))}[/] seen by {seen}\n   raises {raised} (itself:"
            f" place {source.rank + 1})"
        )


@show.register
def show_induction(found: Induction) -> None:
    what = (
        f"“{escape(found.text)}”"
        if found.text
        else f"{found.samples} × {found.length} random tokens"
    )
    console.print(f"[bold]Induction in {escape(found.model)}[/], {what}, {found.repeats} times\n")
    console.print(
        f"loss, first block {found.losses[0]}, then "
        + ", ".join(str(loss) for loss in found.losses[1:])
        + " nats a token"
    )
    console.print(f"of the repeated tokens {found.greedy.value:.1%} are the likeliest\n")
    table = Table(
        "head",
        "induction",
        "copying",
        "keys made by (K-composition, looks one back)",
        box=None,
        header_style="dim",
    )
    for head in found.heads:
        partners = ", ".join(
            f"{p.head} ({p.k_composition:.3f}, {p.previous_token:.2f})" for p in head.partners
        )
        table.add_row(head.head, str(head.induction), str(head.copying), partners)
    console.print(table)
    console.print(f"[dim]random pairs compose with {found.null:.3f}[/]")


@show.register
def show_patterns(found: AttentionPatterns) -> None:
    for name, pattern in list(found.plain.items())[:SOURCES]:
        console.print(f"[bold]{name}[/]")
        for i, token in enumerate(found.tokens):
            row = pattern[i, : i + 1]
            best = row.topk(min(3, len(row)))
            looked = ", ".join(
                f"{escape(found.tokens[j])} {x:.2f}"
                for j, x in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            )
            console.print(f"  {escape(token):>14} → {looked}")
    if len(found.plain) > SOURCES:
        console.print(
            f"[dim]and {len(found.plain) - SOURCES} more heads: --head names one, --out shows"
            " all[/]"
        )


def percent(found: Estimate) -> str:
    return found.told(".1%")
