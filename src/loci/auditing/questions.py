"""The questions asked about an edit, and how the answers count.

Written down before the edit, with the base's own answers.

    metric                   share of …                      hit when the greedy free generation
                                                             begins with …
    efficacy                 edits                           the new answer, or an alias
    paraphrase               other prompts for the fact      the same
    specificity              the relation's prompts about    the base's
                             other subjects
    specificity_same_answer  those whose answer is the       the base's
                             edit's old one
    same_subject             the subject's other facts       the base's
    alias, reverse,          a fact's questions that follow  one of the question's answers
      logical, two_hop       from the edit
    kept, same_answer,       a fact's questions that do not  the base's; where that is right,
      unrelated                                              any right one

It begins with an answer at a word boundary, both without capitals, accents and a leading article
(`AnswerScore.said`). A prompt that is itself edited is not asked to stay. Beside efficacy and
paraphrase stands the literature's version by probability: P(new) > P(old) by mean log-probability
per token.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.model import Model, own_answers, score_answers

GAINED = ("efficacy", "paraphrase")
HELD_OUT = "paraphrase_untrained"
LIKELIER = {metric: f"{metric}_likelier" for metric in GAINED}
Hits = tuple[bool, ...]
PromptWrapper = Callable[[str], str]
"""Makes the prompt that is run of the prompt that is asked, by putting text before it."""


class Prompt(NamedTuple):
    """A whole prompt, the answers of which any one counts, and the metrics that it counts for."""

    text: str
    answers: tuple[str, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class EditQuestions:
    """The questions about one edit."""

    fact: Fact
    gains: tuple[Prompt, ...]
    """The edit prompt, then all that should follow from it."""
    keeps: tuple[Prompt, ...]
    """Prompts whose answers should not change."""

    def of(self, group: str, groups: Sequence[str]) -> tuple[Prompt, ...]:
        """What should not change of one of the groups, by metric; of no name: of none of them."""
        return tuple(
            prompt
            for prompt in self.keeps
            if (prompt.metrics[0] if prompt.metrics[0] in groups else "") == group
        )


class EditCase(NamedTuple):
    """How one edit fared, prompt by prompt."""

    fact: Fact
    said: str
    """The edited model's continuation of the edit prompt."""
    probability: float
    """P(new answer) there."""
    hits: dict[str, Hits]
    """By metric, in the order of asking."""
    changed: tuple[str, ...]
    """Prompts that should have stayed and did not, with what is said now."""

    def joined(self, other: "EditCase") -> "EditCase":
        """With what the other was asked besides."""
        return self._replace(
            hits={**other.hits, **self.hits},
            changed=tuple(dict.fromkeys((*self.changed, *other.changed))),
        )

    @property
    def efficacy(self) -> Hits:
        return self.hits["efficacy"]

    @property
    def paraphrase(self) -> Hits:
        return self.hits.get("paraphrase", ())

    @property
    def specificity(self) -> Hits:
        return self.hits.get("specificity", ())

    @property
    def same_subject(self) -> Hits:
        return self.hits.get("same_subject", ())

    def to_dict(self) -> dict[str, Any]:
        return {
            "fact": self.fact.to_dict(),
            "said": self.said,
            "probability": self.probability,
            **{metric: list(hits) for metric, hits in self.hits.items()},
            "changed": list(self.changed),
        }


def ask(
    model: Model, facts: Sequence[Fact], world: FactSet, neighbours: int, seed: int
) -> tuple[EditQuestions, ...]:
    """Choose the prompts of an evaluation, and record what the base answers to those that must
    stay.

    Args:
        model: an open model; it is left as it was.
        facts: the edits.
        world: facts from which neighbours, same-subject facts and counterfactuals are drawn.
        neighbours: other subjects of the relation asked about each edit.
        seed: seed of every random draw.

    Returns: `EditQuestions` for each edit.
    Raises: `FactError` for a fact without a new answer.
    """
    for fact in facts:
        if fact.new_answer is None:
            raise FactError(f"no new answer for {fact.text!r}: nothing to audit")
    edited, left = {fact.text for fact in facts}, world.without(facts)
    wanted = [
        [prompt for prompt in _keeps(fact, left, neighbours, seed) if prompt.text not in edited]
        for fact in facts
    ]
    answers = _answers(model, list(dict.fromkeys(prompt.text for own in wanted for prompt in own)))
    return tuple(
        EditQuestions(
            fact,
            tuple(_gains(fact)),
            tuple(_as_said(prompt, answers[prompt.text]) for prompt in own if answers[prompt.text]),
        )
        for fact, own in zip(facts, wanted, strict=True)
    )


