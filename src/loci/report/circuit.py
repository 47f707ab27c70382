"""Attention to hover over, and a fact's circuit on one page: attention, MLPs and the paths between
them.
"""

import json
from html import escape
from importlib.resources import files
from pathlib import Path

from loci.circuits import AttentionPatterns, FactCircuit
from loci.deprecated import renamed_arguments
from loci.files import write_aside
from loci.model import Model
from loci.progress import Progress, silent
from loci.reading import NeuronCard, read_many
from loci.report.frame import figure, frame, section
from loci.report.story_page import cards_html
from loci.text import sample_text

READING_TOKENS = 30_000
CARDS = 3


@renamed_arguments(found="patterns")
def save_attention(patterns: AttentionPatterns, path: str | Path) -> None:
    """Write a page on which the text shows, token by token, where each head looks."""
    words = (
        "Hover over a token to see what it looks at; click holds it. Value-weighted: times the"
        " length of what each source writes."
    )
    sections = [section("Where heads look", words, attention_html(patterns))]
    _write(
        path,
        frame(
            f"attention in {patterns.model}",
            escape(patterns.text),
            "attention",
            "",
            sections,
            f"model {patterns.model}",
        ),
    )


@renamed_arguments(found="circuit")
def save_circuit(
    model: Model, circuit: FactCircuit, path: str | Path, *, progress: Progress = silent
) -> None:
    """Write a fact's page. Cost: one pass over 30,000 tokens of the embedded text, for the cards of
    its first neurons.
    """
    cards = cards_of(model, circuit, progress)
    intro = (
        f"MLPs gather what the model knows about {escape(circuit.subject)} where the name stands;"
        " heads carry it to the last token. Every number below is of this run."
    )
    sections = [
        section(
            "Attention: who looks at the subject",
            attention_words(circuit),
            attention_html(circuit.patterns),
        ),
        section("Circuit: what is carried", circuit_words(circuit), figure(circuit)),
        (
            section("MLPs: what stands at the subject", neuron_words(circuit), cards_html(cards))
            if cards
            else ""
        ),
    ]
    heading = f"{escape(circuit.prompt)} <em>{escape(circuit.answer)}</em>"
    kicker = "one fact, attention and MLPs together"
    _write(
        path,
        frame(f"{circuit.prompt} …", heading, kicker, intro, sections, f"model {circuit.model}"),
    )


def cards_of(
    model: Model, circuit: FactCircuit, progress: Progress = silent
) -> tuple[NeuronCard, ...]:
    """Cards of the first neurons: their keys and their values."""
    names = list(dict.fromkeys(role.neuron for role in circuit.neurons))[:CARDS]
    best = [(int(layer), int(neuron)) for layer, neuron in (name[1:].split("N") for name in names)]
    if not best:
        return ()
    return tuple(
        read_many(model, best, sample_text(model, READING_TOKENS), top=5, progress=progress)
    )


def attention_words(circuit: FactCircuit) -> str:
    looks = ", ".join(f"{c.head} ({c.attention:.0%})" for c in circuit.heads[: len(circuit.shown)])
    return (
        "The heads that write most of the answer, and how much of its attention the last token"
        f" gives the subject in each: {looks}."
    )


def circuit_words(circuit: FactCircuit) -> str:
    needed = max(circuit.heads, key=lambda c: c.lost)
    shares = sum(c.direct for c in circuit.heads)
    return (
        f"Read at the subject, heads add {shares:+.1f} to the answer's score of"
        f" {circuit.score:.1f}."
        f" Of single heads most is lost without {needed.head}: with the last token blind to the"
        f" subject in it alone, P falls by {needed.lost:.0%}; with {', '.join(circuit.shown)} blind"
        f" at once, by {circuit.together:.0%}. What is written and what is needed may differ, as"
        " further layers use what a head wrote, or make up for it."
    )


def neuron_words(circuit: FactCircuit) -> str:
    first = circuit.neurons[0]
    return (
        f"The value of {first.neuron}, at “{circuit.tokens[first.token].strip()}”, adds"
        f" {first.total:+.2f} to the answer's score through the heads above it: that is its virtual"
        " weight through W_OV to the answer's logit, times its activation. Below, what such"
        " neurons look for and write."
    )


def attention_html(patterns: AttentionPatterns) -> str:
    """The text with its patterns, and what makes it live; once on a page."""
    read = files("loci.report").joinpath
    grids = {
        name: {h: [[round(x, 4) for x in row] for row in grid.tolist()] for h, grid in of.items()}
        for name, of in (("plain", patterns.plain), ("weighted", patterns.weighted))
    }
    data = json.dumps({"heads": list(patterns.plain), "tokens": patterns.tokens, **grids}).replace(
        "</", "<\\/"
    )
    spans = "".join(f"<span>{escape(token)}</span>" for token in patterns.tokens)
    chips = _chips("head", {h: h for h in patterns.plain})
    chips += _chips("weight", {"plain": "plain", "weighted": "value-weighted"}) + _chips(
        "side", dict.fromkeys(("looks at", "looked at by"))
    )
    return (
        f'<div class="attention">{chips}<p class="text">{spans}</p><p class="said"></p>'
        f'<script type="application/json">{data}</script></div>'
        f"<style>{read('attention.css').read_text(encoding='utf-8')}</style>"
        f"<script>{read('attention.js').read_text(encoding='utf-8')}</script>"
    )


def _chips(key: str, values: dict[str, str | None]) -> str:
    buttons = "".join(
        f'<button data-key="{key}" value="{escape(v)}">{escape(label or v)}</button>'
        for v, label in values.items()
    )
    return f'<p class="chips">{buttons}</p>'


def _write(path: str | Path, page: str) -> None:
    with write_aside(Path(path)) as aside:
        aside.write_text(page, encoding="utf-8")
