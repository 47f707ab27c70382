"""Audit an edit: what it did, and what else it touched, against the untouched base.

| metric       | share of …                       | that …                                                        |
|--------------|----------------------------------|---------------------------------------------------------------|
| efficacy     | edits                            | give the new answer to the edit prompt                        |
| paraphrase   | other prompts for the same fact  | give the new answer                                           |
| specificity  | neighbour prompts                | still give the base's greedy answer                           |
| same_subject | the subject's other facts        | still give the base's greedy answer                           |
| drift_kl     | control sentences                | (mean KL(base ‖ edited) of the next token, in nats)           |

An answer is the greedy free generation, in full. Beside efficacy and paraphrase stands the literature's probability version,
P(new) > P(old) by mean log-probability per token. n counts independent units: prompts of one edit hang together, so with several
edits each is one unit, with its share of hits; with a single edit the units are its prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch.nn.functional import kl_div

from loci.errors import FactError
from loci.facts import Fact, FactSet, controls
from loci.model import Model, by_length, complete, first_sentence, score_answers
from loci.patches import Patch
from loci.progress import Progress, silent
from loci.stats import Estimate, mean, share

ANSWER_TOKENS = 12
PROTOCOL = "greedy-full/1"
NEIGHBOURS = 10
SHARES = (
    "efficacy",
    "paraphrase",
    "specificity",
    "same_subject",
    "paraphrase_untrained",
    "efficacy_likelier",
    "paraphrase_likelier",
)


Hits = tuple[bool, ...]


class Case(NamedTuple):
    """How one edit fared, prompt by prompt."""

    fact: Fact
    said: str
    """What the edited model generates after the edit prompt."""
    probability: float
    """P(new answer) there."""
    efficacy: Hits
    paraphrase: Hits
    paraphrase_untrained: Hits
    """The paraphrases that were kept out of training, by themselves."""
    specificity: Hits
    same_subject: Hits
    efficacy_likelier: Hits
    paraphrase_likelier: Hits
    drift_kl: tuple[float, ...]
    changed: tuple[str, ...]
    """Neighbour and same-subject prompts that changed, with what is said now."""


@dataclass(frozen=True)
class Scorecard:
    """Metrics over edits, with intervals, and the cases behind them."""

    model: str
    bos: bool
    method: str
    edits: int
    layers: tuple[int, ...]
    metrics: dict[str, Estimate]
    cases: tuple[Case, ...]

    def to_dict(self) -> dict[str, Any]:
        cases = [
            {**case._asdict(), "fact": case.fact.to_dict(), "drift_kl": sum(case.drift_kl) / len(case.drift_kl)}
            for case in self.cases
        ]
        return {
            "schema": "loci.audit/1",
            "protocol": PROTOCOL,
            "model": self.model,
            "bos": self.bos,
            "method": self.method,
            "edits": self.edits,
            "layers": list(self.layers),
            "metrics": {name: estimate.to_dict() for name, estimate in self.metrics.items()},
            "cases": cases,
        }


def audit(
    model: Model,
    patch: Patch,
    facts: FactSet | None = None,
    *,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    samples: int = 100,
) -> Scorecard:
    """Audit a patch: all its facts, with the patch applied once. The model is as before afterwards.

    `facts` is where neighbours and the subject's other facts come from; the facts' own `neighbours` come first. `samples` control
    sentences measure the drift.
    """
    patch.check_base(model)
    world = facts if facts is not None else FactSet(patch.facts)
    asked = [ask(model, _known_better(fact, world), world, neighbours, seed) for fact in patch.facts]
    drift = Drift(model, controls()[:samples])
    with patch.applied(model):
        nats = drift.kl()
        cases = tuple(question.score(model, nats) for question in asked)
    return scorecard(model, patch.method, patch.layers, cases)


def _known_better(fact: Fact, world: FactSet) -> Fact:
    """The fact with the relation and paraphrases that the world knows of it, where it has none itself."""
    same = world.same(fact)
    return fact if same is None or fact.relation or fact.paraphrases else replace(same, new_answer=fact.new_answer)


def audit_singles(
    model: Model,
    facts: Sequence[Fact],
    make: Callable[[Fact], Patch],
    world: FactSet,
    *,
    neighbours: int = NEIGHBOURS,
    seed: int = 0,
    samples: int = 100,
    progress: Progress = silent,
) -> Scorecard:
    """Audit edits one at a time: each fact gets its own patch on the untouched base."""
    drift = Drift(model, controls()[:samples])
    cases, layers, method = [], set(), ""
    for fact in facts:
        question = ask(model, fact, world, neighbours, seed)
        patch = make(fact)
        with patch.applied(model):
            cases.append(question.score(model, drift.kl()))
        layers.update(patch.layers)
        method = patch.method
        progress(1, len(facts))
    return scorecard(model, method, sorted(layers), tuple(cases))


def scorecard(model: Model, method: str, layers: Sequence[int], cases: tuple[Case, ...]) -> Scorecard:
    """Sum up cases, metric by metric."""
    metrics = {name: _pool([getattr(case, name) for case in cases], share) for name in SHARES}
    metrics["drift_kl"] = _pool([case.drift_kl for case in cases], mean)
    return Scorecard(model.name, model.with_bos, method, len(cases), tuple(layers), metrics, cases)


def _pool(parts: Sequence[Sequence[float]], estimate: Callable[[Sequence[float]], Estimate]) -> Estimate:
    """One edit: its prompts are the units. Several: the edits are, each with its mean."""
    asked = [part for part in parts if part]
    return estimate(asked[0] if len(parts) == 1 and asked else [sum(part) / len(part) for part in asked])


@dataclass(frozen=True)
class Question:
    """What will be asked about one edit, with the base's answers: written down before the edit."""

    fact: Fact
    neighbours: tuple[tuple[str, str], ...]
    """(prompt, the base's greedy answer)."""
    same_subject: tuple[tuple[str, str], ...]

    def score(self, model: Model, drift_kl: tuple[float, ...]) -> Case:
        """Ask the edited model."""
        fact, new = self.fact, self.fact.new_answer or ""
        others = fact.asked()
        apart = [fact.fill(t) in map(fact.fill, fact.held_out) for t in others]
        wanted = [(prompt, new) for prompt in (fact.text, *others)]
        kept = [*self.neighbours, *self.same_subject]
        scores = score_answers(model, [*wanted, *((p, fact.answer) for p, _ in wanted), *kept])
        after, before, still = scores[: len(wanted)], scores[len(wanted) : 2 * len(wanted)], scores[2 * len(wanted) :]
        likelier = tuple(a.mean_logprob > b.mean_logprob for a, b in zip(after, before, strict=True))
        greedy, kept_greedy = tuple(s.greedy for s in after), tuple(s.greedy for s in still)
        changed = [prompt for (prompt, _), same in zip(kept, kept_greedy, strict=True) if not same]
        said = [first_sentence(text) for text in complete(model, [fact.text, *changed], ANSWER_TOKENS)]
        return Case(
            fact=fact,
            said=said[0],
            probability=after[0].probability,
            efficacy=greedy[:1],
            paraphrase=greedy[1:],
            paraphrase_untrained=tuple(hit for hit, held_out in zip(greedy[1:], apart, strict=True) if held_out),
            specificity=kept_greedy[: len(self.neighbours)],
            same_subject=kept_greedy[len(self.neighbours) :],
            efficacy_likelier=likelier[:1],
            paraphrase_likelier=likelier[1:],
            drift_kl=drift_kl,
            changed=tuple(f"{prompt} {text}" for prompt, text in zip(changed, said[1:], strict=True)),
        )