def _gains(fact: Fact) -> list[Prompt]:
    new = (fact.new_answer or "", *fact.new_aliases)
    held_out = {fact.fill(template) for template in fact.held_out}
    asked = [
        Prompt(text, new, ("paraphrase", HELD_OUT) if text in held_out else ("paraphrase",))
        for text in fact.asked()
    ]
    follows = [
        Prompt(q.prompt, q.answers, (_metric(q.kind),))
        for q in fact.questions
        if q.follows and q.answers
    ]
    return [Prompt(fact.text, new, ("efficacy",)), *asked, *follows]


def _keeps(fact: Fact, world: FactSet, neighbours: int, seed: int) -> list[Prompt]:
    near = fact.neighbours or [f.text for f in world.neighbours(fact, neighbours, seed)]
    twins = FactSet(f for f in world.relations.get(fact.relation, ()) if f.answer == fact.answer)
    groups: dict[str, Sequence[str]] = {
        "specificity": near,
        "specificity_same_answer": [f.text for f in twins.neighbours(fact, neighbours, seed)],
        "same_subject": [f.text for f in world.others(fact)],
    }
    drawn = [Prompt(text, (), (metric,)) for metric, texts in groups.items() for text in texts]
    return drawn + [
        Prompt(q.prompt, q.answers, (_metric(q.kind),)) for q in fact.questions if q.stays
    ]


def _metric(kind: str) -> str:
    return kind.replace("-", "_")


def _as_said(prompt: Prompt, answer: str) -> Prompt:
    """The base's answer counts; where a question has it among its answers, so do the others."""
    return prompt._replace(answers=prompt.answers if answer in prompt.answers else (answer,))


def _answers(model: Model, prompts: Sequence[str]) -> dict[str, str]:
    """The base's greedy answers; empty for the few whose answer is none, or splits otherwise."""
    pairs = [
        (prompt, own.text) for prompt, own in zip(prompts, own_answers(model, prompts), strict=True)
    ]
    asked = [pair for pair in pairs if pair[1]]
    scored = zip(asked, score_answers(model, asked), strict=True)
    return dict.fromkeys(prompts, "") | {
        prompt: answer for (prompt, answer), score in scored if score.said
    }


def answer(
    model: Model, asked: Sequence[EditQuestions], lead: PromptWrapper = str
) -> tuple[EditCase, ...]:
    """Ask the model as it is now, with `lead` before every prompt.

    Cost: a forward pass for each prompt and answer, in batches.
    """
    prompts = [prompt for own in asked for prompt in (*own.gains, *own.keeps)]
    old = [(own, prompt) for own in asked for prompt in own.gains if prompt.metrics[0] in GAINED]
    pairs = [(lead(prompt.text), answer) for prompt in prompts for answer in prompt.answers]
    pairs += [(lead(prompt.text), own.fact.answer) for own, prompt in old]
    scores = iter(score_answers(model, pairs))
    by_prompt = [[next(scores) for _ in prompt.answers] for prompt in prompts]
    before = iter([next(scores).mean_logprob for _ in old])
    right = iter(by_prompt)
    marks = []
    for own in asked:
        gains = [(prompt, next(right)) for prompt in own.gains]
        marks.append((gains, [(prompt, next(right)) for prompt in own.keeps]))
    cases = [
        _case(own, gains, keeps, before) for own, (gains, keeps) in zip(asked, marks, strict=True)
    ]
    return _told(model, asked, cases, lead)


def _case(own: EditQuestions, gains: list[Any], keeps: list[Any], before: Any) -> EditCase:
    hits: dict[str, list[bool]] = {}
    for prompt, scores in [*gains, *keeps]:
        for metric in prompt.metrics:
            hits.setdefault(metric, []).append(any(score.said for score in scores))
        if prompt.metrics[0] in LIKELIER:
            hits.setdefault(LIKELIER[prompt.metrics[0]], []).append(
                scores[0].mean_logprob > next(before)
            )
    changed = tuple(
        prompt.text for prompt, scores in keeps if not any(score.said for score in scores)
    )
    return EditCase(
        own.fact,
        "",
        gains[0][1][0].probability,
        {metric: tuple(each) for metric, each in hits.items()},
        changed,
    )


def _told(
    model: Model, asked: Sequence[EditQuestions], cases: Sequence[EditCase], lead: PromptWrapper
) -> tuple[EditCase, ...]:
    """The cases with what is said after the edit prompts, and after the prompts that changed."""
    texts = list(dict.fromkeys(text for case in cases for text in (case.fact.text, *case.changed)))
    answers = own_answers(model, [lead(text) for text in texts])
    continuations = dict(zip(texts, (own.text for own in answers), strict=True))
    return tuple(
        case._replace(
            said=continuations[case.fact.text],
            changed=tuple(f"{text} {continuations[text]}" for text in dict.fromkeys(case.changed)),
        )
        for case in cases
    )
