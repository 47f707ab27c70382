"""The texts from which an edit is found: edit prompts, which want the new answer, and retain
prompts, whose next-token distributions are to stay.

    edit prompts    the question, bare and behind prefixes, and self-generated paraphrases of it,
                    each with the new answer
    retain prompts  texts that the model itself samples about the subject, up to where the old or
                    the new answer is due

Self-generated paraphrases cost nothing but reading: the model continues the subject, bare and
behind beginnings of sentences after which it is likely to name the subject. Where it is about to
say the old answer, in full, it has asked the question in words of its own (`phrasings.py`).
So an edit needs one question from the user, and holds in phrasings that nobody wrote down.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.editing.phrasings import likely_prefixes, own_phrasings
from loci.errors import EditError
from loci.facts import Fact
from loci.facts.matching import spelling
from loci.facts.scripts import unspaced
from loci.model import Model, OwnAnswer, by_near_length, own_answers, read_at
from loci.model.answers import BUDGET, SENTENCE_END, with_answer
from loci.model.generation import continue_all
from loci.model.joins import joins
from loci.model.unembedding import likeliest
from loci.text import BackgroundText, background


class TrainingPrompt(NamedTuple):
    """One text about a fact."""

    fact: int
    ids: tuple[int, ...]
    subject: int
    """Position of the last subject token."""
    positions: tuple[int, ...]
    """Positions whose next token counts; none before the subject."""
    answer: tuple[int, ...] = ()
    """The tokens of the new answer, which should follow there; none in a retain prompt."""
    weight: float = 1.0
    """How many times it stands for the fact."""


@dataclass(frozen=True)
class PromptSettings:
    """How many texts of each kind stand for a fact."""

    contexts: int = 5
    """prefixes of the question, beside none: whole sentences, and beginnings of sentences"""
    essence: int = 12
    """texts sampled from the model about the subject, half of them behind beginnings of sentences
    """
    essence_tokens: int = 10
    """and their length"""
    own: int = 4
    """most self-generated paraphrases"""
    seed: int = 0
    """of the sampled texts"""


@torch.no_grad()
def training_prompts(
    model: Model,
    facts: Sequence[Fact],
    settings: PromptSettings,
    text: BackgroundText | None = None,
) -> list[list[TrainingPrompt]]:
    """The prompts of each fact: the question, bare and behind `contexts` prefixes, its paraphrases,
    then retain prompts.

    `text` is where contexts and openings come from, by default the background text of the model.
    Cost: `essence` sampled texts a fact, and two forward passes over them. Raises `EditError`.
    """
    for fact in facts:
        if fact.new_answer is None:
            raise EditError(f"no new answer for {fact.text!r}: say fact.to(…)")
    text = text or background(model)
    said = own_answers(model, [fact.text for fact in facts])
    old = [_old(fact, own) for fact, own in zip(facts, said, strict=True)]
    new = [
        f"{fact.new_answer}{_stop(own.says, answer)}"
        for fact, own, answer in zip(facts, said, old, strict=True)
    ]
    prefixes, spaces = _prefixes(settings, text), joins(model, [fact.text for fact in facts], old)
    found = [
        [
            _asked(
                model,
                i,
                prefix + fact.text,
                fact.subject,
                len(prefix) + fact.subject_span[0],
                new[i],
                spaces[i],
            )
            for prefix in prefixes
        ]
        for i, fact in enumerate(facts)
    ]
    firsts = [_firsts(model, *each) for each in zip(facts, old, spaces, strict=True)]
    kept, due = _split(model, _samples(model, facts, settings, text), _stops(facts, firsts))
    own = list(own_phrasings(model, facts, due, old, settings.own))
    spaces = joins(model, [question for _, question, _ in own], [old[i] for i, *_ in own])
    for (i, question, at), space in zip(own, spaces, strict=True):
        with suppress(EditError):
            found[i].append(_asked(model, i, question, facts[i].subject, at, new[i], space))
    for prompt in kept:
        found[prompt.fact].append(prompt)
    return found


def _old(fact: Fact, own: OwnAnswer) -> str:
    """The model's present answer: the fact's answer as the model spells it, or else the model's
    own, by the one rule for that (`loci.model.answer_rule`).
    """
    spelt = (spelling(own.says, answer) for answer in (fact.answer, *fact.aliases))
    return next(filter(None, spelt), own.text or fact.answer)


def _stop(says: str, answer: str) -> str:
    """The full stop that the model puts at once behind its answer: the new answer should end there
    too ("10", not "108").
    """
    behind = says.strip().removeprefix(answer)[:1]
    return behind.strip() if SENTENCE_END.match(behind) else ""


def _prefixes(settings: PromptSettings, text: BackgroundText) -> list[str]:
    """Nothing, then beginnings of sentences and whole ones in turn."""
    begun, whole = (
        text.beginnings(settings.contexts, settings.seed + 1),
        text.sentences(settings.contexts),
    )
    mixed = [prefix for pair in zip(begun, whole, strict=True) for prefix in pair]
    return ["", *(" ".join([*prefix.split()[:40], ""]) for prefix in mixed[: settings.contexts])]


def _asked(
    model: Model, fact: int, question: str, subject: str, at: int, answer: str, join: str
) -> TrainingPrompt:
    """An edit prompt: the answer behind a question, whose subject begins at the character `at`,
    and behind `join`.
    """
    tokens, (first, last) = with_answer(model, question, answer, join)
    end = tokens.span((at, at + len(subject)))[1]
    behind = tokens.offsets[end - 1][1]
    if behind > at + len(subject) and not unspaced(subject[-1]):
        raise EditError(
            f"the last token of {subject!r} in {question!r} also holds"
            f" {question[at + len(subject) : behind]!r}: put a space behind the subject"
        )
    return TrainingPrompt(
        fact,
        tokens.ids[: last - 1],
        end - 1,
        tuple(range(first - 1, last - 1)),
        tokens.ids[first:last],
    )


def _firsts(model: Model, fact: Fact, old: str, join: str) -> set[int]:
    """First tokens of the answers at which a text about the subject stops to be something else."""
    split = [
        with_answer(model, fact.text, answer, join)
        for answer in (old, fact.answer, fact.new_answer or "")
    ]
    return {tokens.ids[start] for tokens, (start, _) in split}


def _stops(facts: Sequence[Fact], firsts: Sequence[set[int]]) -> list[dict[int, int]]:
    """For a text about each fact's subject, the tokens at which it stops to be something else, and
    whose answer begins there: the fact's own, or else that of another fact of the subject, which is
    edited too and must not be retained.
    """
    about = defaultdict[str, list[int]](list)
    for i, fact in enumerate(facts):
        about[fact.subject].append(i)
    return [
        {token: j for j in (*about[fact.subject], i) for token in firsts[j]}
        for i, fact in enumerate(facts)
    ]


class _Sample(NamedTuple):
    fact: int
    ids: tuple[int, ...]
    subject: int


def _samples(
    model: Model, facts: Sequence[Fact], settings: PromptSettings, text: BackgroundText
) -> list[_Sample]:
    """Texts that the model goes on with behind each subject."""
    if not settings.essence:
        return []
    likely = likely_prefixes(model, facts, settings.essence // 2, text)
    starts = []
    for i, fact in enumerate(facts):
        for prefix in (
            *[""] * (settings.essence - len(likely[i])),
            *(f"{prefix} " for prefix in likely[i]),
        ):
            tokens = model.tokenize(prefix + fact.subject)
            starts.append(
                _Sample(
                    i,
                    tokens.ids,
                    tokens.span((len(prefix), len(prefix) + len(fact.subject)))[1] - 1,
                )
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        made = continue_all(
            model,
            [start.ids for start in starts],
            settings.essence_tokens,
            budget=BUDGET // 2,
            least=1,
            sample=True,
        )
    return [
        start._replace(ids=(*start.ids, *row.ids)) for start, row in zip(starts, made, strict=True)
    ]


def _split(
    model: Model, samples: Sequence[_Sample], stops: Sequence[dict[int, int]]
) -> tuple[list[TrainingPrompt], list[tuple[int, str]]]:
    """The retain prompt in each sample, and the texts behind which an answer is due."""
    kept, due = dict[TrainingPrompt, int](), dict[tuple[int, str], None]()
    for batch in by_near_length(samples, lambda sample: len(sample.ids), BUDGET):
        best = likeliest(model, model.padded([samples[i].ids for i in batch])[0]).tolist()
        for i, row in zip(batch, best, strict=True):
            fact, ids, subject = samples[i]
            end = next((p for p in range(subject, len(ids)) if row[p] in stops[fact]), None)
            if end is not None:
                due[stops[fact][row[end]], model.decode(ids[model.special : end + 1]).strip()] = (
                    None
                )
            read = tuple(range(subject, len(ids) if end is None else end))
            if read:
                prompt = TrainingPrompt(fact, ids[: read[-1] + 1], subject, read)
                kept[prompt] = kept.get(prompt, 0) + 1
    return [prompt._replace(weight=float(count)) for prompt, count in kept.items()], list(due)


def mean_reads(
    model: Model,
    prompts: Sequence[TrainingPrompt],
    facts: int,
    places: Mapping[str, Callable[[TrainingPrompt], int]],
) -> dict[str, Float[Tensor, "fact width"]]:
    """Activations at one position of each prompt, averaged over each fact's prompts. Cost: one
    partial forward pass.
    """
    whose = torch.tensor([prompt.fact for prompt in prompts])
    counts = torch.bincount(whose, minlength=facts)[:, None]
    at = {point: [place(prompt) for prompt in prompts] for point, place in places.items()}
    sums: dict[str, Tensor] = {}
    for batch, reads in read_at(model, [prompt.ids for prompt in prompts], at):
        for point, here in reads.items():
            sums.setdefault(point, torch.zeros(facts, here.shape[1])).index_add_(
                0, whose[batch], here.float()
            )
    return {point: total / counts for point, total in sums.items()}


def subject_reads(
    model: Model, prompts: Sequence[Sequence[TrainingPrompt]], layer: int, last: int
) -> tuple[Float[Tensor, "d_mlp fact"], Float[Tensor, "d_model fact"]]:
    """Keys at `layer`, and the stream behind `last`, at the subject; each averaged over a fact's
    prompts.
    """
    flat = [prompt._replace(fact=i) for i, own in enumerate(prompts) for prompt in own]
    points = (f"mlp_act.{layer}", f"resid_post.{last}")
    reads = mean_reads(
        model, flat, len(prompts), dict.fromkeys(points, lambda prompt: prompt.subject)
    )
    return reads[points[0]].T, reads[points[1]].T
