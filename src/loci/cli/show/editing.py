"""Edits, their scorecards and the whole story, on a terminal."""

from rich.markup import escape
from rich.table import Table

from loci.cli.console import console
from loci.cli.show.base import show, show_table
from loci.locating.trace_words import trace_words
from loci.report import Story
from loci.report.words import audit_words, edit_words, neuron_words, undo_words


@show.register
def show_story(story: Story) -> None:
    """The whole story, in the words of the report."""
    fact = story.fact
    console.rule(
        f"[bold]{escape(fact.text)}[/] [strike]{escape(fact.answer)}[/] [bold"
        f" #2f7fd6]{escape(fact.new_answer or '')}[/]"
    )
    _chapter("Where is it?", trace_words(story.trace))
    for table in story.trace.tables():
        show_table(table)
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
    for table in story.more.tables()[:2]:
        show_table(table)
    _chapter("Undo it", undo_words(story))


def _chapter(title: str, words: str) -> None:
    console.print(f"\n[bold]{title}[/]\n{escape(words)}\n")


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
