"""Recall: the share of facts whose answer is its greedy free generation, in full.

Of a fact with a new answer that one is scored: what an edited model is to say. Beside it stands how
many of the old and of the new answers are said to the facts' own prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loci.errors import FactError
from loci.facts import UNSAID, Fact
from loci.model import Model, score_answers
from loci.model.given import facts_given, model_given
from loci.progress import Progress, silent
from loci.result import Result
from loci.stats import NOTHING, Estimate, share

CHUNK = 500


@dataclass(frozen=True)
class Recall(Result):
    """Recall over facts; a fact with several prompts counts with its share of hits."""

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
        }


def recall(model: Model, facts: Fact | Sequence[Fact], *, progress: Progress = silent) -> Recall:
    """Share of facts that the model answers: every phrasing, by greedy free generation, in full.

    Where a fact has a new answer (as in a file of corrections), that one is scored, and `old` and
    `new` say how many of each are given.

        loci.recall(model, loci.known_facts().sample(200)).trained      # share with its interval

    Args:
        model: an open model; it is left as it was.
        facts: one fact or several.
        progress: called with (steps done, steps in all).

    Returns: `Recall`: `trained`, `held_out`, `by_relation` (each with n and interval), `missed`.
    Cost: One run a prompt, in batches.
    """
    model_given(model)
    facts = facts_given(facts)
    if not facts:
        raise FactError("there are no facts to ask for")
    trained, held_out, missed = [], [], []
    by_relation: dict[str, list[float]] = {}
    for start in range(0, len(facts), CHUNK):
        chunk = facts[start : start + CHUNK]
        asked = [
            (f, t, t in f.held_out) for f in chunk for t in (f.prompt, *f.paraphrases, *f.held_out)
        ]
        scores = score_answers(
            model,
            [(f.fill(t), f.answer if f.new_answer is None else f.new_answer) for f, t, _ in asked],
        )
        hits: dict[tuple[int, bool], list[bool]] = {}
        for (fact, template, apart), score in zip(asked, scores, strict=True):
            hits.setdefault((id(fact), apart), []).append(score.greedy)
            if not score.greedy:
                missed.append(fact.fill(template))
        for fact in chunk:
            known = _share(hits[id(fact), False])
            trained.append(known)
            by_relation.setdefault(fact.relation or "", []).append(known)
            if fact.held_out:
                held_out.append(_share(hits[id(fact), True]))
        progress(len(chunk), len(facts))
    relations = {name: share(parts) for name, parts in by_relation.items() if name}
    edits = [fact for fact in facts if fact.new_answer is not None]
    return Recall(
        model.name,
        model.with_bos,
        len(facts),
        share(trained),
        share(held_out),
        relations,
        tuple(missed),
        " and ".join(
            dict.fromkeys("answer" if fact.new_answer is None else "new_answer" for fact in facts)
        ),
        _said(model, [(fact.text, fact.answer) for fact in edits if fact.answer != UNSAID]),
        _said(model, [(fact.text, fact.new_answer or "") for fact in edits]),
    )


def _said(model: Model, pairs: Sequence[tuple[str, str]]) -> Estimate:
    return share([score.greedy for score in score_answers(model, pairs)])


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits)
