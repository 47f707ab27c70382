"""Own phrasings of a question: the words behind which a model would name a subject, and the texts that it then ends with the answer.

Facts of one relation are asked alike. So words that lead to such a subject are sought for all of them together, and what is
found for one is tried on the others; only what the model does end with a fact's own answer counts for it.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import torch

from loci.facts import Fact, occurrences
from loci.model import Model, by_length, score_answers
from loci.model.answers import BUDGET, with_answer
from loci.survey import openings

OPENINGS = 400
"""Beginnings of sentences among which those are sought that lead to a subject."""


@torch.no_grad()
def likely_heads(model: Model, facts: Sequence[Fact], count: int) -> list[list[str]]:
    """For each subject, openings of sentences after which the model is likeliest to name subjects of its relation, by their first tokens.

    Several subjects get different ones, out of as many more. Cost: one forward pass over the openings.
    """
    if not count:
        return [[] for _ in facts]
    begun = openings(OPENINGS)
    tokens = [model.tokenize(text).ids for text in begun]
    named = [with_answer(model, "The", fact.subject) for fact in facts]
    firsts = [split.ids[start] for split, (start, _) in named]
    scores = torch.empty(len(begun), len(facts))
    for batch in by_length(tokens, len, BUDGET):
        logits = model(model.ids([tokens[i] for i in batch]))[:, -1].float()
        scores[batch] = logits.log_softmax(-1)[:, firsts].cpu()
    rng, heads = random.Random(0), [list[str]() for _ in facts]
    for group in _alike(facts):
        best = scores[:, group].mean(1).topk(min(count + len(group) - 1, len(begun))).indices.tolist()
        for i in group:
            heads[i] = [begun[j] for j in rng.sample(best, min(count, len(best)))]
    return heads


def own_phrasings(
    model: Model, facts: Sequence[Fact], due: Iterable[tuple[int, str]], old: Sequence[str], most: int
) -> Iterator[tuple[int, str, int]]:
    """(fact, text, character of the subject) of texts that the model ends with the old answer, at most so many a fact.

    `due` are texts about the facts behind which an answer is due. Those whose form holds for most subjects of the relation come first.
    Cost: one forward pass over 2 · `most` texts a fact.
    """
    found = [Counter[_Form]() for _ in facts]
    for i, text in due:
        found[i].update(_Form.all_of(text, facts[i].subject))
    asked = [one for group in _alike(facts) for one in _tried(facts, group, found, 2 * most)]
    scores = score_answers(model, [(form.of(facts[i].subject), old[i]) for i, form in asked])
    holds: dict[int, list[_Form]] = defaultdict(list)
    for (i, form), score in zip(asked, scores, strict=True):
        if score.greedy:
            holds[i].append(form)
    for group in _alike(facts):
        common = Counter(form for i in group for form in holds[i])
        for i in group:
            for form in sorted(holds[i], key=common.__getitem__, reverse=True)[:most]:
                yield i, form.of(facts[i].subject), len(form.before)


class _Form(NamedTuple):
    """What stands before the subject, and behind it."""

    before: str
    behind: str

    @classmethod
    def all_of(cls, text: str, subject: str) -> "list[_Form]":
        """The form of a text that names the subject once; none of others."""
        named = occurrences(text, subject)
        return [cls(text[:start], text[end:]) for start, end in named] if len(named) == 1 else []

    def of(self, subject: str) -> str:
        return f"{self.before}{subject}{self.behind}"


def _alike(facts: Sequence[Fact]) -> list[list[int]]:
    """The facts by relation, or by prompt where none is said."""
    groups: dict[str, list[int]] = {}
    for i, fact in enumerate(facts):
        groups.setdefault(fact.relation or fact.prompt, []).append(i)
    return list(groups.values())


def _tried(facts: Sequence[Fact], group: Sequence[int], found: Sequence[Counter[_Form]], most: int) -> Iterator[tuple[int, _Form]]:
    """The forms that came up most often in a relation, for each of its subjects, but for the prompts themselves."""
    forms = sum((found[i] for i in group), Counter[_Form]()).most_common(most)
    yield from ((i, form) for form, _ in forms for i in group if form.of(facts[i].subject) != facts[i].text)
