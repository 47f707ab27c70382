"""Discovery: which facts of a file a model knows, and in which words it says them.

    known    in one of its phrasings at least, the greedy continuation begins with the answer or an
             alias at a word boundary (exact-prefix match, `loci.facts.matching`)

What comes out is a set of facts like any other: the phrasing that worked is each fact's prompt,
further ones that worked are its paraphrases, and its answer is spelt as the model spells it.
Facts are asked before anything is measured on them: what a model does not know cannot be traced,
and editing it teaches nothing about editing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch

from loci.errors import FactError
from loci.facts import Fact
from loci.facts.fact import BLANK
from loci.facts.matching import matches, may_match, spelling
from loci.facts.published_records import blanked
from loci.facts.spans import occurrences
from loci.model.answers import SPARE
from loci.model.frames import Frame
from loci.model.generation import Enough, generate
from loci.model.given import facts_given, model_given
from loci.model.model import Model
from loci.model.tokenised import by_length
from loci.model.unembedding import last_streams, unembedded
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Column, Table


class KnownShare(NamedTuple):
    """How many facts were asked for, and how many are known."""

    asked: int
    known: int


@dataclass(frozen=True)
class Discovery(Result):
    """The facts of a file that a model knows, and the share known of each relation."""

    about: ClassVar[About] = About(
        "facts a model knows",
        "Which facts of a file does the model know, by free generation in one phrasing at least?",
        "Dots are shares with 95 % intervals, the best known relation first.",
        "scorecard.discovery_figure",
    )

    model: str
    asked: int
    """Facts."""
    known: int
    """Of them known in one phrasing at least."""
    shots: int
    chat: bool
    seed: int
    by_relation: dict[str, KnownShare]
    prompts: int
    """Prompts asked: a fact has several."""
    by_phrasing: dict[str, KnownShare]
    """The same of every template, over the facts that were asked in it."""
    facts: tuple[Fact, ...]
    """The known ones, without shots and chat; their prompts are phrasings that worked."""
    dtype: str = "float32"

    def summary(self) -> tuple[str, ...]:
        shots = f" behind {self.shots} shots" if self.shots else ""
        chat = " in its chat template" if self.chat else ""
        known = f"{self.model} knows {self.known:,} of {self.asked:,} facts"
        return (f"{known}{shots}{chat}, by {self.prompts:,} prompts",)

    def tables(self) -> tuple[Table, ...]:
        shares = {name: own.known / own.asked for name, own in self.by_relation.items()}
        ordered = sorted(self.by_relation.items(), key=lambda item: -shares[item[0]])
        columns = Column("relation"), Column("known"), Column("asked"), Column("share", ".0%")
        rows = [(name or "(none)", own.known, own.asked, shares[name]) for name, own in ordered]
        return (Table("By relation, the best known first", columns, tuple(rows)),)

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.discovery/1",
            "model": self.model,
            "asked": self.asked,
            "known": self.known,
            "shots": self.shots,
            "chat": self.chat,
            "seed": self.seed,
            "by_relation": {name: share._asdict() for name, share in self.by_relation.items()},
            "prompts": self.prompts,
            "by_phrasing": {name: share._asdict() for name, share in self.by_phrasing.items()},
            "facts": [fact.to_dict() for fact in self.facts],
            "match": "prefix",
            "dtype": self.dtype,
        }


def discover(
    model: Model,
    facts: Fact | Iterable[Fact],
    *,
    shots: int = 0,
    chat: bool = False,
    phrasings: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Discovery:
    """Which of these facts the model knows: does its greedy continuation begin with the answer?

        loci.save_facts(loci.discover(model, loci.load_facts("relations/")).facts, "known.jsonl")

    Args:
        model: an open model; it is left as it was.
        facts: one fact or several.
        shots: so many other facts of the relation stand before every prompt.
        chat: prompts stand in the model's chat template.
        phrasings: of each fact the prompt and so many more are asked, less one; all where left out.
        seed: of the draw of the shots.
        progress: called with (prompts done, prompts in all); a prompt whose first token may begin
            the answer is done once it is gone on with.

    Returns: `Discovery`, with the known facts.
    Raises: `FactError` for no facts, and for shots of a relation that has too few; `ModelError` for
        a chat with a model that has no chat template.
    Cost: one run a prompt, with the unembedding of its last position alone; where the first token
        may begin the answer, a short generation.
    """
    model_given(model)
    given = facts_given(facts)
    if not given:
        raise FactError("there are no facts to ask for")
    bare = [_templates(fact)[:phrasings] for fact in given]
    phrased = [
        replace(fact, paraphrases=texts[1:], held_out=(), neighbours=(), questions=())
        for fact, texts in zip(given, bare, strict=True)
    ]
    inside = Frame(shots, chat, seed).facts(model, phrased)
    framed = [(fact.prompt, *fact.paraphrases) for fact in inside]
    asked = [(i, fact.fill(text)) for i, fact in enumerate(given) for text in framed[i]]
    spellings = iter(
        _said(
            model, [(prompt, (given[i].answer, *given[i].aliases)) for i, prompt in asked], progress
        )
    )
    spelt = [[next(spellings) for _ in texts] for texts in framed]
    hits = [[reply is not None for reply in own] for own in spelt]
    by_relation: dict[str, list[bool]] = {}
    by_phrasing: dict[str, list[bool]] = {}
    for fact, texts, own in zip(given, bare, hits, strict=True):
        by_relation.setdefault(fact.relation or "", []).append(any(own))
        for text, hit in zip(texts, own, strict=True):
            by_phrasing.setdefault(text, []).append(hit)
    known = [
        _as_said(fact, right)
        for fact, texts, own in zip(given, bare, spelt, strict=True)
        if (
            right := {
                text: reply for text, reply in zip(texts, own, strict=True) if reply is not None
            }
        )
    ]
    return Discovery(
        model=model.name,
        asked=len(given),
        known=len(known),
        shots=shots,
        chat=chat,
        seed=seed,
        by_relation=_shares(by_relation),
        prompts=len(asked),
        by_phrasing=_shares(by_phrasing),
        facts=tuple(known),
        dtype=model.dtype_name,
    )


def _templates(fact: Fact) -> tuple[str, ...]:
    """All phrasings in order, as templates, without prompts that do not name the subject."""
    texts = [fact.prompt]
    for text in (*fact.paraphrases, *fact.held_out):
        if text.count(BLANK) == 1 or occurrences(text, fact.subject):
            texts.append(blanked(text, fact.subject))
    return tuple(dict.fromkeys(texts))


def _as_said(fact: Fact, right: Mapping[str, str]) -> Fact:
    """A known fact in the phrasings that worked, its answer as the model spells it in the first."""
    first, *more = right
    aliases = tuple(
        dict.fromkeys(name for name in (fact.answer, *fact.aliases) if name != right[first])
    )
    return replace(
        fact,
        prompt=first,
        paraphrases=tuple(more),
        held_out=(),
        answer=right[first],
        aliases=aliases,
    )


def _shares(hits: Mapping[str, Sequence[bool]]) -> dict[str, KnownShare]:
    return {name: KnownShare(len(own), sum(own)) for name, own in hits.items()}


@torch.no_grad()
def _said(
    model: Model, asked: Sequence[tuple[str, Sequence[str]]], progress: Progress
) -> list[str | None]:
    """How each prompt's greedy continuation spells one of the answers behind it; None for none."""
    answers: dict[str, list[str]] = {}
    for prompt, own in asked:
        answers.setdefault(prompt, []).extend(own)
    prompts = list(answers)
    tokens = model.tokenize_all(prompts, model.n_ctx)
    firsts: dict[str, int] = {}
    texts: dict[int, str] = {}
    open_: list[int] = []
    for batch in by_length(tokens, len, model.tokens_at_once):
        streams = last_streams(model, model.ids([tokens[i].ids for i in batch]))[:, -1]
        best = [
            int(token) for _, logits in unembedded(model, streams) for token in logits.argmax(-1)
        ]
        firsts |= {prompts[i]: token for i, token in zip(batch, best, strict=True)}
        texts |= {token: model.token_text(token) for token in best if token not in texts}
        begun = [
            i
            for i in batch
            if any(may_match(texts[firsts[prompts[i]]], answer) for answer in answers[prompts[i]])
        ]
        open_ += begun
        progress(len(batch) - len(begun), len(prompts))
    open_.sort()
    says: dict[str, str] = {}
    need = {
        i: (
            max(
                len(model.tokenizer(answer, add_special_tokens=False)["input_ids"])
                for answer in answers[prompts[i]]
            )
            + SPARE
        )
        for i in open_
    }
    for batch in by_length(
        [tokens[i] for i in open_], len, model.tokens_at_once, model.rows_at_once
    ):
        rows = [open_[i] for i in batch]
        ids = model.ids([tokens[i].ids for i in rows])
        enough = _decided(model, [answers[prompts[i]] for i in rows])
        made = generate(model, ids, max(need[i] for i in rows), enough=enough)
        says |= {prompts[i]: model.decode(ids) for i, ids in zip(rows, made, strict=True)}
        progress(len(rows), len(prompts))
    spelt = ((spelling(says.get(prompt, ""), answer) for answer in own) for prompt, own in asked)
    return [next((text for text in own if text is not None), None) for own in spelt]


def _decided(model: Model, answers: Sequence[Sequence[str]]) -> Enough:
    """A test that ends a generation: an answer has come and the next word has begun, or no answer
    can come any more.
    """

    def enough(row: int, ids: list[int]) -> bool:
        before, text = model.decode(ids[:-1]), model.decode(ids)
        given = any(matches(before, answer) and matches(text, answer) for answer in answers[row])
        return given or not any(may_match(text, answer) for answer in answers[row])

    return enough
