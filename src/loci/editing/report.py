"""Ask the edited model what it says now: the edits themselves, then a quick sample of what should
be as before.

1. Every fact's prompt, greedily. One forward pass over prompts with their new answers decides (see
   `loci.model.answers`); only those that fail are let speak.
2. Neighbours: the same question about other subjects. The facts' own `neighbours`; else, of a
   relation that is known, known subjects; else the facts' other subjects; else the edit's own
   retain prompts. What counts is the base's own answer.
3. The subjects' other facts, as far as they are known, and the base's own answers to them.
4. Sentences: texts that the base samples itself, seeded; the share of positions whose likeliest
   next token is another.

Cost: three forward passes over some 200 short prompts and `TEXTS` texts, and sampling those. `loci
audit` asks more, with controls.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

from loci.editing.neighbour_prompts import (
    known_relation,
    likeliest_tokens,
    neighbour_prompts,
    own_sentences,
)
from loci.errors import EditError, ModelError
from loci.facts import UNSAID, Fact, known_facts
from loci.facts.fact import FIRST_WORD
from loci.model import Model, own_answers, score_answers
from loci.patches import EditReport, FailedFact, MovedAnswer, OldAnswer, Patch
from loci.stats import share

NEIGHBOURS, EACH = 200, 20
"""Most neighbours that are asked, and most of one fact."""
SHOWN = 20
"""Moved answers that are kept with a patch."""


class OldAnswers(NamedTuple):
    """Facts with the old answers that the model gives, and what they said instead."""

    facts: list[Fact]
    corrected: tuple[OldAnswer, ...]
    already: tuple[str, ...]


def with_old_answers(model: Model, facts: Sequence[Fact]) -> OldAnswers:
    """The facts as the model answers them now: an old answer that it does not say is replaced by
    what it says.

    Cost: one forward pass, and generations where an answer is not the model's.
    """
    edits = [fact for fact in facts if fact.new_answer is not None]
    already = [
        fact.text for fact, says in zip(edits, said_now(model, edits), strict=True) if says is None
    ]
    given = [(fact.text, answer) for fact in facts for answer in (fact.answer, *fact.aliases)]
    scores = iter(score_answers(model, given))
    found = [[next(scores) for _ in (fact.answer, *fact.aliases)] for fact in facts]
    right = [any(score.said for score in own) for own in found]
    wrong = [fact for fact, holds in zip(facts, right, strict=True) if not holds]
    spoken = iter([own.text for own in own_answers(model, [fact.text for fact in wrong])])
    recorded, corrected = [], []
    for fact, holds in zip(facts, right, strict=True):
        says = fact.answer if holds else next(spoken)
        if not says and fact.answer == UNSAID:
            raise ModelError(
                f"{model.name!r} says nothing after {fact.text!r}: say what the answer is"
            )
        if not holds and fact.answer != UNSAID and fact.text not in already:
            corrected.append(OldAnswer(fact.subject, fact.text, fact.answer, says))
        recorded.append(
            fact
            if holds or not says
            else replace(fact, answer=says, aliases=(), answer_rule=FIRST_WORD)
        )
    return OldAnswers(recorded, tuple(corrected), tuple(already))


def as_said(model: Model, fact: Fact) -> Fact:
    """One fact with the old answer that the model gives."""
    return with_old_answers(model, [fact]).facts[0]


def said_now(model: Model, facts: Sequence[Fact]) -> list[str | None]:
    """For each fact None where the model now gives its new answer (or an alias of it), else what it
    says.
    """
    wanted = [(fact.new_answer or "", *fact.new_aliases) for fact in facts]
    scores = iter(
        score_answers(
            model,
            [
                (fact.text, word)
                for fact, words in zip(facts, wanted, strict=True)
                for word in words
            ],
        )
    )
    found = [[next(scores) for _ in words] for words in wanted]
    hits = [any(score.said for score in own) for own in found]
    spoken = iter(
        own_answers(model, [fact.text for fact, hit in zip(facts, hits, strict=True) if not hit])
    )
    return [None if hit else next(spoken).text for hit in hits]


def with_report(
    model: Model,
    patch: Patch,
    *,
    seed: int = 0,
    corrected: Sequence[OldAnswer] = (),
    already: Sequence[str] = (),
) -> Patch:
    """The patch with its report among the numbers. The model is as before afterwards."""
    report = replace(
        report_on(model, patch, seed=seed), old_answers=tuple(corrected), already=tuple(already)
    )
    return replace(patch, numbers={**patch.numbers, "report": report.to_dict()})


def further(first: Patch, make: Callable[[], Patch]) -> Patch:
    """Another patch beside the first, which failed a fact or moved others: the one of more `worth`,
    with the other in its numbers.
    """
    with suppress(EditError):
        second = make()
        if first.report is not None and second.report is not None:
            better, other = (
                (second, first) if second.report.worth > first.report.worth else (first, second)
            )
            return replace(better, numbers={**better.numbers, "tried": [_tried(other)]})
    return first


def _tried(patch: Patch) -> dict[str, Any]:
    """A summary of a patch that was tried and not taken."""
    assert patch.report is not None
    return {
        "method": patch.method,
        "said": patch.report.said.to_dict(),
        "moved": patch.report.neighbours.to_dict(),
        "seconds": patch.numbers["seconds"],
    }


def report_on(model: Model, patch: Patch, *, seed: int = 0) -> EditReport:
    """Ask the base, then the model with the patch applied, and compare. Raises `PatchError` for
    another base.
    """
    patch.check_base(model)
    facts = [fact for fact in patch.facts if fact.new_answer is not None]
    near, source = base_answers(model, facts, seed)
    if not near:
        retained = list(patch.numbers.get("retained", ()))[:EACH]
        near, source = _answered(model, dict.fromkeys(retained, "")), "the edit's retain prompts"
    before = [*near, *other_facts(model, facts, seed)]
    own = own_sentences(model, seed)
    with patch.applied(model):
        says = said_now(model, facts)
        stays = [score.said for score in score_answers(model, before)]
        changed = [pair for pair, same in zip(before, stays, strict=True) if not same]
        spoken = [own.text for own in own_answers(model, [prompt for prompt, _ in changed[:SHOWN]])]
        now = likeliest_tokens(model, own.texts)
        others = [
            float((old != new).float().mean()) for old, new in zip(own.likeliest, now, strict=True)
        ]
    return EditReport(
        said=share([text is None for text in says]),
        failed=tuple(
            FailedFact(fact.subject, fact.text, fact.new_answer or "", text)
            for fact, text in zip(facts, says, strict=True)
            if text is not None
        ),
        neighbours=share([not same for same in stays[: len(near)]]),
        source=source,
        same_subject=share([not same for same in stays[len(near) :]]),
        moved=tuple(
            MovedAnswer(prompt, old, new)
            for (prompt, old), new in zip(changed, spoken, strict=False)
        ),
        sentences=share(others),
    )


def base_answers(
    model: Model, facts: Sequence[Fact], seed: int = 0
) -> tuple[list[tuple[str, str]], str]:
    """Prompts about other subjects with the base's own answers, and where the prompts come from."""
    edited = {fact.text for fact in facts}
    drawn, sources = dict[str, str](), set[str]()
    each = max(2, min(EACH, -(-NEIGHBOURS // max(1, len(facts)))))
    for fact in random.Random(seed).sample(list(facts), min(len(facts), NEIGHBOURS // 2)):
        prompts, source = neighbour_prompts(model, fact, facts)
        prompts = [prompt for prompt in prompts if prompt[0] not in edited]
        if prompts:
            sources.add(source)
            drawn |= dict(
                random.Random(f"{seed}/{fact.text}/report").sample(prompts, min(each, len(prompts)))
            )
    return _answered(model, drawn)[:NEIGHBOURS], ", ".join(sorted(sources))


def other_facts(model: Model, facts: Sequence[Fact], seed: int = 0) -> list[tuple[str, str]]:
    """Other facts about the edited subjects, as prompts and the base's answers; none that is edited
    itself.
    """
    edited = {fact.text for fact in facts} | {_asks(fact) for fact in facts}
    about = [
        other
        for subject in dict.fromkeys(fact.subject for fact in facts)
        for other in known_facts().about(subject)
    ]
    left = {
        other.text: other.answer
        for other in about
        if other.text not in edited and _asks(other) not in edited
    }
    drawn = random.Random(seed).sample(sorted(left), min(len(left), NEIGHBOURS // 2))
    return _held(model, [(prompt, left[prompt]) for prompt in drawn])


def _asks(fact: Fact) -> tuple[str, str | None]:
    """Subject and relation, whatever the words."""
    return fact.subject, known_relation(fact) or fact.relation


def _held(model: Model, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The prompts whose answer is the model's own."""
    return [
        pair for pair, score in zip(pairs, score_answers(model, pairs), strict=True) if score.said
    ]


def _answered(model: Model, drawn: Mapping[str, str]) -> list[tuple[str, str]]:
    """The prompts with what the model answers: known answers where at least half of them are its
    own, else what it says.
    """
    for pairs in ([pair for pair in drawn.items() if pair[1]], None):
        if pairs is None:
            answers = own_answers(model, list(drawn))
            pairs = [
                (prompt, own.text) for prompt, own in zip(drawn, answers, strict=True) if own.text
            ]
        held = _held(model, pairs)
        if 2 * len(held) > len(drawn):
            return held
    return held
