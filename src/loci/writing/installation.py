"""New facts into a real transformer, by neurons added to one MLP; the model's own weights stay
as they are.

    Δx = Σ_i fire_i(x) value_i        fire: two neurons a fact, 1 at the new subject's last token
                                      (`detectors`)
                                      value: from the subject's own state to that of known ones with
                                          its answer (`values`)

The result is a patch that adds neurons: it is shown, saved, applied to a checkpoint and taken off
like any other. No other input finds the neurons active, as far as text and all known subjects show.
Beside recall stand the facts that the model knew and keeps, and its drift on held-out sentences.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, ClassVar

import torch

from loci.errors import FactError, PatchError, WriteError
from loci.facts import Fact, FactSet, known_facts
from loci.model import AnswerScore, Model, score_answers
from loci.patches import Patch, check_takes
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, percent, share
from loci.survey.drift import Drift
from loci.tables import Table, columns
from loci.text import held_out_sentences
from loci.writing.donor_values import mended, values
from loci.writing.key_detectors import detectors

DONORS = 8
CONTROLS = 100


@dataclass(frozen=True)
class Installation(Result):
    """A patch that adds neurons for new facts, and what became of these and of all others."""

    about: ClassVar[About] = About(
        "facts installed",
        "New facts in added neurons, without gradients.",
    )

    patch: Patch
    layer: int
    facts: tuple[Fact, ...]
    before: Estimate
    """New facts whose answer the model gave already, by chance or by the sound of the name."""
    recall: Estimate
    """Of the new facts, on their prompts: the greedy answer is the new one."""
    held_out: Estimate
    """The same on held-out phrasings."""
    kept: Estimate
    """Facts that the model knew and still knows, in their own prompts."""
    drift: Estimate
    """KL(base ‖ edited) of the next token on held-out sentences, in nats."""
    crowded: int
    """New subjects that text or other subjects come nearer to than their own phrasings: they are
    installed, but not kept apart."""

    @property
    def neurons(self) -> int:
        return self.patch.neurons[self.layer].size

    def summary(self) -> tuple[str, ...]:
        return (
            f"New facts answered: {percent(self.recall)}, in held-out phrasings"
            f" {percent(self.held_out)};"
            f" other facts kept: {percent(self.kept)}.",
        )

    def title(self) -> str:
        return (
            f"{len(self.facts)} new facts in {self.neurons} neurons added to layer"
            f" {self.layer} of {self.patch.base_name}"
        )

    def tables(self) -> tuple[Table, ...]:
        rows = (
            ("new facts answered before", self.before),
            ("new facts answered", self.recall),
            ("on held-out phrasings", self.held_out),
            ("other facts kept", self.kept),
        )
        crowded = (
            f"; {self.crowded} subjects are not kept apart from text or from each other at this"
            " layer"
        ) * bool(self.crowded)
        return (
            Table(
                "Asked",
                columns("", "share|.1%", "n"),
                tuple((name, own, own.n) for name, own in rows),
                note=f"drift on {self.drift.n} control sentences: KL {self.drift.value:.1e} nats a"
                f" token{crowded}",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        estimates = {
            name: getattr(self, name).to_dict()
            for name in ("before", "recall", "held_out", "kept", "drift")
        }
        plain = {
            "layer": self.layer,
            "facts": len(self.facts),
            "neurons": self.neurons,
            "crowded": self.crowded,
        }
        return {
            "schema": "loci.installed/1",
            "model": self.patch.base_name,
            "patch": self.patch.id,
            **plain,
            **estimates,
        }


def install(
    model: Model,
    facts: Sequence[Fact],
    layer: int = 1,
    *,
    known: FactSet | None = None,
    progress: Progress = silent,
) -> Installation:
    """Add neurons to a layer for facts about subjects that the model does not know.

    Args:
        model: an open model; it is left as it was.
        facts: the new facts.
        layer: whose MLP gets the neurons.
        known: facts of the same relations about other subjects; None: `known_facts()`, those of the
            embedded model.
        progress: called with (steps done, steps in all).

    Returns: `Installation`, with the patch.
    Raises: `WriteError` for a layer or an MLP that takes no neurons, `FactError` where no known
        subject has a new fact's answer.
    Cost: A pass over the known subjects, and at most `ROUNDS` forward and backward passes of the
        new ones.
    """
    known = known_facts() if known is None else known
    patch, crowded = installed(model, facts, layer, known)
    progress(1, 3)
    asked = [(fact.text, fact.answer) for fact in facts]
    other = [(fact.fill(text), fact.answer) for fact in facts for text in fact.held_out]
    world, drift = (
        [(fact.text, fact.answer) for fact in known],
        Drift(model, held_out_sentences(model, CONTROLS)),
    )
    before = score_answers(model, asked)
    knew = [
        pair for pair, score in zip(world, score_answers(model, world), strict=True) if score.greedy
    ]
    progress(1, 3)
    with patch.applied(model):
        recall, held_out, kept = (
            score_answers(model, pairs) if pairs else [] for pairs in (asked, other, knew)
        )
        moved = drift.now().kl
    progress(1, 3)
    return Installation(
        patch,
        layer,
        tuple(facts),
        _said(before),
        _said(recall),
        _said(held_out),
        _said(kept),
        mean(moved),
        crowded,
    )


@torch.no_grad()
def installed(model: Model, facts: Sequence[Fact], layer: int, known: FactSet) -> tuple[Patch, int]:
    """The patch alone, and how many facts could not be kept apart. Raises as `install`."""
    check_installable(model, facts, layer, known)
    gates = detectors(model, facts, layer, known)
    written = mended(model, facts, layer, gates, values(model, facts, layer, known))
    edits = tuple(replace(fact, new_answer=fact.answer) for fact in facts)
    numbers = {"layer": layer, "crowded": gates.crowded, "bos": model.with_bos}
    return (
        Patch(
            "install",
            model.fingerprint,
            model.name,
            {},
            edits,
            numbers,
            {layer: gates.neurons(written)},
        ),
        gates.crowded,
    )


def new_facts(known: FactSet, count: int, seed: int = 0) -> list[Fact]:
    """Facts about invented people: new pairs of known first and last names, with known answers.

    Only answers that `DONORS` known subjects have; the last phrasing of each is held out.

    Args:
        known: facts to recombine.
        count: number of facts.
        seed: seed of every random draw.

    Returns: The facts.
    Raises: `FactError` where there are too few names.
    """
    if count < 1:
        raise FactError(f"a number of new facts is 1 or more, not {count}")
    draw, taken, made = Random(seed), set(known.subjects), list[Fact]()
    pools = {}
    for relation, facts in known.relations.items():
        count_of = Counter(fact.answer for fact in facts)
        common = [fact for fact in facts if count_of[fact.answer] >= DONORS]
        pairs = [
            fact
            for fact in common
            if len(fact.subject.split()) == 2 and fact.subject.istitle() and fact.paraphrases
        ]
        if len(pairs) >= 20:
            pools[relation] = pairs
    for _ in range(100 * count):
        if len(made) == count:
            return made
        pool = pools[draw.choice(sorted(pools, key=str))] if pools else []
        if not pool:
            break
        given, other, like = draw.choice(pool), draw.choice(pool), draw.choice(pool)
        subject = f"{given.subject.split()[0]} {other.subject.split()[1]}"
        if subject not in taken:
            taken.add(subject)
            *phrasings, last = like.paraphrases
            made.append(
                replace(
                    like,
                    subject=subject,
                    paraphrases=tuple(phrasings),
                    held_out=(last,),
                    neighbours=(),
                )
            )
    raise FactError(
        f"{len(made)} new subjects can be made of the known names, and {count} are asked for"
    )


def check_installable(model: Model, facts: Sequence[Fact], layer: int, known: FactSet) -> None:
    """Raise `WriteError` where there is nothing to install, nowhere to do so, or a subject that
    is not new."""
    if not facts:
        raise WriteError("there are no facts to install")
    if not 0 <= layer < model.n_layers:
        raise WriteError(f"layers are 0 … {model.n_layers - 1}, not {layer}")
    try:
        check_takes(model)
    except PatchError as error:
        raise WriteError(f"{error}; see loci edit") from None
    twice = [name for name, times in Counter(fact.subject for fact in facts).items() if times > 1]
    old = sorted({fact.subject for fact in facts} & set(known.subjects))
    if twice or old:
        what = f"{twice[0]!r} stands twice" if twice else f"{old[0]!r} is known already"
        raise WriteError(
            f"installed facts have a new subject each, and {what}: change what is known with loci "
            "edit"
        )


def _said(scores: Sequence[AnswerScore]) -> Estimate:
    return share([float(score.greedy) for score in scores])
