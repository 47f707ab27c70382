"""Dictionaries of sparse features, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import show
from loci.dictionaries import (
    AttributionGraph,
    DictionaryJudgement,
    FeatureCard,
    OpenedDictionary,
    TrainedDictionary,
)
from loci.dictionaries.training import TrainedDictionaries
from loci.stats import spelt


@show.register
def show_trained(found: TrainedDictionary) -> None:
    show_all_trained(TrainedDictionaries((found,)))


@show.register
def show_all_trained(found: TrainedDictionaries) -> None:
    first = found.trained[0]
    console.print(
        f"[bold]Dictionaries of {escape(str(first.dictionary.model))}[/], {first.steps:,} steps,"
        f" {first.tokens:,} tokens\n"
    )
    heads = ("features", "kind", "FVU", "L0", "dead", "CE recovered", "by mean ablation", "‖ŷ‖/‖y‖")
    table = Table("point", *heads, box=None, header_style="dim")
    for each in found.trained:
        s, d = each.settings, each.dictionary
        name = s.point if s.target is None else f"{s.point} → {s.target}"
        shares = each.recovered.ce_recovered
        numbers = (
            f"{each.fvu:.3f}",
            f"{each.l0:.1f}",
            f"{each.dead:.1%}",
            spelt(shares["zero"], ".1%"),
            spelt(shares["mean"], ".1%"),
        )
        table.add_row(
            escape(name), f"{d.features:,}", s.activation, *numbers, f"{each.fit.ratio:.3f}"
        )
    console.print(table)
    console.print(
        f"\n[dim]on {first.fit.tokens:,} held-out tokens; CE recovered with zero ablation, then"
        f" with mean ablation; {first.seconds:.0f} s in all[/]"
    )


@show.register
def show_opened(found: OpenedDictionary) -> None:
    d = found.dictionary
    kind = "transcoder" if d.transcoder else "autoencoder"
    ends = f"{d.point} → {d.target}" if d.transcoder else str(d.point)
    k = "" if d.k is None else f", k = {d.k}"
    console.print(
        f"[bold]{d.features:,} features[/] of {escape(ends)}: {d.activation} {kind}{k}, {d.d_in} →"
        f" {d.d_out} numbers, format of {escape(d.format)}\n"
    )
    fit = found.fit
    console.print(
        f"FVU {fit.fvu:.3f} · L0 {fit.l0:.1f} · {fit.alive:.1%} of features are on at one of"
        f" {fit.tokens:,} tokens · ‖ŷ‖/‖y‖ {fit.ratio:.2f} · cosine {fit.cosine:.3f}"
    )
    console.print(f"read {escape(found.chosen)}")
    if len(found.tried) > 1:
        table = Table("reading", "FVU", "L0", box=None, header_style="dim")
        for name, fvu, l0 in sorted(found.tried, key=lambda each: each[1])[:8]:
            table.add_row(escape(name), f"{fvu:.3g}", f"{l0:.1f}")
        console.print(table)


@show.register
def show_judgement(found: DictionaryJudgement) -> None:
    d, fit, lost = found.dictionary, found.fit, found.recovered
    console.print(
        f"[bold]{d.features:,} features[/] of {escape(str(d.point))} in {escape(found.model)}\n"
    )
    console.print(
        f"FVU {fit.fvu:.3f} · L0 {fit.l0:.1f} · dead {1 - fit.alive:.1%} of {fit.tokens:,} tokens ·"
        f" ‖ŷ‖/‖y‖ {fit.ratio:.2f} · cosine {fit.cosine:.3f}"
    )
    table = Table(
        "ablation",
        "CE recovered",
        "KL recovered",
        "CE",
        "spliced",
        "ablated",
        box=None,
        header_style="dim",
    )
    for name in ("zero", "mean"):
        shares = (spelt(lost.ce_recovered[name], ".1%"), spelt(lost.kl_recovered[name], ".1%"))
        table.add_row(
            name,
            *shares,
            f"{lost.ce:.4f}",
            f"{lost.ce_spliced:.4f}",
            f"{getattr(lost, f'ce_{name}'):.4f}",
        )
    console.print(table)
    if not found.labels:
        return
    heads = ("units", "clean label", "shuffled", "labels found", "shuffled", "mean AUC", "mean F1")
    table = Table("what", *heads, box=None, header_style="dim")
    for name, each in found.labels.items():
        estimates = (each.clean, each.shuffled_clean, each.covered, each.shuffled_covered)
        table.add_row(
            name,
            f"{each.units:,}",
            *(e.told(".1%") for e in estimates),
            f"{each.auc:.3f}",
            f"{each.f1:.3f}",
        )
    console.print("\n", table)
    own = found.labels["features"]
    console.print(
        f"[dim]{own.labels} labels from {found.facts:,} facts; clean: F1 of 0.8 on held-out"
        " facts[/]\n"
    )
    for unit, label, auc, f1 in own.best[:10]:
        console.print(f"  feature {unit:<6} {escape(label)}: F1 {f1:.2f}, AUC {auc:.3f}")


@show.register
def show_graph(graph: AttributionGraph) -> None:
    against = "the mean logit" if graph.against is None else graph.against
    console.print(
        f"[bold]{escape(graph.prompt)}[/] → {escape(graph.answer)}, against {escape(against)}\n"
    )
    table = Table(
        "node", "token", "activation", "effect", "share of influence", box=None, header_style="dim"
    )
    for node in graph.units()[:16]:
        token = graph.tokens[node.position].strip() or repr(graph.tokens[node.position])
        table.add_row(
            escape(node.id),
            escape(token),
            f"{node.activation:.2f}",
            f"{node.effect:+.3f}",
            f"{node.influence:.1%}",
        )
    console.print(table)
    ends = {node.id: node.effect for node in graph.nodes if node.kind in ("embedding", "bias")}
    errors = sum(node.effect for node in graph.nodes if node.kind == "error")
    console.print(
        f"\nscore {graph.score:.3f}, sum of direct effects {graph.total:.3f} · {graph.followed}"
        f" units followed, {len(graph.nodes)} nodes and {len(graph.edges):,} edges kept · biases"
        f" {ends['bias']:+.3f}, errors {errors:+.3f}"
    )
    tried = graph.interventions
    console.print(
        "[dim]set to zero in the real model, one by one: correlation"
        f" {spelt(tried.correlation, '.2f')} of what the graph says and what the score loses, of"
        f" ranks {spelt(tried.rank_correlation, '.2f')}, n = {len(tried.nodes)}[/]"
    )


@show.register
def show_feature(card: FeatureCard) -> None:
    console.rule(f"[bold]{escape(card.point)} F{card.feature}[/]")
    console.print(f"on at {card.density:.2%} of {card.tokens:,} tokens of {escape(card.model)}\n")
    for trigger in card.triggers:
        token = (
            f"[bold black on yellow]{escape(trigger.token)}[/]"
            if console.coloured
            else f"»{escape(trigger.token)}«"
        )
        console.print(
            f"  {trigger.activation:6.2f} "
            f" {escape(trigger.before)}{token}[dim]{escape(trigger.after)}[/]"
        )
    if not card.triggers:
        console.print("  it is never on in this text")
    for title in ("promotes", "suppresses"):
        words = ", ".join(token.strip() or repr(token) for token, _ in getattr(card, title))
        console.print(f"  {title:<11} {escape(words)}" if words else "", end="\n" if words else "")
    for title, said in (("nearest", "near it"), ("writers", "written by"), ("readers", "read by")):
        if getattr(card, title):
            console.print(
                f"  {said:<11} "
                + ", ".join(f"{name} {cosine:+.2f}" for name, cosine in getattr(card, title))
            )