def ask(model: Model, fact: Fact, world: FactSet, neighbours: int, seed: int) -> Question:
    """Collect the prompts that should not change, and what the base says to them."""
    if fact.new_answer is None:
        raise FactError(f"no new answer for {fact.text!r}: nothing to audit")
    near = list(fact.neighbours) or [f.text for f in world.neighbours(fact, neighbours, seed)]
    own = [f.text for f in world.others(fact)]
    return Question(fact, _answered(model, near), _answered(model, own))


def _answered(model: Model, prompts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Prompts with the base's greedy answers; left out are the few whose answer is empty, or cut, or splits into other tokens."""
    pairs = [(p, first_sentence(text)) for p, text in zip(prompts, complete(model, prompts, ANSWER_TOKENS), strict=True)]
    pairs = [pair for pair in pairs if pair[1]]
    return tuple(pair for pair, score in zip(pairs, score_answers(model, pairs), strict=True) if score.greedy)


class Drift:
    """KL(base ‖ edited) of the next token on control sentences, averaged over positions and sentences, in nats."""

    def __init__(self, model: Model, sentences: Sequence[str]) -> None:
        self.model = model
        tokens = [model.tokenize(sentence) for sentence in sentences]
        self.batches = [model.ids([tokens[i].ids for i in batch]) for batch in by_length(tokens, len, 8192)]
        self.before = [self._logprobs(ids) for ids in self.batches]

    def kl(self) -> tuple[float, ...]:
        """The drift of the model as it is now, sentence by sentence."""
        each = [
            kl_div(self._logprobs(ids), before, log_target=True, reduction="none").sum(-1).mean(1)
            for ids, before in zip(self.batches, self.before, strict=True)
        ]
        return tuple(torch.cat(each).tolist()) if each else ()

    @torch.no_grad()
    def _logprobs(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(ids).float().log_softmax(-1)
