"""Edits, their scorecards and the whole story, on a terminal."""

import math

from rich.markup import escape
from rich.table import Table

from loci.auditing import Recall, Scorecard, SequentialAudit, Sweep
from loci.cli.console import console
from loci.cli.show.base import estimate_row, grid, narrow, show
from loci.cli.terminal import plain
from loci.figures.scorecard import reading
from loci.report import Story
from loci.report.words import audit_words, edit_words, neuron_words, trace_words, undo_words
from loci.stats import spelt

SHORT = {
    "paraphrase_untrained": "… unseen",
    "specificity_same_answer": "… same answer",
    "efficacy_likelier": "new likelier",
    "paraphrase_likelier": "… paraphrased",
    "drift_kl": "drift, nats",
    "perplexity_ratio": "perplexity",
    "fluency": "fluency, bits",
    "fluency_base": "… of the base",
    "knowledge neurons": "neurons",
    "linear relations": "linear",
}
"""Names of metrics and controls that would be long on a terminal."""


@show.register
def show_story(story: Story) -> None:
    """The whole story, in the words of the report."""
    fact = story.fact
    console.rule(
        f"[bold]{escape(fact.text)}[/] [strike]{escape(fact.answer)}[/] [bold"
        f" #2f7fd6]{escape(fact.new_answer or '')}[/]"
    )
    _chapter("Where is it?", trace_words(story.trace))
    grid(story.trace)
    _chapter("Which neurons hold it?", neuron_words(story))
    for card in story.cards:
        writes = ", ".join(token.strip() for token, _ in card.promotes[:6])
        fires = "; ".join((t.before + t.token)[-34:].strip() for t in card.triggers[:2])
        console.print(
            f"  [bold]{card.name}[/]  writes: {escape(writes)}\n         fires on: …{escape(fires)}"
        )
    _chapter("Change it", edit_words(story))
    _ladder(story)
    _chapter("What else did that touch?", audit_words(story))
    _metrics(story.more)
    _chapter("Undo it", undo_words(story))


@show.register
def show_scorecard(card: Scorecard) -> None:
    console.print(
        f"[bold]{card.edits} {card.method} edit{'s' * (card.edits != 1)}[/], layer"
        f" {', '.join(map(str, card.layers))}\n"
    )
    _metrics(card)
    if card.cases:
        console.print(
            f"\n[bold]{len(card.cases) - len(card.failed)} of {len(card.cases)}[/] new answers are"
            " said"
        )
    for case in card.failed[:5]:
        console.print(
            f"  failed: {plain(case.fact.text)} → {plain(case.fact.new_answer)}: the model says"
            f" {plain(case.said)}"
        )
    if len(card.failed) > 5:
        console.print(f"  [dim]… and {len(card.failed) - 5} more[/]")
    changed = [line for case in card.cases for line in case.changed]
    if changed:
        console.print(f"\n[dim]{len(changed)} other answers changed, for example:[/]")
        for line in changed[:5]:
            console.print(f"  {escape(line)}")


@show.register
def show_recall(recall: Recall) -> None:
    scored = {"answer": "the facts' answers", "new_answer": "the facts' NEW answers"}
    words = scored.get(
        recall.scored, "the facts' new answers, and the answers of those that have none"
    )
    console.print(f"[bold]{recall.facts:,} fact{'s' * (recall.facts != 1)}[/], scored by {words}\n")
    table = Table("", "recall", "95 % interval", "facts", box=None, header_style="dim")
    estimate_row(table, "trained phrasings", recall.trained)
    estimate_row(table, "held-out phrasings", recall.held_out)
    estimate_row(table, "spelled as in the file", recall.strict)
    table.add_section()
    for name, estimate in recall.by_relation.items():
        estimate_row(table, name, estimate)
    if recall.new.n:
        table.add_section()
        estimate_row(table, "new answer said", recall.new)
        estimate_row(table, "old answer said", recall.old)
    console.print(table)
    if recall.missed:
        console.print(f"\n[dim]missed, for example:[/] {escape('; '.join(recall.missed[:5]))}")


@show.register
def show_sweep(found: Sweep) -> None:
    console.print(
        f"[bold]{found.edits} facts edited at every layer[/] ({found.failed} edits refused)\n"
    )
    table = Table(
        "layer",
        "efficacy",
        "95 % interval",
        "traced effect",
        "95 % interval",
        box=None,
        header_style="dim",
    )
    for layer, (done, effect) in enumerate(zip(found.efficacy, found.effect, strict=True)):
        table.add_row(
            str(layer),
            spelt(done.value, ".0%"),
            done.interval(".0%"),
            spelt(effect.value, ".3f"),
            effect.interval(".3f"),
        )
    console.print(table)
    console.print(
        f"\nrank correlation of success and effect over layers, mean over {found.correlation.n}"
        f" facts: {found.correlation}"
    )


def _chapter(title: str, words: str) -> None:
    console.print(f"\n[bold]{title}[/]\n{escape(words)}\n")


def _metrics(card: Scorecard) -> None:
    """The edit with its intervals, then beside each control; shares in percent."""
    table = narrow("", "value", "95 % interval", "n")
    for name, estimate in card.metrics.items():
        value, low, high = (_number(name, number) for number in estimate[:3])
        table.add_row(
            _metric(name), value, f"{low} … {high}" if low != "–" else "", str(estimate.n)
        )
    console.print(table)
    if card.controls:
        console.print("\n[dim]beside controls[/]")
        console.print(_beside(card))
    for name, why in card.left_out.items():
        console.print(f"[dim]{escape(name)} is not there, or not for all edits:[/] {escape(why)}")


def _beside(card: Scorecard) -> Table:
    table = narrow(
        "",
        "edit",
        *(SHORT.get(name, name.replace("-", "- ").replace(" ", "\n")) for name in card.controls),
    )
    for name, estimate in card.metrics.items():
        values = (
            metrics[name].value if name in metrics else math.nan
            for metrics in card.controls.values()
        )
        table.add_row(_metric(name), *(_number(name, value) for value in (estimate.value, *values)))
    return table


def _metric(name: str) -> str:
    return SHORT.get(name, name.replace("_", " "))


def _number(name: str, value: float) -> str:
    return reading(name, value).removesuffix("%")


@show.register
def show_curves(curves: SequentialAudit) -> None:
    console.print(
        f"[bold]{curves.points[-1].edits} {curves.method} edits, {curves.each} at a time[/]\n"
    )
    names = (
        "efficacy",
        "paraphrase",
        "specificity",
        "same_subject",
        "drift_kl",
        "perplexity_ratio",
    )
    table = narrow(
        "edits", *names[:3], "same\nsubject", "drift,\nnats", "perplexity", "change", "rank"
    )
    for point in curves.points:
        values = (_number(name, point.metrics[name].value) for name in names)
        table.add_row(str(point.edits), *values, f"{point.output_change:.3f}", str(point.rank))
    console.print(table)
    for point in curves.points:
        if point.warnings:
            console.print(
                f"[bold]warning at {point.edits} edits:[/] {escape('; '.join(point.warnings))}"
            )
    if curves.stopped:
        console.print(f"[bold]stopped:[/] {escape(curves.stopped)}")


def _ladder(story: Story) -> None:
    states = story.ladder.states
    best = sorted(
        {t for s in states.values() for t in s},
        key=lambda t: -max(s.get(t, 0) for s in states.values()),
    )[:5]
    table = Table("next token", *states, box=None, header_style="dim")
    for token in best:
        table.add_row(
            escape(token.strip() or repr(token)),
            *(f"{s.get(token, 0.0):.3f}" for s in states.values()),
        )
    console.print(table)
