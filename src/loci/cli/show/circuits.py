"""Heads, composition, paths and a fact's circuit, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.circuits import (
    AttentionPatterns,
    Composition,
    CompositionEdge,
    CompositionGraph,
    EdgeAttribution,
    ExtractionHeads,
    FactCircuit,
    HeadScatter,
    HeadScores,
    Induction,
    OrderLosses,
    PathExpansion,
    TokenCircuit,
    VirtualWeights,
)
from loci.cli.common import console
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
EDGES = 12
SOURCES = 6


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
        table.add_row(head.head, _percent(head.lost), str(head.direct), _percent(head.attention))
    console.print(table)
    console.print(
        f"each fact's own four strongest heads cut at once: P lost {_percent(found.together)}"
    )


def _percent(found: Estimate) -> str:
    return found.told(".1%")
