"""Own phrasings of a question: the words behind which a model would name a subject, and the texts
that it then ends with the answer.

Facts of one relation are asked alike. So words that lead to such a subject are sought for all of
them together, and what is found for one is tried on the others; only what the model does end with a
fact's own answer counts for it.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact, occurrences
from loci.model import Model, by_near_length, score_answers
from loci.model.answers import BUDGET, with_answer
from loci.model.unembedding import last_streams, unembedded
from loci.text import BackgroundText

OPENINGS = 400
"""Beginnings of sentences among which those are sought that lead to a subject."""


def likely_prefixes(
    model: Model, facts: Sequence[Fact], count: int, text: BackgroundText
) -> list[list[str]]:
    """For each subject, openings of sentences after which the model is likeliest to name subjects
    of its relation, by their first tokens.

    Several subjects get different ones, out of as many more. Cost: one forward pass over the
    openings.
    """
    if not count:
        return [[] for _ in facts]
    begun, kinds = text.openings(OPENINGS), defaultdict[str, list[int]](list)
    for i, fact in enumerate(facts):
        kinds[_kind(fact)].append(i)
    scores, rng, prefixes = (
        _named_next(model, begun, facts),
        random.Random(0),
        [list[str]() for _ in facts],
    )
    for group in kinds.values():
        best = (
            scores[:, group].mean(1).topk(min(count + len(group) - 1, len(begun))).indices.tolist()
        )
        for i in group:
            prefixes[i] = [begun[j] for j in rng.sample(best, min(count, len(best)))]
    return prefixes


def own_phrasings(
    model: Model,
    facts: Sequence[Fact],
    due: Iterable[tuple[int, str]],
    old: Sequence[str],
    most: int,
) -> Iterator[tuple[int, str, int]]:
    """(fact, text, character of the subject) of texts that the model ends with the old answer, at
    most so many a fact.

    `due` are texts about the facts behind which an answer is due. The forms that come up most often
    in a relation are tried on all of its subjects, and those that hold for most come first. Cost:
    one forward pass over 2 · `most` texts a fact.
    """
    came, common = (
        defaultdict[str, Counter[_Form]](Counter),
        defaultdict[str, Counter[_Form]](Counter),
    )
    for i, text in sorted(due, key=itemgetter(0)):
        came[_kind(facts[i])].update(_Form.all_of(text, facts[i].subject))
    tried = [
        (i, form)
        for i, fact in enumerate(facts)
        for form, _ in came[_kind(fact)].most_common(2 * most)
    ]
    asked = [(i, form) for i, form in tried if form.of(facts[i].subject) != facts[i].text]
    scores = score_answers(model, [(form.of(facts[i].subject), old[i]) for i, form in asked])
    holds = [one for one, score in zip(asked, scores, strict=True) if score.greedy]
    for i, form in holds:
        common[_kind(facts[i])][form] += 1
    for i, own in groupby(holds, itemgetter(0)):
        for _, form in sorted(own, key=lambda one: -common[_kind(facts[one[0]])][one[1]])[:most]:
            yield i, form.of(facts[i].subject), len(form.before)


class _Form(NamedTuple):
    """A phrasing, split into the text before the subject and the text behind it."""

    before: str
    behind: str

    @classmethod
    def all_of(cls, text: str, subject: str) -> "list[_Form]":
        """The form of a text that names the subject once; none of others."""
        named = occurrences(text, subject)
        return [cls(text[:start], text[end:]) for start, end in named] if len(named) == 1 else []

    def of(self, subject: str) -> str:
        return f"{self.before}{subject}{self.behind}"


def _kind(fact: Fact) -> str:
    """The key by which facts that are asked alike are grouped: the relation, or the prompt where no
    relation is given.
    """
    return fact.relation or fact.prompt


@torch.no_grad()
def _named_next(
    model: Model, texts: Sequence[str], facts: Sequence[Fact]
) -> Float[Tensor, "text fact"]:
    """Log-probability of each subject's first token behind each text."""
    tokens = [model.tokenize(text).ids for text in texts]
    named = [with_answer(model, "The", fact.subject, " ") for fact in facts]
    firsts = [split.ids[start] for split, (start, _) in named]
    scores = torch.empty(len(texts), len(facts))
    for batch in by_near_length(tokens, len, BUDGET):
        streams = last_streams(model, model.padded([tokens[i] for i in batch])[0])
        ends = [len(tokens[i]) - 1 for i in batch]
        for some, logits in unembedded(model, streams[range(len(batch)), ends]):
            scores[batch[some]] = logits.log_softmax(-1)[:, firsts].cpu()
    return scores
