"""`gone`: all tests of a removal, on the base, on the edited model and on strangers."""

from collections.abc import Sequence
from dataclasses import dataclass

from loci.auditing.relearning import RATE, STEPS, learn, learning, train
from loci.auditing.removal_audit import Removal, RemovalTest
from loci.auditing.removal_tests import (
    OldAnswerQuestion,
    lens_hits,
    old_answers,
    probed,
    questions,
    said,
    strangers_of,
)
from loci.auditing.scorecards import known_better, pooled
from loci.errors import FactError, ModelError, UseError
from loci.facts import UNSAID, Fact, FactSet
from loci.model import Model
from loci.model.fingerprint import hashed_once
from loci.model.given import facts_given, model_given
from loci.patches import Patch
from loci.progress import Progress, silent
from loci.stats import NOTHING, Estimate, mean, share


@hashed_once
def gone(
    model: Model,
    patch: Patch,
    facts: Fact | Sequence[Fact] | None = None,
    *,
    shots: int = 3,
    strangers: int = 4,
    steps: int = STEPS,
    rate: float = RATE,
    seed: int = 0,
    progress: Progress = silent,
) -> Removal:
    """Is what a patch removes or changes gone? Ask for the old answers in every way, look for them
    inside, and count the steps that bring them back.

        found = loci.gone(model, patch, loci.known_facts())
        found.verdict                                   # gone, hidden or not gone

    Args:
        model: an open model; it is left as it was.
        patch: made by `loci.edit` or read by `loci.load_patch`.
        facts: source of strangers, shots, a probe's subjects and the tuning on other facts; None:
            the facts of the patch.
        shots: other facts before a prompt of few_shot; 0: that test is left out.
        strangers: subjects that never had the answer, for each fact.
        steps: most steps of a fine-tuning; 0: neither relearning nor other facts.
        rate: by what share of their norm a step moves the MLPs' weights.
        seed: of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `Removal`: `verdict`, `tests` (edited, base, strangers), `lens` by layer.
    Raises: `PatchError` for a patch of another base, `FactError` where no old answer is known.
    Cost: some thirty prompts a fact, a pass over a probe's subjects twice, and three fine-tunings
        of at most `steps` steps.
    """
    if not isinstance(patch, Patch):
        raise UseError("the second argument is a patch as loci.edit makes it")
    if min(shots, strangers, steps) < 0 or not 0 < rate < 1:
        raise FactError(
            "shots, strangers and steps are 0 or more, and the rate is between 0 and 1, not"
            f" {shots}, {strangers}, {steps} and {rate}"
        )
    patch.check_base(model_given(model))
    world = FactSet(patch.facts) if facts is None else facts_given(facts)
    edited = [known_better(fact, world) for fact in patch.facts]
    edited = [fact for fact in edited if fact.answer != UNSAID]
    if not edited:
        raise FactError("no fact of the patch has an old answer that could come back")
    search = _Search(model, patch, edited, world, seed)
    tests, left_out = search.asked(shots, strangers)
    progress(1, 3)
    lens, layers = search.lens(strangers)
    tests += [lens, *search.probe(left_out)]
    progress(1, 3)
    if steps:
        tests += search.relearning(steps, rate, left_out)
    progress(1, 3)
    return Removal(
        model.name,
        model.with_bos,
        patch.method,
        len(edited),
        tuple(tests),
        layers,
        steps,
        rate,
        seed,
        left_out,
    )


