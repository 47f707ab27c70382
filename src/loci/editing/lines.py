"""The texts by which an edit is searched: where the new answer is wanted, and what shall stay as it
is.

    wanted  the prompt, bare and behind contexts; and the model's own phrasings of the question,
            each with the new answer
    kept    texts that the model itself says of the subject, up to where the old or the new answer
            is due

Own phrasings cost nothing but reading: the model is let speak of the subject, behind nothing and
behind beginnings of sentences after which it would name the subject itself. Where what it is about
to say is the old answer, in full, it has asked the question in words of its own (`phrasings.py`).
So an edit needs one prompt from the user, and holds in phrasings that nobody wrote down.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.phrasings import likely_heads, own_phrasings
from loci.errors import EditError
from loci.facts import Fact
from loci.facts.matching import spelling
from loci.facts.scripts import unspaced
from loci.model import Model, OwnAnswer, by_length, own_answers, read_at
from loci.model.answers import BUDGET, SENTENCE_END, with_answer
from loci.model.generation import generate
from loci.model.joins import joins
from loci.model.unembedding import likeliest
from loci.text import BackgroundText, background


class Line(NamedTuple):
    """One text about a fact."""

    fact: int
    ids: tuple[int, ...]
    subject: int
    """Position of the last subject token."""
    read: tuple[int, ...]
    """Positions whose next token counts; none before the subject."""
    wanted: tuple[int, ...] = ()
    """The tokens that should follow there; none where what the model says should stay."""
    weight: float = 1.0
    """How many times it stands for the fact."""


@dataclass(frozen=True)
class LineSettings:
    """How many texts of each kind stand for a fact."""

    contexts: int = 5
    """texts in front of the prompt, beside none: whole sentences, and beginnings of sentences"""
    essence: int = 12
    """texts sampled from the model about the subject, half of them behind beginnings of sentences
    """
    essence_tokens: int = 10
    """and their length"""
    own: int = 4
    """most phrasings of the model's own"""
    seed: int = 0
    """of the sampled texts"""


@torch.no_grad()
def lines_about(
    model: Model, facts: Sequence[Fact], settings: LineSettings, text: BackgroundText | None = None
) -> list[list[Line]]:
    """The lines of each fact: the prompt, bare and behind `contexts` texts, its own phrasings, then
    what is kept.

    `text` is where contexts and openings come from, by default the background text of the model.
    Cost: `essence` sampled texts a fact, and two forward passes over them. Raises `EditError`.
    """
    for fact in facts:
        if fact.new_answer is None:
            raise EditError(f"no new answer for {fact.text!r}: say fact.to(…)")
    text = text or background(model)
    said = own_answers(model, [fact.text for fact in facts])
    old = [_old(fact, own) for fact, own in zip(facts, said, strict=True)]
    new = [
        f"{fact.new_answer}{_stop(own.says, answer)}"
        for fact, own, answer in zip(facts, said, old, strict=True)
    ]
    heads, spaces = _heads(settings, text), joins(model, [fact.text for fact in facts], old)
    found = [
        [
            _asked(
                model,
                i,
                head + fact.text,
                fact.subject,
                len(head) + fact.subject_span[0],
                new[i],
                spaces[i],
            )
            for head in heads
        ]
        for i, fact in enumerate(facts)
    ]
    firsts = [_firsts(model, *each) for each in zip(facts, old, spaces, strict=True)]
    kept, due = _split(model, _samples(model, facts, settings, text), firsts)
    own = list(own_phrasings(model, facts, due, old, settings.own))
    spaces = joins(model, [prompt for _, prompt, _ in own], [old[i] for i, *_ in own])
    for (i, prompt, at), space in zip(own, spaces, strict=True):
        with suppress(EditError):
            found[i].append(_asked(model, i, prompt, facts[i].subject, at, new[i], space))
    for line in kept:
        found[line.fact].append(line)
    return found


def _old(fact: Fact, own: OwnAnswer) -> str:
    """What the model answers now: the fact's answer as it spells it, or else its own, by the one
    rule for that (`loci.model.answer_rule`).
    """
    spelt = (spelling(own.says, answer) for answer in (fact.answer, *fact.aliases))
    return next(filter(None, spelt), own.text or fact.answer)


def _stop(says: str, answer: str) -> str:
    """The full stop that the model puts at once behind its answer: the new answer should end there
    too ("10", not "108").
    """
    behind = says.strip().removeprefix(answer)[:1]
    return behind.strip() if SENTENCE_END.match(behind) else ""


