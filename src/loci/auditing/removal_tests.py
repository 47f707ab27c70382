"""The questions that bring a removed answer back if it is still there, and what the inside shows.

Every question is asked three times: of the base, of the edited model, and of the edited model
about strangers, other subjects of the relation whose answer is another one. Of the first only
questions count to which the base gives the old answer; the strangers show how often that answer
comes to subjects that never had it.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, FactSet
from loci.facts.fact import BLANK
from loci.locating.probing import readout, subjects_of
from loci.model import Frame, Model, at_subjects, by_length, own_answers, score_answers
from loci.model.joins import with_answers
from loci.text import held_out_sentences

KINDS = ("asked", "paraphrase", "behind_text", "few_shot", "alias", "two_hop")
MOST = 150
"""Other subjects of a relation that a probe is trained on."""


class OldAnswerQuestion(NamedTuple):
    """A prompt that brings the old answer, if it is still there."""

    fact: int
    prompt: str
    answers: tuple[str, ...]
    stranger: bool = False


Questions = dict[str, list[OldAnswerQuestion]]


def old_answers(fact: Fact) -> tuple[str, ...]:
    """The old answer and its aliases."""
    return (fact.answer, *fact.aliases)


def questions(
    model: Model, facts: Sequence[Fact], world: FactSet, *, shots: int, strangers: int, seed: int
) -> tuple[Questions, dict[str, str]]:
    """What to ask, by kind, with strangers; and why a kind has nothing to ask.

    Cost: the base's own answers to questions of two hops.
    """
    found: Questions = {kind: [] for kind in KINDS}
    left_out = {
        "alias": "no question under another name stands in the facts",
        "two_hop": "no question of two hops stands in the facts",
        "paraphrase": "no paraphrases stand in the facts",
    }
    texts = held_out_sentences(model, 8)
    for i, fact in enumerate(facts):
        other = [one.subject for one in strangers_of(fact, world, strangers, seed)]
        templates: dict[str, tuple[str, ...]] = {
            "asked": (fact.prompt,),
            "paraphrase": (*fact.paraphrases, *fact.held_out),
            "behind_text": tuple(f"{text} {fact.prompt}" for text in texts[:2]),
        }
        if shots:
            try:
                (framed,) = Frame(shots, seed=seed).facts(model, [fact], _others(fact, world))
                templates["few_shot"] = (framed.prompt,)
            except FactError as error:
                left_out["few_shot"] = str(error)
        for kind, own in templates.items():
            for template in own:
                filled = [fact.fill(template)]
                filled += [template.replace(BLANK, s, 1) for s in other if BLANK in template]
                found[kind] += [
                    OldAnswerQuestion(i, text, old_answers(fact), place > 0)
                    for place, text in enumerate(filled)
                ]
        found["alias"] += [
            OldAnswerQuestion(i, q.prompt, old_answers(fact))
            for q in fact.questions
            if q.kind == "alias"
        ]
        found["two_hop"] += _two_hops(model, i, fact)
    return found, {kind: why for kind, why in left_out.items() if not found[kind]}


def _two_hops(model: Model, i: int, fact: Fact) -> list[OldAnswerQuestion]:
    """Questions one step on, with what the base says to them, where that is not right after the
    edit.
    """
    asked = [q for q in fact.questions if q.kind == "two-hop"]
    said = own_answers(model, [q.prompt for q in asked]) if asked else []
    return [
        OldAnswerQuestion(i, q.prompt, (own.text,))
        for q, own in zip(asked, said, strict=True)
        if own.text and own.text not in q.answers
    ]


def strangers_of(fact: Fact, world: FactSet, count: int, seed: int) -> list[Fact]:
    """Some other subjects of the relation whose answer is not the old one, nor the new one."""
    return list(_others(fact, world).neighbours(fact, count, seed))


def _others(fact: Fact, world: FactSet) -> FactSet:
    """All of them; what stands before a prompt is of these too, as an answer may be copied."""
    said = {*old_answers(fact), fact.new_answer}
    own = world.relations.get(fact.relation, ()) if fact.relation else ()
    return FactSet(one for one in own if one.answer not in said)


def said(model: Model, asked: Sequence[OldAnswerQuestion]) -> list[bool]:
    """Whether the model as it is now gives one of the old answers to each question.

    Cost: a forward pass for each prompt and answer, in batches.
    """
    pairs = list(dict.fromkeys((q.prompt, answer) for q in asked for answer in q.answers))
    hits = dict(zip(pairs, (score.said for score in score_answers(model, pairs)), strict=True))
    return [any(hits[q.prompt, answer] for answer in q.answers) for q in asked]


@torch.no_grad()
def lens_hits(model: Model, asked: Sequence[OldAnswerQuestion]) -> Float[Tensor, "question layer"]:
    """1 where the old answer's first token is the likeliest word of the stream after a layer, at
    the prompt's last token.

    Cost: one forward pass, and an unembedding of every layer.
    """
    pairs = [(q.prompt, q.answers[0]) for q in asked]
    rows = with_answers(model, pairs) if pairs else []
    points, hits = model.names("resid_post"), torch.zeros(len(asked), model.n_layers)
    prompts = [list(row.tokens.ids[: row.answer[0]]) for row in rows]
    wanted = torch.tensor([row.tokens.ids[row.answer[0]] for row in rows])
    for batch in by_length(prompts, len, model.tokens_at_once, model.rows_at_once):
        reads = model.read(model.ids([prompts[i] for i in batch]), *points)
        for layer, point in enumerate(points):
            best = model.unembed(reads[point][:, -1]).argmax(-1).cpu()
            hits[batch, layer] = (best == wanted[batch]).float()
    return hits


class ProbeReading(NamedTuple):
    """What probes of other subjects read at the edited ones."""

    hits: dict[int, bool]
    """Whether the old answer is read, by the fact's number."""
    strangers: list[bool]
    """The same of held-out others whose answer is another one."""


