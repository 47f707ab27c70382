"""Retain prompts: an edit's own questions, asked of other subjects, whose answers are to stay.

    Michael Jordan plays the sport of → baseball  edited
    Babe Ruth plays the sport of                  retained: KL(before ‖ after) where the answer is
                                                  due

A search that sees its own subjects alone learns to answer the question, whoever is asked about.
Background text does not prevent that: few of its sentences state the relation. Subjects are

1. those of the facts' `neighbours` prompts, as they stand;
2. what stands in the question's place in the background text, names that the model itself lists
   after the edited subjects, and names in the background text (its other words too, where an edited
   subject is none: "pinto bean"), put into the question. Those of whose answer the base is surest
   come first, half of them with an answer that is edited (the neighbours that an edit moves
   soonest), the rest with as many answers as can be.

No list of known facts is asked, so a model that nobody has a list for is treated alike.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, cycle, zip_longest
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.other_subjects import (
    NAMES,
    is_name,
    listed_names,
    names_in,
    stated,
    words_in,
)
from loci.editing.prompts import TrainingPrompt, mean_reads
from loci.errors import LociError
from loci.facts import Fact
from loci.facts.fact import BLANK
from loci.model import Model, by_near_length
from loci.model.generation import continue_all
from loci.model.unembedding import last_streams, unembedded
from loci.text import BackgroundText

RETAINED = 64
"""Most prompts that are retained for a question."""
TRIED, FEWEST = 1_500, 48
"""Most prompts that are tried in all; and names for each question, where they are many."""
EACH, ELSEWHERE = 16, 16
"""Fewest prompts that are retained for a question, if there are as many; and most subjects of other
edits that it is asked of.
"""
QUESTIONS = 64
"""Most questions that are asked of others, drawn by the seed; of more, the rest is left to
background text.
"""
ANSWER_TOKENS = 4
"""Of the model's own answer to a question."""