def _heads(settings: LineSettings, text: BackgroundText) -> list[str]:
    """Nothing, then beginnings of sentences and whole ones in turn."""
    begun, whole = (
        text.beginnings(settings.contexts, settings.seed + 1),
        text.sentences(settings.contexts),
    )
    mixed = [head for pair in zip(begun, whole, strict=True) for head in pair]
    return ["", *(" ".join([*head.split()[:40], ""]) for head in mixed[: settings.contexts])]


def _asked(
    model: Model, fact: int, prompt: str, subject: str, at: int, answer: str, join: str
) -> Line:
    """The line that wants an answer behind a prompt whose subject begins at the character `at`, and
    behind `join`.
    """
    tokens, (first, last) = with_answer(model, prompt, answer, join)
    end = tokens.span((at, at + len(subject)))[1]
    behind = tokens.offsets[end - 1][1]
    if behind > at + len(subject) and not unspaced(subject[-1]):
        raise EditError(
            f"the last token of {subject!r} in {prompt!r} also holds"
            f" {prompt[at + len(subject) : behind]!r}: put a space behind the subject"
        )
    return Line(
        fact,
        tokens.ids[: last - 1],
        end - 1,
        tuple(range(first - 1, last - 1)),
        tokens.ids[first:last],
    )


def _firsts(model: Model, fact: Fact, old: str, join: str) -> set[int]:
    """First tokens of the answers at which a text about the subject stops to be something else."""
    split = [
        with_answer(model, fact.text, answer, join)
        for answer in (old, fact.answer, fact.new_answer or "")
    ]
    return {tokens.ids[start] for tokens, (start, _) in split}


class _Sample(NamedTuple):
    fact: int
    ids: tuple[int, ...]
    subject: int


def _samples(
    model: Model, facts: Sequence[Fact], settings: LineSettings, text: BackgroundText
) -> list[_Sample]:
    """Texts that the model goes on with behind each subject."""
    if not settings.essence:
        return []
    likely = likely_heads(model, facts, settings.essence // 2, text)
    starts = []
    for i, fact in enumerate(facts):
        for head in (
            *[""] * (settings.essence - len(likely[i])),
            *(f"{head} " for head in likely[i]),
        ):
            tokens = model.tokenize(head + fact.subject)
            starts.append(
                _Sample(
                    i, tokens.ids, tokens.span((len(head), len(head) + len(fact.subject)))[1] - 1
                )
            )
    sampled = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        for batch in by_length(
            starts, lambda start: len(start.ids), BUDGET // 2, model.rows_at_once
        ):
            ids = model.ids([starts[i].ids for i in batch])
            made = generate(model, ids, settings.essence_tokens, least=1, sample=True)
            sampled += [
                starts[i]._replace(ids=(*starts[i].ids, *row))
                for i, row in zip(batch, made, strict=True)
            ]
    return sampled


def _split(
    model: Model, samples: Sequence[_Sample], firsts: Sequence[set[int]]
) -> tuple[list[Line], list[tuple[int, str]]]:
    """What of each sample is kept, and the texts behind which an answer is due."""
    kept, due = dict[Line, int](), dict[tuple[int, str], None]()
    for batch in by_length(samples, lambda sample: len(sample.ids), BUDGET):
        best = likeliest(model, model.ids([samples[i].ids for i in batch])).tolist()
        for i, row in zip(batch, best, strict=True):
            fact, ids, subject = samples[i]
            end = next((p for p in range(subject, len(ids)) if row[p] in firsts[fact]), None)
            if end is not None:
                due[fact, model.decode(ids[model.special : end + 1]).strip()] = None
            read = tuple(range(subject, len(ids) if end is None else end))
            if read:
                line = Line(fact, ids[: read[-1] + 1], subject, read)
                kept[line] = kept.get(line, 0) + 1
    return [line._replace(weight=float(count)) for line, count in kept.items()], list(due)


def mean_reads(
    model: Model, lines: Sequence[Line], facts: int, places: Mapping[str, Callable[[Line], int]]
) -> dict[str, Float[Tensor, "fact width"]]:
    """What stands at a point, at one position of each line, averaged over each fact's lines. Cost:
    one partial forward pass.
    """
    whose = torch.tensor([line.fact for line in lines])
    counts = torch.bincount(whose, minlength=facts)[:, None]
    at = {point: [place(line) for line in lines] for point, place in places.items()}
    sums: dict[str, Tensor] = {}
    for batch, reads in read_at(model, [line.ids for line in lines], at):
        for point, here in reads.items():
            sums.setdefault(point, torch.zeros(facts, here.shape[1])).index_add_(
                0, whose[batch], here.float()
            )
    return {point: total / counts for point, total in sums.items()}
