"""Edits, their scorecards and the whole story, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.auditing import Recall, Scorecard, Sweep
from loci.cli.common import console
from loci.cli.show.base import estimate_row, grid, show
from loci.report import Story
from loci.report.words import audit_words, edit_words, neuron_words, trace_words, undo_words


@show.register
def show_story(story: Story) -> None:
    """The whole story, in the words of the report."""
    fact = story.fact
    console.rule(f"[bold]{escape(fact.text)}[/] [strike]{escape(fact.answer)}[/] [bold blue]{escape(fact.new_answer or '')}[/]")
    _chapter("Where is it?", trace_words(story.trace))
    grid(story.trace)
    _chapter("Which neurons hold it?", neuron_words(story))
    for card in story.cards:
        writes = ", ".join(token.strip() for token, _ in card.promotes[:6])
        fires = "; ".join((t.before + t.token)[-34:].strip() for t in card.triggers[:2])
        console.print(f"  [bold]{card.name}[/]  writes: {escape(writes)}\n         fires on: …{escape(fires)}")
    _chapter("Change it", edit_words(story))
    _ladder(story)
    _chapter("What else did that touch?", audit_words(story))
    _metrics(story.more)
    _chapter("Undo it", undo_words(story))


@show.register
def show_scorecard(card: Scorecard) -> None:
    console.print(f"[bold]{card.edits} {card.method} edit{'s' * (card.edits != 1)}[/], layer {', '.join(map(str, card.layers))}\n")
    _metrics(card)
    changed = [line for case in card.cases for line in case.changed]
    if changed:
        console.print(f"\n[dim]{len(changed)} other answers changed, for example:[/]")
        for line in changed[:5]:
            console.print(f"  {escape(line)}")


@show.register
def show_recall(recall: Recall) -> None:
    table = Table("", "recall", "95 % interval", "facts", box=None, header_style="dim")
    estimate_row(table, "trained phrasings", recall.trained)
    estimate_row(table, "held-out phrasings", recall.held_out)
    table.add_section()
    for name, estimate in recall.by_relation.items():
        estimate_row(table, name, estimate)
    console.print(table)
    if recall.missed:
        console.print(f"\n[dim]missed, for example:[/] {escape('; '.join(recall.missed[:5]))}")


@show.register
def show_sweep(found: Sweep) -> None:
    console.print(f"[bold]{found.edits} facts edited at every layer[/] ({found.failed} edits refused)\n")
    table = Table("layer", "efficacy", "95 % interval", "traced effect", "95 % interval", box=None, header_style="dim")
    for layer, (done, effect) in enumerate(zip(found.efficacy, found.effect, strict=True)):
        table.add_row(
            str(layer),
            f"{done.value:.0%}",
            f"{done.low:.0%} … {done.high:.0%}",
            f"{effect.value:.3f}",
            f"{effect.low:.3f} … {effect.high:.3f}",
        )
    console.print(table)
    console.print(
        f"\nrank correlation of success and effect over layers, mean over {found.correlation.n} facts: {found.correlation}"
    )


def _chapter(title: str, words: str) -> None:
    console.print(f"\n[bold]{title}[/]\n{escape(words)}\n")


def _metrics(card: Scorecard) -> None:
    table = Table("", "value", "95 % interval", "n", box=None, header_style="dim")
    for name, estimate in card.metrics.items():
        estimate_row(table, name, estimate, percent=name != "drift_kl")
    console.print(table)


def _ladder(story: Story) -> None:
    states = story.ladder.states
    best = sorted({t for s in states.values() for t in s}, key=lambda t: -max(s.get(t, 0) for s in states.values()))[:5]
    table = Table("next token", *states, box=None, header_style="dim")
    for token in best:
        table.add_row(escape(token.strip() or repr(token)), *(f"{s.get(token, 0.0):.3f}" for s in states.values()))
    console.print(table)
