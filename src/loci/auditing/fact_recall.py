"""Recall: the share of facts whose answer its greedy free generation begins with.

    trained, held_out    exact-prefix match: the generation begins with the answer or an alias,
                         at a word boundary, all without capitals, accents and a leading article
                         (`loci.facts.matching`)
    strict               full match: the generation begins with the tokens of the answer as the
                         facts spell it

Of a fact with a new answer that one is scored: what an edited model is to say. Beside it stands how
many of the old and of the new answers are said to the facts' own prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from loci.errors import FactError
from loci.facts import UNSAID, Fact
from loci.facts.fact import GIVEN
from loci.model import Model, score_answers
from loci.model.given import facts_given, model_given
from loci.progress import Progress, silent
from loci.result import About, Grade, Result, graded
from loci.stats import NOTHING, Estimate, percent, share
from loci.tables import Table, columns

CHUNK = 500


@dataclass(frozen=True)
class Recall(Result):
    """Recall over facts; a fact with several prompts counts with its share of hits."""

    about: ClassVar[About] = About(
        "recall",
        "Which of the facts does the model answer, by free generation and in full?",
        "Dots are shares with 95 % intervals.",
        "scorecard.recall_figure",
    )

    model: str
    bos: bool
    facts: int
    trained: Estimate
    """Prompt and paraphrases."""
    held_out: Estimate
    """Phrasings that were kept out of training, where the facts say which."""
    by_relation: dict[str, Estimate]
    missed: tuple[str, ...]
    """Prompts with another answer than the one that is scored."""
    scored: str = "answer"
    """Which answer is scored: "answer", "new_answer", or both names where some facts have a new
    one."""
    old: Estimate = NOTHING
    """Share of the facts with a new answer whose prompt gets the old one."""
    new: Estimate = NOTHING
    """The same for the new one."""
    strict: Estimate = NOTHING
    """`trained` by the full match."""
    dtype: str = "float32"
    """The dtype in which the weights were held."""
    shots: int = 0
    """So many other facts stood before each prompt (`loci.model.frames`)."""
    chat: bool = False
    """Whether prompts stood in the model's chat template."""

    def summary(self) -> tuple[str, ...]:
        words = f"The model answers {percent(self.trained)} of {self.facts:,} facts"
        words += (
            f"; in phrasings it never saw {percent(self.held_out)}." if self.held_out.n else "."
        )
        return (words,)

    def grade(self) -> Grade:
        return graded(self.trained.value, 0.9, 0.5)

    def title(self) -> str:
        scored = {"answer": "the facts' answers", "new_answer": "the facts' NEW answers"}
        both = "the facts' new answers, and the answers of those that have none"
        plural = "s" * (self.facts != 1)
        return f"{self.facts:,} fact{plural}, scored by {scored.get(self.scored, both)}"

    def tables(self) -> tuple[Table, ...]:
        phrasings = (
            ("trained phrasings", self.trained),
            ("held-out phrasings", self.held_out),
            ("spelled as in the file", self.strict),
            *((("new answer said", self.new), ("old answer said", self.old)) if self.new.n else ()),
        )
        missed = f"missed, for example: {'; '.join(self.missed[:5])}" if self.missed else ""
        heads = ("recall|.1%", "facts")
        return (
            Table(
                "Recall",
                columns("asked in", *heads),
                tuple((name, own, own.n) for name, own in phrasings),
            ),
            Table(
                "By relation",
                columns("relation", *heads),
                tuple((name, own, own.n) for name, own in self.by_relation.items()),
                note=missed,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.recall/1",
            "model": self.model,
            "bos": self.bos,
            "facts": self.facts,
            "trained": self.trained.to_dict(),
            "held_out": self.held_out.to_dict(),
            "by_relation": {
                name: estimate.to_dict() for name, estimate in self.by_relation.items()
            },
            "missed": list(self.missed),
            "scored": self.scored,
            "old": self.old.to_dict(),
            "new": self.new.to_dict(),
            "strict": self.strict.to_dict(),
            "match": "prefix",
            "answer_rule": GIVEN,
            "text": None,
            "dtype": self.dtype,
            "shots": self.shots,
            "chat": self.chat,
        }


def recall(model: Model, facts: Fact | Sequence[Fact], *, progress: Progress = silent) -> Recall:
    """Share of facts that the model answers: in every phrasing, does greedy free generation begin
    with the answer?

    Where a fact has a new answer (as in a file of corrections), that one is scored, and `old` and
    `new` say how many of each are given.

        loci.recall(model, loci.known_facts().sample(200)).trained      # share with its interval

    Args:
        model: an open model; it is left as it was.
        facts: one fact or several.
        progress: called with (steps done, steps in all).

    Returns: `Recall`: `trained`, `held_out`, `strict`, `by_relation` (each with n and
    interval), `missed`.
    Cost: One run a prompt, in batches.
    """
    model_given(model)
    facts = facts_given(facts)
    if not facts:
        raise FactError("there are no facts to ask for")
    trained, held_out, strict, missed = [], [], [], []
    by_relation: dict[str, list[float]] = {}
    for start in range(0, len(facts), CHUNK):
        chunk = facts[start : start + CHUNK]
        hits = _hits(model, chunk)
        missed += [prompt for own in hits for prompt in own.missed]
        for fact, own in zip(chunk, hits, strict=True):
            known = _share(own.trained)
            trained.append(known)
            strict.append(_share(own.strict))
            by_relation.setdefault(fact.relation or "", []).append(known)
            if own.held_out:
                held_out.append(_share(own.held_out))
        progress(len(chunk), len(facts))
    edits = [fact for fact in facts if fact.new_answer is not None]
    return Recall(
        model=model.name,
        bos=model.with_bos,
        facts=len(facts),
        trained=share(trained),
        held_out=share(held_out),
        by_relation={name: share(parts) for name, parts in by_relation.items() if name},
        missed=tuple(missed),
        scored=" and ".join(
            dict.fromkeys("answer" if fact.new_answer is None else "new_answer" for fact in facts)
        ),
        old=_said(
            model,
            [(fact.text, fact.answer, *fact.aliases) for fact in edits if fact.answer != UNSAID],
        ),
        new=_said(model, [(fact.text, *_scored(fact)) for fact in edits]),
        strict=share(strict),
        dtype=model.dtype_name,
    )


class _Hits(NamedTuple):
    """How one fact fared, phrasing by phrasing."""

    trained: list[bool]
    held_out: list[bool]
    strict: list[bool]
    missed: list[str]


def _scored(fact: Fact) -> tuple[str, ...]:
    """The answers of which any one counts: of a fact with a new answer those."""
    return (
        (fact.answer, *fact.aliases)
        if fact.new_answer is None
        else (fact.new_answer, *fact.new_aliases)
    )


def _hits(model: Model, facts: Sequence[Fact]) -> list[_Hits]:
    asked = [
        (i, text, text in fact.held_out)
        for i, fact in enumerate(facts)
        for text in (fact.prompt, *fact.paraphrases, *fact.held_out)
    ]
    scores = iter(
        score_answers(
            model,
            [(facts[i].fill(text), word) for i, text, _ in asked for word in _scored(facts[i])],
        )
    )
    hits = [_Hits([], [], [], []) for _ in facts]
    for i, text, apart in asked:
        first, *others = [next(scores) for _ in _scored(facts[i])]
        hit = first.said or any(score.said for score in others)
        (hits[i].held_out if apart else hits[i].trained).append(hit)
        if not apart:
            hits[i].strict.append(first.greedy)
        if not hit:
            hits[i].missed.append(facts[i].fill(text))
    return hits


def _said(model: Model, asked: Sequence[tuple[str, ...]]) -> Estimate:
    """Share of the prompts to which one of the answers behind them is given."""
    scores = iter(
        score_answers(model, [(prompt, word) for prompt, *words in asked for word in words])
    )
    hits = [[next(scores).said for _ in words] for _, *words in asked]
    return share([any(own) for own in hits])


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
