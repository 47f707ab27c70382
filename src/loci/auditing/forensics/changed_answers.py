"""Answers that a change gives: answers before and after, and the words that Δ adds at a subject.

The edited model is the base with the changed tensors put in their places for a while, so that only
one model stands in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch

from loci.auditing.forensics.candidates import Candidate
from loci.auditing.forensics.changes import check_alike
from loci.auditing.forensics.subjects import EditedWeight
from loci.facts.fact import BLANK
from loci.model import Model, Weights, own_answers

TOKENS = 12


class NewAnswer(NamedTuple):
    """One prompt of a subject, asked before and after."""

    prompt: str
    old: str
    new: str

    @property
    def changed(self) -> bool:
        return self.old != self.new


@contextmanager
def wearing(base: Model, edited: Weights) -> Iterator[Model]:
    """The base with the edited model's tensors inside the block; after it every bit is as
    before.

    Memory: the tensors that differ.
    """
    originals: dict[str, torch.Tensor] = {}
    try:
        with torch.no_grad():
            for name in check_alike(base, edited):
                mine, theirs = (
                    base.parameter(name),
                    edited.parameter(name).to(base.device, base.dtype),
                )
                if not torch.equal(mine, theirs):
                    originals[name] = mine.clone()
                    mine.copy_(theirs)
        yield base
    finally:
        with torch.no_grad():
            for name, before in originals.items():
                base.parameter(name).copy_(before)


def new_answers(base: Model, edited: Weights, asked: Sequence[Candidate]) -> list[list[NewAnswer]]:
    """Greedy answers to each candidate's prompts, before and after.

    Cost: two completions of 12 tokens a prompt.
    """
    prompts = [
        candidate.templates[i].replace(BLANK, candidate.subject, 1)
        for candidate in asked
        for i in range(len(candidate.templates))
    ]
    old = [own.text for own in own_answers(base, prompts)]
    with wearing(base, edited):
        new = [own.text for own in own_answers(base, prompts)]
    answers = iter(NewAnswer(*each) for each in zip(prompts, old, new, strict=True))
    return [[next(answers) for _ in candidate.templates] for candidate in asked]


@torch.no_grad()
def written_words(
    model: Model, written: Sequence[EditedWeight], keys: dict[str, torch.Tensor], top: int = 3
) -> list[list[str]]:
    """The tokens that Δk of the W_down that changed promotes most, by the logit lens, a list for
    each key; later layers may read it otherwise."""
    moves = [
        keys[change.point] @ change.delta.T
        for change in written
        if change.name.startswith("W_down")
    ]
    if not moves:
        return []
    logits = model.unembed(torch.stack(moves).sum(0).to(model.device, model.dtype))
    return [[model.token_text(token) for token in row] for row in logits.topk(top).indices.tolist()]
