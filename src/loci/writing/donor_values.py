"""Values for the neurons of new facts, without training the model.

    value_i = m + 3 (m − u) − s        m the mean state of known subjects with the answer, u that of
                                       all subjects of the relation,
                                       s the new subject's own
    value_i ← value_i + Jᵀ (J Jᵀ + λ)⁻¹ (τ − margin)₊        for the facts with a phrasing whose
                                                             margin is below 1; τ = 1.5

So a new subject continues as a known one does that has its answer, further along what sets these
apart. Where other tokens of the name contradict (a Chuck who plays no guitar), the least change
mends it that is enough to first order: J the slopes of its phrasings' margins in its own value, in
at most `ROUNDS` rounds. A margin is the logit of the right token less the largest other one, where
that is smallest in the answer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.linalg import solve_positive
from loci.model import Model, at_subjects, by_length
from loci.model.answers import with_answers
from loci.model.hooks import add_at
from loci.patches import beside
from loci.writing.key_detectors import Detectors, shown

EMPHASIS = 3.0
ENOUGH, GOAL = 1.0, 1.5
"""A margin that is left as it is, and the one that a step makes for: logits."""
ROUNDS = 12
STRIDE = 0.3
"""The longest step, relative to the value."""
DAMPING = 1e-2
BUDGET = 4096


def values(
    model: Model, facts: Sequence[Fact], layer: int, known: FactSet
) -> Float[Tensor, "fact d_model"]:
    """From each new subject's state to that of known ones with its answer.

    Raises `FactError` where nobody has it.
    """
    groups = known.relations
    donors = {}
    for relation, answer in {(fact.relation, fact.answer) for fact in facts}:
        peers = groups.get(relation, ())
        states = states_of(model, peers, layer) if peers else torch.empty(0)
        like = [fact.answer == answer for fact in peers]
        if not any(like):
            raise FactError(
                f"no known subject of {relation!r} has the answer {answer!r}: there is none to "
                "learn its state from"
            )
        mean = states[like].mean(0)
        donors[relation, answer] = mean + EMPHASIS * (mean - states.mean(0))
    goals = torch.stack([donors[fact.relation, fact.answer] for fact in facts])
    return goals.double() - states_of(model, facts, layer).double()


def states_of(model: Model, facts: Sequence[Fact], layer: int) -> Float[Tensor, "fact d_model"]:
    """The stream behind a layer at the last token of each fact's subject, in float32."""
    return at_subjects(model, facts, f"resid_post.{layer}")[f"resid_post.{layer}"].float()


def mended(
    model: Model,
    facts: Sequence[Fact],
    layer: int,
    gates: Detectors,
    begun: Float[Tensor, "fact d_model"],
) -> Float[Tensor, "fact d_model"]:
    """The values with what their phrasings still lack.

    Cost: a forward and a backward pass a round over the phrasings that lack something.
    """
    values, lines = (
        begun.clone(),
        _Line.all_of(model, [(i, own) for i, fact in enumerate(facts) for own in shown(fact)]),
    )
    for _ in range(ROUNDS):
        with beside(model, {layer: gates.neurons(values)}):
            margins, slopes = _margins(model, layer, lines)
        lacking = {
            line.fact
            for line, margin in zip(lines, margins.tolist(), strict=True)
            if margin < ENOUGH
        }
        if not lacking:
            break
        kept = [row for row, line in enumerate(lines) if line.fact in lacking]
        lines, margins, slopes = [lines[row] for row in kept], margins[kept], slopes[kept]
        for fact in lacking:
            mine = [row for row, line in enumerate(lines) if line.fact == fact]
            values[fact] += _step(
                slopes[mine], (GOAL - margins[mine]).clamp_min(0), float(values[fact].norm())
            )
    return values


def _step(
    J: Float[Tensor, "line d"], lack: Float[Tensor, " line"], length: float
) -> Float[Tensor, " d"]:
    """The least change that gives what is lacking, to first order; not longer than `STRIDE` of
    the value."""
    gram = J @ J.T
    gram.diagonal().add_(DAMPING * gram.diagonal().mean())
    step = J.T @ solve_positive(gram, lack, "the phrasings' slopes").to(J)
    return step * min(1.0, STRIDE * length / (float(step.norm()) or 1.0))


class _Line(NamedTuple):
    """A phrasing with its answer."""

    fact: int
    ids: Sequence[int]
    place: int
    """Of the subject's last token."""
    answer: tuple[int, int]
    """Which of the tokens are the answer."""

    @classmethod
    def all_of(cls, model: Model, facts: Sequence[tuple[int, Fact]]) -> "list[_Line]":
        """The lines of facts, by number."""
        asked = with_answers(model, [(fact.text, fact.answer) for _, fact in facts])
        return [
            cls(index, tokens.ids, tokens.span(fact.subject_span)[1] - 1, answer)
            for (index, fact), (tokens, answer) in zip(facts, asked, strict=True)
        ]


def _margins(
    model: Model, layer: int, lines: Sequence[_Line]
) -> tuple[Float[Tensor, " line"], Float[Tensor, "line d_model"]]:
    """Each line's margin, and its slope in what is added to the stream at the subject."""
    margins = torch.empty(len(lines), dtype=torch.float64)
    slopes = torch.empty(len(lines), model.d_model, dtype=torch.float64)
    for batch in by_length(lines, lambda line: len(line.ids), BUDGET):
        some = [lines[row] for row in batch]
        with model.frozen(), torch.enable_grad():
            added = torch.zeros(
                len(some), model.d_model, device=model.device, dtype=model.dtype, requires_grad=True
            )
            batch_margins = _answered(model, layer, some, added)
            (slope,) = torch.autograd.grad(batch_margins.sum(), added)
        margins[batch], slopes[batch] = batch_margins.detach().double().cpu(), slope.double().cpu()
    return margins, slopes


def _answered(
    model: Model, layer: int, lines: Sequence[_Line], added: Float[Tensor, "line d_model"]
) -> Float[Tensor, " line"]:
    """Margins of lines of one length, with something added to the stream at their subjects."""
    ids = model.ids([line.ids for line in lines])
    with model.patched(
        {f"resid_post.{layer}": add_at(added, range(len(lines)), [line.place for line in lines])}
    ):
        first = min(line.answer[0] for line in lines)  # logits at p − 1 predict the token at p
        logits = model(ids, last=ids.shape[1] - first + 1).float()[:, :-1]
    following = ids[:, first:, None]
    right = logits.gather(2, following)[..., 0]
    other = logits.scatter(2, following, -torch.inf).amax(2)
    margins = right - other
    return torch.stack(
        [
            margins[row, line.answer[0] - first : line.answer[1] - first].amin()
            for row, line in enumerate(lines)
        ]
    )
