"""One examination: everything that is asked about a set of edits, put to the base once, and then
to any state of the model.

evaluation = Evaluation.of(model, facts, world)
before, after = evaluation.run(), evaluation.run(patch)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from loci.auditing.generation_entropy import fluency, generations, openings
from loci.auditing.questions import EditCase, EditQuestions, PromptWrapper, answer, ask
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.patches import applied
from loci.patches.patch import Applicable
from loci.survey.drift import Drift, Drifted
from loci.text import held_out_sentences

GROUPS, REST = ("specificity", "specificity_same_answer", "same_subject"), ""
"""Metrics whose questions are asked apart where one looks on, and all others."""
NEIGHBOURS = 10
SAMPLES = 100


class EvalResult(NamedTuple):
    """The answers of one state of the model."""

    cases: tuple[EditCase, ...]
    drift: Drifted
    fluency: tuple[float, ...]
    """Of each edit's generations, in bits."""


@dataclass(frozen=True)
class Evaluation:
    """The questions, the control text and the base's fluency."""

    model: Model
    asked: tuple[EditQuestions, ...]
    world: FactSet
    drift: Drift
    fluency: tuple[float, ...]
    seed: int

    @classmethod
    def of(
        cls,
        model: Model,
        facts: Sequence[Fact],
        world: FactSet,
        drift: Drift,
        *,
        neighbours: int = NEIGHBOURS,
        seed: int = 0,
    ) -> "Evaluation":
        """Ask the base.

        Cost: greedy answers to all prompts that should not change, and a text of each subject.
        """
        asked = ask(model, facts, world, neighbours, seed)
        return cls(model, asked, world, drift, _fluency(model, facts, seed), seed)

    @property
    def facts(self) -> tuple[Fact, ...]:
        return tuple(own.fact for own in self.asked)

    def run(
        self,
        patch: Applicable | None = None,
        lead: PromptWrapper = str,
        growing: Callable[[EvalResult], None] | None = None,
    ) -> EvalResult:
        """The model's answers with a patch or a steering on, or with something said before every
        prompt; it is as before afterwards.

        `growing` hears of what is known after each group of questions and after the drift: then
        they are asked group by group, which takes somewhat longer.
        """
        with applied(self.model, patch):
            if growing is None:
                cases = answer(self.model, self.asked, lead)
            else:
                cases = self._by_groups(lead, growing)
            found = EvalResult(cases, self.drift.now(), ())
            if growing is not None:
                growing(found)
            return found._replace(fluency=_fluency(self.model, self.facts, self.seed, lead))

    def _by_groups(
        self, lead: PromptWrapper, growing: Callable[[EvalResult], None]
    ) -> tuple[EditCase, ...]:
        """What should follow from the edits, then what should stay, a metric at a time."""
        cases = answer(self.model, [replace(own, keeps=()) for own in self.asked], lead)
        growing(EvalResult(cases, Drifted((), ()), ()))
        for group in (*GROUPS, REST):
            some = [
                replace(own, gains=own.gains[:1], keeps=own.of(group, GROUPS)) for own in self.asked
            ]
            if not any(own.keeps for own in some):
                continue
            found = answer(self.model, some, lead)
            cases = tuple(case.joined(more) for case, more in zip(cases, found, strict=True))
            growing(EvalResult(cases, Drifted((), ()), ()))
        return cases


def base_drift(model: Model, samples: int = SAMPLES) -> Drift:
    """The drift on `samples` sentences that no edit is made with (`held_out_sentences`)."""
    return Drift(model, held_out_sentences(model, samples))


def _fluency(
    model: Model, facts: Sequence[Fact], seed: int, lead: PromptWrapper = str
) -> tuple[float, ...]:
    prompts = [openings(fact) for fact in facts]
    texts = iter(generations(model, [lead(prompt) for own in prompts for prompt in own], seed=seed))
    return tuple(sum(fluency(next(texts)) for _ in own) / len(own) for own in prompts)
