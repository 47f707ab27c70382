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
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, zip_longest

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.prompts import TrainingPrompt, mean_reads
from loci.errors import LociError
from loci.facts import Fact
from loci.facts.fact import BLANK
from loci.model import Model, by_length
from loci.model.generation import generate
from loci.text import BackgroundText

RETAINED = 64
"""Most prompts that are retained for a question."""
NAMES, TRIED, FEWEST = 500, 1_500, 48
"""Most names that are tried in a question; prompts that are tried in all; and names for each
question, where they are many.
"""
QUESTIONS = 64
"""Most questions that are asked of others, drawn by the seed; of more, the rest is left to
background text.
"""
ANSWER_TOKENS = 4
"""Of the model's own answer to a question."""
LISTS, LIST_TOKENS = 24, 16
"""Lists of names that the model is let go on with, and the tokens of each."""
NAME = re.compile(
    r"[^\W\d_][\w'’.-]*(?: (?:(?:of|de|la|van|von|der|al|bin|del|di|the|and) )?[^\W\d_][\w'’.-]*)*"
)
LONGEST = 6


def retain_prompts(
    model: Model,
    facts: Sequence[Fact],
    text: BackgroundText,
    *,
    most: int = RETAINED,
    seed: int = 0,
) -> list[TrainingPrompt]:
    """Prompts whose next-token distribution is to stay, each read where the answer is due.

    Cost: one forward pass over at most `TRIED` short prompts, or `FEWEST` for each question, and
    `LISTS` sampled lists.
    """
    prompts: dict[TrainingPrompt, None] = {}
    edited = {fact.subject for fact in facts}
    questions = defaultdict[str, list[Fact]](list)
    for fact in facts:
        questions[fact.prompt].append(fact)
    names = _names_in(text.split, seed) if questions else ()
    chosen = random.Random(seed).sample(sorted(questions), min(len(questions), QUESTIONS))
    each = max(8, most // max(1, len(chosen)))
    tried = min(NAMES, max(FEWEST, TRIED // max(1, len(chosen))))
    for question in chosen:
        asked = questions[question]
        given = [prompt for fact in asked for prompt in fact.neighbours]
        prompts |= dict.fromkeys(_whole_prompts(model, given))
        own = [fact.subject for fact in asked]
        listed = _listed(model, own, seed) if len(chosen) <= 8 else []
        found = [*_stated(text.split, question, seed), *listed]
        if all(map(_is_name, own)):
            found += names
        else:
            words = _words_in(text.split, seed)
            found += chain.from_iterable(zip_longest(names, words, fillvalue=""))
        subjects = [name for name in dict.fromkeys(found) if name and name not in edited][:tried]
        asks = [ask for ask in (_ask(model, question, name) for name in subjects) if ask]
        prompts |= dict.fromkeys(_surest(model, asks, asked, each))
    return list(prompts)


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
    found = list(prompts)
    for batch in by_length(prompts, lambda prompt: len(prompt.ids), model.tokens_at_once):
        made = generate(model, model.ids([prompts[i].ids for i in batch]), tokens)
        for i, answer in zip(batch, made, strict=True):
            ids = (*prompts[i].ids, *answer[:-1])
            found[i] = prompts[i]._replace(
                ids=ids, positions=tuple(range(prompts[i].positions[0], len(ids)))
            )
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


def _ask(model: Model, question: str, subject: str) -> TrainingPrompt | None:
    """The question about a subject; None where the tokenizer cannot place the subject."""
    start = question.index(BLANK)
    try:
        tokens = model.tokenize(question.replace(BLANK, subject, 1))
        return _question(tokens.ids, tokens.span((start, start + len(subject)))[1] - 1)
    except LociError:
        return None


def _whole_prompts(model: Model, texts: Iterable[str]) -> list[TrainingPrompt]:
    """Neighbours' prompts as they stand: the subject is not told,
    so the last token stands for it.
    """
    ids = [model.tokenize(prompt).ids for prompt in texts]
    return [_question(row, len(row) - 1) for row in ids]


def _stated(sentences: Sequence[str], question: str, seed: int) -> list[str]:
    """At most `NAMES` // 2 of what stands in the question's place in sentences that state it, in a
    seeded order; nothing where no word follows the blank, as then nothing says where a subject
    ends.
    """
    before, after = question.split(BLANK)
    if not after.strip():
        return []
    place = re.compile(
        rf"{re.escape(before)}(\S+(?: \S+){{0,{LONGEST - 1}}}?){re.escape(after)}(?!\w)"
    )
    found = (place.match(sentence) for sentence in sentences if after in sentence)
    stated = list(dict.fromkeys(match[1] for match in found if match))
    return random.Random(seed).sample(stated, min(len(stated), NAMES // 2))


def _is_name(subject: str) -> bool:
    return not subject[:1].islower()


@lru_cache(maxsize=4)
def _words_in(sentences: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Words in sentences that are no names, in a seeded order."""
    drawn = random.Random(seed).sample(list(sentences), min(len(sentences), 8 * NAMES))
    words = (word.strip(".,;:!?\"'()[]“”") for sentence in drawn for word in sentence.split())
    return tuple(dict.fromkeys(word for word in words if len(word) > 2 and word.islower()))


@lru_cache(maxsize=4)
def _names_in(sentences: tuple[str, ...], seed: int) -> tuple[str, ...]:
    """Names in sentences: runs of capitalised words, in a seeded order; words that also stand in
    lower case are none.
    """
    drawn = random.Random(seed).sample(list(sentences), min(len(sentences), 8 * NAMES))
    lower = {word for sentence in drawn for word in sentence.split() if word[:1].islower()}
    names = dict.fromkeys(chain.from_iterable(_runs(sentence, lower) for sentence in drawn))
    return tuple(names)


def _runs(sentence: str, lower: set[str]) -> list[str]:
    """The capitalised runs of one sentence."""
    runs: list[list[str]] = [[]]
    for word in sentence.split():
        bare = word.strip(".,;:!?\"'()[]“”").removesuffix("'s")
        if bare[:1].isupper() and bare[:1].isalpha():
            runs[-1].append(bare)
        else:
            runs.append([])
        if bare != word:
            runs.append([])
    kept = [" ".join(run) for run in runs if 0 < len(run) <= LONGEST]
    return [name for name in kept if name.lower() not in lower and len(name) > 2]


@torch.no_grad()
def _listed(model: Model, subjects: Sequence[str], seed: int) -> list[str]:
    """Names that the model goes on with in a list that the edited subjects begin: others of their
    kind.
    """
    rng, names = random.Random(seed), Counter[str]()
    some = rng.sample(list(dict.fromkeys(subjects)), min(4, len(set(subjects))))
    ids = model.ids([model.tokenize(f"{', '.join(some)},").ids]).expand(LISTS, -1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = generate(model, ids, LIST_TOKENS, sample=True)
    for row in made:
        parts = str(model.tokenizer.decode(row, skip_special_tokens=True)).split(",")[:-1]
        names.update(part.strip() for part in parts if NAME.fullmatch(part.strip()))
    return [name for name, _ in names.most_common() if len(name.split()) <= LONGEST]


def _surest(
    model: Model, prompts: Sequence[TrainingPrompt], facts: Sequence[Fact], most: int
) -> list[TrainingPrompt]:
    """The prompts of whose answer the base is surest: half with an answer that is edited, the
    others by answers in turn.
    """
    tops = _next_tokens(model, [prompt.ids for prompt in prompts])
    order = sorted(range(len(prompts)), key=lambda i: -tops[i][0])
    edited = {
        token for _, token in _next_tokens(model, [model.tokenize(fact.text).ids for fact in facts])
    }
    near = [i for i in order if tops[i][1] in edited][: most // 2]
    rank, seen = dict[int, int](), Counter[int]()
    for i in order:
        rank[i] = seen[tops[i][1]]
        seen[tops[i][1]] += 1
    taken = set(near)
    others = sorted((i for i in order if i not in taken), key=lambda i: (rank[i] // 2, -tops[i][0]))
    return [prompts[i] for i in [*near, *others[: most - len(near)]]]


@torch.no_grad()
def _next_tokens(model: Model, prompts: Sequence[tuple[int, ...]]) -> list[tuple[float, int]]:
    """The likeliest token behind each prompt, with its probability before it."""
    tops: list[tuple[float, int]] = [(0.0, -1)] * len(prompts)
    for batch in by_length(prompts, len, model.tokens_at_once, model.rows_at_once):
        logits = model(model.ids([prompts[i] for i in batch]), last=1)[:, -1].float()
        best = logits.softmax(-1).max(-1)
        for i, probability, token in zip(
            batch, best.values.tolist(), best.indices.tolist(), strict=True
        ):
            tops[i] = (probability, token)
    return tops