def retain_prompts(
    model: Model,
    facts: Sequence[Fact],
    text: BackgroundText,
    *,
    most: int = RETAINED,
    seed: int = 0,
    forms: Mapping[str, Sequence[str]] | None = None,
) -> list[TrainingPrompt]:
    """Prompts whose next-token distribution is to stay, each read where the answer is due. `forms`:
    other phrasings of a question, which are asked of every third subject.

    Cost: one forward pass over at most `TRIED` short prompts, or `FEWEST` for each question, and
    `LISTS` sampled lists for it, `FEW_LISTS` where questions are many.
    """
    questions = defaultdict[str, list[Fact]](list)
    for fact in facts:
        questions[fact.prompt].append(fact)
    chosen = random.Random(seed).sample(sorted(questions), min(len(questions), QUESTIONS))
    tried = min(NAMES, max(FEWEST, TRIED // max(1, len(chosen))))
    given = (
        prompt for question in chosen for fact in questions[question] for prompt in fact.neighbours
    )
    prompts = dict.fromkeys(_whole_prompts(model, given))
    edited = {question: [fact.subject for fact in questions[question]] for question in chosen}
    listed = listed_names(model, edited, seed)
    asks = dict[str, list[Ask]]()
    for question in chosen:
        found = _subjects(text, question, edited, listed[question], seed)[:tried]
        others = list((forms or {}).get(question, ()))
        random.Random(seed).shuffle(others)
        asks[question] = [*_asks(model, _phrased(question, others, found))]
    each = max(EACH, most // max(1, len(chosen)))
    for surest in _surest(model, asks, facts, each):
        prompts |= dict.fromkeys(surest)
    return list(prompts)


def _subjects(
    text: BackgroundText,
    question: str,
    edited: Mapping[str, Sequence[str]],
    listed: Sequence[str],
    seed: int,
) -> list[str]:
    """Who else the question is asked of: those likely to fit first, and some subjects of the other
    edits, which are to be changed in one thing alone.
    """
    own = edited[question]
    elsewhere = sorted({name for names in edited.values() for name in names} - set(own))
    some = random.Random(seed).sample(elsewhere, min(len(elsewhere), ELSEWHERE))
    found = [*stated(text.split, question, seed), *some, *listed]
    names = names_in(text.split, seed)
    if all(map(is_name, own)):
        found += names
    else:
        found += chain.from_iterable(zip_longest(names, words_in(text.split, seed), fillvalue=""))
    return [name for name in dict.fromkeys(found) if name and name not in own]


def other_phrasings(
    model: Model, facts: Sequence[Fact], prompts: Sequence[Sequence[TrainingPrompt]]
) -> dict[str, list[str]]:
    """The phrasings of each question among the edit prompts, with `{}` for the subject."""
    forms = defaultdict[str, dict[str, None]](dict)
    for fact, own in zip(facts, prompts, strict=True):
        for prompt in own:
            text = model.decode(prompt.ids[model.special : prompt.positions[0] + 1]).strip()
            if prompt.answer and fact.text not in text and text.count(fact.subject) == 1:
                forms[fact.prompt][text.replace(fact.subject, BLANK)] = None
    return {question: list(own) for question, own in forms.items()}


def asked(model: Model, prompts: Sequence[TrainingPrompt]) -> list[str]:
    """The questions as texts, for a patch to name."""
    return [
        model.decode(prompt.ids[model.special : prompt.positions[0] + 1]).strip()
        for prompt in prompts
    ]


def with_own_answers(
    model: Model, prompts: Sequence[TrainingPrompt], tokens: int = ANSWER_TOKENS
) -> list[TrainingPrompt]:
    """The prompts with what the model goes on with, read up to its last token: a year or a name of
    several tokens stays whole. Cost: greedy generation of `tokens` tokens.
    """
    found = list[TrainingPrompt]()
    made = continue_all(model, [prompt.ids for prompt in prompts], tokens)
    for prompt, answer in zip(prompts, made, strict=True):
        ids = (*prompt.ids, *answer.ids[:-1])
        places = tuple(range(prompt.positions[0], len(ids)))
        found.append(prompt._replace(ids=ids, positions=places))
    return found


def near_moments(
    model: Model, prompts: Sequence[TrainingPrompt], layers: Sequence[int]
) -> dict[int, Float[Tensor, "d_mlp d_mlp"]]:
    """Mean k kᵀ of the prompts' keys at the subject's last token, by layer, float64. Cost: one
    forward pass.
    """
    places = {f"mlp_act.{layer}": (lambda prompt: prompt.subject) for layer in layers}
    each = [prompt._replace(fact=i) for i, prompt in enumerate(prompts)]
    keys = mean_reads(model, each, len(each), places)
    doubles = {layer: keys[f"mlp_act.{layer}"].double() for layer in layers}
    return {layer: K.T @ K / len(K) for layer, K in doubles.items()}


def special_moments(model: Model, layers: Sequence[int]) -> dict[int, Float[Tensor, "d_mlp d_mlp"]]:
    """Σ k kᵀ over the positions of special tokens in front of every text, by layer, float64.

    Statistics over text leave them out. They are the same in every text and many heads attend to
    them, so a change there reaches all that follows. Cost: a forward pass over one word.
    """
    points = [f"mlp_act.{layer}" for layer in layers]
    reads = model.read(model.ids([model.tokenize("a").ids]), *points)
    keys = {layer: reads[f"mlp_act.{layer}"][0, : model.special].double().cpu() for layer in layers}
    return {layer: K.T @ K for layer, K in keys.items()}


def _question(ids: tuple[int, ...], subject: int) -> TrainingPrompt:
    """A prompt that is read where its answer is due."""
    return TrainingPrompt(-1, ids, subject, (len(ids) - 1,))


class Ask(NamedTuple):
    """A subject that the question is asked of."""

    subject: str
    prompt: TrainingPrompt


def _phrased(question: str, forms: Sequence[str], subjects: Sequence[str]) -> list[tuple[str, str]]:
    """Each subject behind the phrasing in which it is asked: every third another one."""
    turns = cycle(forms or [question])
    return [(next(turns) if i % 3 == 2 else question, name) for i, name in enumerate(subjects)]


def _asks(model: Model, asked: Sequence[tuple[str, str]]) -> Iterator[Ask]:
    """Each question about its subject, where the tokenizer can place it."""
    texts = [question.replace(BLANK, subject, 1) for question, subject in asked]
    for (question, subject), tokens in zip(asked, model.tokenize_all(texts), strict=True):
        start = question.index(BLANK)
        with suppress(LociError):
            last = tokens.span((start, start + len(subject)))[1] - 1
            yield Ask(subject, _question(tokens.ids, last))


def _whole_prompts(model: Model, texts: Iterable[str]) -> list[TrainingPrompt]:
    """Neighbours' prompts as they stand: the subject is not told,
    so the last token stands for it.
    """
    ids = [model.tokenize(prompt).ids for prompt in texts]
    return [_question(row, len(row) - 1) for row in ids]


def _surest(
    model: Model, asks: Mapping[str, Sequence[Ask]], facts: Sequence[Fact], most: int
) -> Iterator[list[TrainingPrompt]]:
    """Of each question the prompts of whose answer the base is surest: half with an answer that is
    edited, the others by answers in turn. An edited subject of which the base gives the answer that
    is edited was asked the same in other words: it is left out.
    """
    asked = list(dict.fromkeys(ask.prompt for own in asks.values() for ask in own))
    texts = [own.ids for own in model.tokenize_all([fact.text for fact in facts])]
    found = _next_tokens(model, [*(prompt.ids for prompt in asked), *texts])
    tops = dict(zip(asked, found, strict=False))
    answers, changed = defaultdict[str, set[int]](set), set[tuple[str, int]]()
    for fact, (_, token) in zip(facts, found[len(asked) :], strict=True):
        answers[fact.prompt].add(token)
        changed.add((fact.subject, token))
    for question, own in asks.items():
        left = [ask.prompt for ask in own if (ask.subject, tops[ask.prompt][1]) not in changed]
        order = sorted(left, key=lambda prompt: -tops[prompt][0])
        near = [prompt for prompt in order if tops[prompt][1] in answers[question]][: most // 2]
        rank, seen = dict[TrainingPrompt, int](), Counter[int]()
        for prompt in order:
            rank[prompt] = seen[tops[prompt][1]]
            seen[tops[prompt][1]] += 1
        others = sorted(
            (prompt for prompt in order if prompt not in set(near)),
            key=lambda prompt: (rank[prompt] // 2, -tops[prompt][0]),
        )
        yield [*near, *others[: most - len(near)]]


@torch.no_grad()
def _next_tokens(model: Model, prompts: Sequence[tuple[int, ...]]) -> list[tuple[float, int]]:
    """The likeliest token behind each prompt, with its probability before it."""
    tops = dict[int, tuple[float, int]]()
    for batch in by_near_length(prompts, len, model.tokens_at_once):
        streams = last_streams(model, model.padded([prompts[i] for i in batch])[0])
        ends = [len(prompts[i]) - 1 for i in batch]
        for some, logits in unembedded(model, streams[range(len(batch)), ends]):
            best = logits.softmax(-1).max(-1)
            pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
            tops |= dict(zip(batch[some], pairs, strict=True))
    return [tops[i] for i in range(len(prompts))]