@dataclass(frozen=True)
class _Search:
    """The tests of one patch; each leaves the model as it was."""

    model: Model
    patch: Patch
    facts: list[Fact]
    world: FactSet
    seed: int

    def asked(self, shots: int, strangers: int) -> tuple[list[RemovalTest], dict[str, str]]:
        """Every kind of question."""
        asked, left_out = questions(
            self.model, self.facts, self.world, shots=shots, strangers=strangers, seed=self.seed
        )
        every = [question for own in asked.values() for question in own]
        before = dict(zip(every, said(self.model, every), strict=True))
        with self.patch.applied(self.model):
            after = dict(zip(every, said(self.model, every), strict=True))
        tests = []
        for kind, own in asked.items():
            known = [q for q in own if not q.stranger and before[q]]
            others = [q for q in own if q.stranger]
            if own and not known:
                left_out[kind] = "the base does not give the old answers there"
            tests.append(
                RemovalTest.of(
                    kind,
                    self._share(known, after),
                    self._share([q for q in own if not q.stranger], before),
                    share([after[q] for q in others]),
                )
            )
        return tests, left_out

    def _share(
        self, asked: Sequence[OldAnswerQuestion], hits: dict[OldAnswerQuestion, bool]
    ) -> Estimate:
        """Of one edit its questions are the units, of several the edits."""
        parts = [[hits[q] for q in asked if q.fact == i] for i in range(len(self.facts))]
        return pooled(parts, share)

    def lens(self, strangers: int) -> tuple[RemovalTest, tuple[tuple[float, float], ...]]:
        """The old answer after every layer, in the base and in the edited model."""
        own = [OldAnswerQuestion(i, f.text, old_answers(f)) for i, f in enumerate(self.facts)]
        others = [
            OldAnswerQuestion(i, f.prompt.replace("{}", one.subject, 1), old_answers(f), True)
            for i, f in enumerate(self.facts)
            for one in strangers_of(f, self.world, strangers, self.seed)
        ]
        before = lens_hits(self.model, own)
        with self.patch.applied(self.model):
            after, strange = lens_hits(self.model, own), lens_hits(self.model, others)
        test = RemovalTest.of(
            "lens",
            share(after.amax(1).tolist()),
            share(before.amax(1).tolist()),
            share(strange.amax(1).tolist()) if others else NOTHING,
        )
        return test, tuple(zip(before.mean(0).tolist(), after.mean(0).tolist(), strict=True))

    def probe(self, left_out: dict[str, str]) -> list[RemovalTest]:
        """Probes of other subjects, trained anew on the edited model."""
        before = probed(self.model, self.facts, self.world, self.seed)
        if not before.hits:
            left_out["probe"] = "too few other subjects, or of the old answers, to train one on"
            return []
        with self.patch.applied(self.model):
            after = probed(self.model, self.facts, self.world, self.seed)
        now, then = (share(list(read.hits.values())) for read in (after, before))
        return [RemovalTest.of("probe", now, then, share(after.strangers))]

    def relearning(self, steps: int, rate: float, left_out: dict[str, str]) -> list[RemovalTest]:
        """Old answers learnt again, strangers taught the same, and other facts for as long."""
        own = [(fact.text, fact.answer) for fact in self.facts]
        drawn = [(f, strangers_of(f, self.world, 1, self.seed)) for f in self.facts]
        taught = [(f.prompt.replace("{}", s.subject, 1), f.answer) for f, one in drawn for s in one]
        others = [(s.text, s.answer) for _, one in drawn for s in one]
        try:
            with self.patch.applied(self.model):
                again = self._learnt(own, steps, rate)
                new = self._learnt(taught, steps, rate) if taught else []
                tests = [
                    RemovalTest.of("relearning", _steps(again, steps), NOTHING, _steps(new, steps))
                ]
                if not others:
                    why = "no other subjects of the relations stand in the facts"
                    left_out["other_facts"] = why
                    return tests
                with learning(self.model) as weights:
                    longest = max(steps if found is None else found for found in again)
                    train(self.model, weights, others, max(1, longest), rate)
                    asked = [
                        OldAnswerQuestion(i, f.text, old_answers(f))
                        for i, f in enumerate(self.facts)
                    ]
                    back = share(said(self.model, asked))
        except ModelError as error:
            left_out["relearning"] = str(error)
            return []
        return [RemovalTest.of("other_facts", back, NOTHING, NOTHING), *tests]

    def _learnt(
        self, lessons: Sequence[tuple[str, str]], steps: int, rate: float
    ) -> list[int | None]:
        with learning(self.model) as weights:
            return learn(self.model, weights, lessons, steps, rate)


def _steps(found: Sequence[int | None], steps: int) -> Estimate:
    return mean([float(steps if own is None else own) for own in found]) if found else NOTHING