@torch.no_grad()
def probed(model: Model, facts: Sequence[Fact], world: FactSet, seed: int) -> ProbeReading:
    """A linear probe for each relation, trained on four fifths of the other subjects at the layer
    where it reads the last fifth best, and asked at the edited subjects.

    Relations with too few subjects or answers have none. Cost: one forward pass over at most 150
    prompts a relation, a small solve a layer.
    """
    hits, strangers = dict[int, bool](), list[bool]()
    edited = {fact.subject for fact in facts}
    for relation in dict.fromkeys(fact.relation for fact in facts):
        own = [i for i, fact in enumerate(facts) if fact.relation == relation]
        pool = [one for one in world.relations.get(relation, ()) if one.subject not in edited]
        try:
            task = subjects_of(FactSet(pool).sample(MOST, seed) if relation else [], 5, seed)
        except FactError:
            continue
        asked = [i for i in own if facts[i].answer in task.answers]
        if not asked:
            continue
        states = _states(model, [*task.facts, *(facts[i] for i in asked)])
        read, held = _best_probe(states, task.labels, task.parts[0], len(task.answers))
        answers = [task.answers[label] for label in read.tolist()]
        hits |= {i: answers[place] == facts[i].answer for place, i in enumerate(asked)}
        old = {facts[i].answer for i in asked}
        strangers += [
            task.answers[label] in old
            for label, at in zip(held.tolist(), task.parts[0].tolist(), strict=True)
            if task.facts[at].answer not in old
        ]
    return ProbeReading(hits, strangers)


def _states(model: Model, facts: Sequence[Fact]) -> Mapping[str, Tensor]:
    return at_subjects(model, facts, *model.names("resid_post"))


def _best_probe(
    states: Mapping[str, Tensor], labels: Tensor, held: Tensor, classes: int
) -> tuple[Tensor, Tensor]:
    """What the best layer's probe reads behind the labelled subjects, and at those held out."""
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[held] = False
    best: tuple[float, Tensor] | None = None
    for rows in states.values():
        X = rows.double()
        W, b = readout(X[: len(labels)][kept], labels[kept], classes)
        read = (X @ W + b).argmax(1)
        right = float((read[held] == labels[held]).double().mean())
        if best is None or right > best[0]:
            best = right, read
    assert best is not None
    return best[1][len(labels) :], best[1][held]
