"""A story as one HTML file that opens without a network: text, figures, neuron cards, scorecard."""

from html import escape
from pathlib import Path

from loci.auditing import Scorecard
from loci.files import write_aside
from loci.locating.trace_words import trace_words
from loci.patches import short
from loci.reading import NeuronCard, Trigger
from loci.report.frame import figure, frame, section
from loci.report.story import Story
from loci.report.words import audit_words, edit_words, neuron_words, undo_words


def write_page(story: Story, path: str | Path) -> None:
    """Write the report to `path`."""
    with write_aside(path) as aside:
        aside.write_text(page(story), encoding="utf-8")


def page(story: Story) -> str:
    fact = story.fact
    old, new = escape(fact.answer), escape(fact.new_answer or "")
    sections = [
        section("Where is it?", trace_words(story.trace), figure(story.trace)),
        section(
            "Which neurons hold it?",
            neuron_words(story),
            figure(story.neurons),
            cards_html(story.cards),
        ),
        section("Change it", edit_words(story), figure(story.ladder)),
        section(
            "What else did that touch?",
            audit_words(story),
            figure(story.audit),
            _changed(story.audit),
            figure(story.more),
        ),
        section("Undo it", undo_words(story)),
    ]
    return frame(
        f"{fact.text} …",
        f"{escape(fact.text)} <s>{old}</s> <em>{new}</em>",
        "one fact, held in the hand",
        f"A trained transformer says <b>{old}</b>. This page shows where it keeps that, which"
        f" neurons hold it, how one small change of one weight matrix makes it say <b>{new}</b>,"
        " what else that change touched, and that undoing it restores every bit.",
        sections,
        f"model {story.model} · weights {short(story.fingerprint)} · patch {story.patch.id} ·"
        f" {story.seconds:.0f} s · every figure above was measured in this run",
    )


def cards_html(cards: tuple[NeuronCard, ...]) -> str:
    return f'<div class="cards">{"".join(map(neuron_card, cards))}</div>'


def neuron_card(card: NeuronCard) -> str:
    """One neuron: key side, value side, facts."""
    fires = f"<dt>fires at</dt><dd>{card.fires}</dd>"
    promotes, suppresses = (
        "".join(f'<span class="{way}">{_visible(token)}</span>' for token, _ in tokens)
        for way, tokens in (("up", card.promotes), ("down", card.suppresses))
    )
    return f"""<article class="card"><h3>{card.name}</h3>
<dl>{fires}<dt>key · value</dt><dd>cosine {card.cosine:+.2f}</dd></dl>
<h4>key: what it looks for</h4><ul class="triggers">{"".join(map(_trigger, card.triggers))}</ul>
<h4>value: what it writes</h4><p class="chips">{promotes}</p>
<p class="chips">{suppresses}</p>
{_near(card)}</article>"""


def _near(card: NeuronCard) -> str:
    """The neurons that write most nearly the same."""
    names = ", ".join(f"{name} ({cosine:+.2f})" for name, cosine in card.nearest)
    return f"<h4>values most nearly the same</h4><p>{names}</p>" if names else ""


def _trigger(trigger: Trigger) -> str:
    before, token, after = (escape(t) for t in (trigger.before, trigger.token, trigger.after))
    text = f"{before}<mark>{token}</mark><i>{after}</i>"
    return f"<li><b>{trigger.activation:.2f}</b>{text}</li>"


def _visible(token: str) -> str:
    return escape(token.strip()) or "␣"


def _changed(card: Scorecard) -> str:
    changed = [line for case in card.cases for line in case.changed]
    if not changed:
        return (
            '<p class="good">None of the neighbour prompts and none of the subject\'s other facts'
            " changed.</p>"
        )
    return (
        "<p>What is said differently now:</p><ul>"
        + "".join(f"<li>{escape(line)}</li>" for line in changed)
        + "</ul>"
    )
