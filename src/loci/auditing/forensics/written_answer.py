"""Which answer a change writes: what it adds at its key, put to work at other subjects, more and
more of it.

    gain(token | template, s) = mean over subjects of P(token | template, subject + s · r̂)
                                − P(token | template, subject)

for s of `STRENGTHS` and both signs, as a singular vector has none. What was written for a relation
says the same of whoever it is put at, in that relation's template, and needs the least of it; what
only disturbs says something else of each, or needs more. So tokens are ranked by the least s at
which they gain `GAINS`, and then by their gain there.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.auditing.forensics.candidates import Candidate
from loci.facts.fact import BLANK
from loci.model import Model, by_length
from loci.model.hooks import add_at
from loci.model.unembedding import last_streams

STRENGTHS = tuple(2.0**power for power in range(-5, 3))
GAINS = 0.4
SUBJECTS = 4
"""Subjects of a template."""


class WrittenAnswer(NamedTuple):
    """A token that a change makes likelier."""

    token: str
    template: str
    strength: float
    """The least share of r̂ at which it gains; its sign is that of the singular vector's."""
    gain: float
    """By how much its probability rises there, averaged over the subjects."""

    @property
    def rank(self) -> tuple[float, float]:
        """The less is needed, the better."""
        return abs(self.strength), -self.gain


def templates_of(candidates: Sequence[Candidate], subjects: int = SUBJECTS) -> dict[str, list[str]]:
    """The templates of candidates, each with its first subjects."""
    found: dict[str, list[str]] = {}
    for candidate in candidates:
        for template in candidate.templates:
            own = found.setdefault(template, [])
            if len(own) < subjects:
                own.append(candidate.subject)
    return found


@torch.no_grad()
def written_answers(
    model: Model,
    layer: int,
    writes: Float[Tensor, " d_model"],
    templates: Mapping[str, Sequence[str]],
    *,
    top: int = 5,
) -> tuple[WrittenAnswer, ...]:
    """The tokens that a change makes likelier, each in the template where it gains most.

    Cost: 17 short runs a template and subject.
    """
    best: dict[int, WrittenAnswer] = {}
    steps = [sign * strength for strength in STRENGTHS for sign in (1, -1)]
    for template, subjects in templates.items():
        gains = _gains(model, layer, writes, template, subjects, steps)
        for step, row in zip(steps, gains, strict=True):
            found = row.topk(top)
            for gain, token in zip(found.values.tolist(), found.indices.tolist(), strict=True):
                answer = WrittenAnswer(model.token_text(token), template, step, gain)
                if gain >= GAINS and (token not in best or answer.rank < best[token].rank):
                    best[token] = answer
    return tuple(sorted(best.values(), key=lambda answer: answer.rank)[:top])


def _gains(
    model: Model,
    layer: int,
    writes: Tensor,
    template: str,
    subjects: Sequence[str],
    steps: Sequence[float],
) -> Float[Tensor, "step d_vocab"]:
    """The mean gain of each token over the subjects, at each of the steps."""
    start = template.index(BLANK)
    tokens = [model.tokenize(template.replace(BLANK, subject, 1)) for subject in subjects]
    ends = [
        own.span((start, start + len(subject)))[1] - 1
        for own, subject in zip(tokens, subjects, strict=True)
    ]
    added = torch.stack([torch.zeros_like(writes), *(step * writes for step in steps)])
    total = torch.zeros(len(steps), model.d_vocab)
    for batch in by_length(tokens, lambda own: len(own.ids), model.tokens_at_once // len(added)):
        ids = model.ids([tokens[i].ids for i in batch for _ in added])
        rows = torch.arange(len(ids))
        places = torch.tensor([ends[i] for i in batch for _ in added])
        put = add_at(added.repeat(len(batch), 1).to(model.device), rows, places)
        with model.patched({f"mlp_raw.{layer}": put}):
            streams = last_streams(model, ids)[:, -1]
        said = model.unembed(streams).float().softmax(-1).cpu().unflatten(0, (len(batch), -1))
        total += (said[:, 1:] - said[:, :1]).sum(0)
    return total / len(subjects)
