"""The records of the sets of the literature, each as the facts that it states."""

from typing import Any

from loci.errors import FactError
from loci.facts.fact import BLANK, Fact
from loci.facts.question import Question
from loci.facts.ripple import subject_of
from loci.facts.spans import find_span, occurrences
from loci.validate import brief

Record = dict[str, Any]


def counterfact(record: Record) -> Fact:
    asked = record["requested_rewrite"]
    new = asked["target_new"]["str"]
    questions = [
        Question(prompt, (new,), "same-answer")
        for prompt in _listed(record.get("attribute_prompts"))
    ]
    questions += [
        Question(prompt, (), "generation") for prompt in _listed(record.get("generation_prompts"))
    ]
    return _changed(
        asked["subject"],
        asked["prompt"],
        asked["target_true"]["str"],
        new,
        relation=asked.get("relation_id"),
        held_out=_listed(record.get("paraphrase_prompts")),
        neighbours=tuple(
            n["prompt"] if isinstance(n, dict) else n
            for n in record.get("neighborhood_prompts") or ()
        ),
        questions=tuple(questions),
    )


def zsre(record: Record) -> Fact:
    """The true answer is the old one and `alt` the new, so that there is something to change; ROME
    teaches the true answer instead.
    """
    answers, ported = _listed(record["answers"]), record.get("portability") or {}
    return _changed(
        record["subject"],
        blanked(record["src"], record["subject"]),
        answers[0],
        record.get("alt"),
        held_out=_listed(record.get("rephrase")),
        neighbours=tuple(f"{text}?" for text in _listed(record.get("loc"))),
        aliases=answers[1:],
        questions=(
            (Question(ported["New Question"], (ported["New Answer"],), "two-hop"),)
            if ported
            else ()
        ),
    )


RIPPLES = {
    "Logical_Generalization": "logical",
    "Compositionality_I": "two-hop",
    "Compositionality_II": "two-hop",
    "Subject_Aliasing": "alias",
    "Relation_Specificity": "same-subject",
    "Relation_Specifity": "same-subject",
    "Forgetfulness": "kept",
}


def ripple(record: Record) -> Fact:
    """Each test's queries become questions. Any of its answers counts here (there: one of each
    target); its conditions are left out, since an audit asks the base itself."""
    edit = record["edit"]
    before = edit.get("original_fact") or edit.get("previous_fact")
    sentences = [source["prompt"] for source in (edit, before) if source]
    subject, template, answers = subject_of(edit["relation"], sentences)
    queries = [
        (kind, q)
        for name, kind in RIPPLES.items()
        for test in record.get(name, ())
        for q in test["test_queries"]
    ]
    named = [
        q["answers"]
        for kind, q in queries
        if kind == "alias" and q.get("target_ids") == [edit.get("target_id")]
    ]
    others = tuple(a for a in _answers(named[0]) if a != answers[0]) if named else ()
    relation, questions = (
        edit["relation"],
        tuple(Question(q["prompt"], _answers(q["answers"]), kind) for kind, q in queries),
    )
    if len(answers) == 1:
        return Fact(
            subject, template, answers[0], relation=relation, aliases=others, questions=questions
        )
    return _changed(
        subject,
        template,
        answers[1],
        answers[0],
        relation=relation,
        new_aliases=others,
        questions=questions,
    )


KNOWEDIT = {
    "Subject_Aliasing": "alias",
    "Logical_Generalization": "logical",
    "Reasoning": "two-hop",
} | {
    "Relation_Specificity": "same-subject",
    "Forgetfulness": "kept",
}


def knowedit(record: Record) -> Fact:
    subject, new = record["subject"], _flat(record["target_new"])[0]
    old = _flat(record.get("ground_truth") or ())
    asked = {**(record.get("portability") or {}), **(record.get("locality") or {})}
    questions = tuple(
        Question(q["prompt"], _flat(q["ground_truth"]), KNOWEDIT[name])
        for name, items in asked.items()
        for q in items or ()
    )
    template, held_out = (
        blanked(record["prompt"], subject),
        _listed(record.get("rephrase_prompt") or record.get("rephrase")),
    )
    if not old:
        return Fact(subject, template, new, held_out=held_out, questions=questions)
    return _changed(
        subject, template, old[0], new, aliases=old[1:], held_out=held_out, questions=questions
    )


def wikibio(record: Record) -> Fact:
    """KnowEdit's form for sentences of a biography."""
    return knowedit(
        {
            **record,
            "subject": record["concept"],
            "prompt": record["text"],
            "target_new": record["labels"],
        }
    )


def mquake(record: Record) -> list[Fact]:
    """One record changes several facts; its questions of several hops follow from all of them, and
    are asked with the first.
    """
    asked = Question(
        "", _listed(record.get("new_answer")) + _listed(record.get("new_answer_alias")), "two-hop"
    )
    questions = tuple(asked._replace(prompt=prompt) for prompt in _listed(record.get("questions")))
    hops = {
        hop["answer"]: _listed(hop.get("answer_alias"))
        for name in ("single_hops", "new_single_hops")
        for hop in record.get(name) or ()
    }
    facts: list[Fact] = []
    for rewrite in record["requested_rewrite"]:
        old, new = rewrite["target_true"]["str"], rewrite["target_new"]["str"]
        fact = _changed(
            rewrite["subject"],
            rewrite["prompt"],
            old,
            new,
            relation=rewrite.get("relation_id"),
            held_out=_listed(rewrite.get("question")),
            aliases=hops.get(old, ()),
            new_aliases=hops.get(new, ()),
            questions=() if facts or not asked.answers else questions,
        )
        facts.append(fact)
    return facts


def edited(record: Record) -> Fact | list[Fact]:
    """CounterFact and MQuAKE have a field of one name: one edit there, a list of them here."""
    return mquake(record) if isinstance(record["requested_rewrite"], list) else counterfact(record)


def known(record: Record) -> Fact:
    """A fact that GPT-2 XL was found to know: `prediction` is what it went on to write, `attribute`
    the answer in it.
    """
    return Fact(
        record["subject"],
        blanked(record["template"], record["subject"]),
        record["attribute"],
        relation=record.get("relation_id"),
    )


def cknowedit(record: Record) -> Fact:
    """Chinese questions without a subject: the whole question stands for it, as its authors take
    it.
    """
    subject = record.get("subject") or record["prompt"]
    asked = [("logical", record.get("portability")), ("unrelated", record.get("locality"))]
    questions = tuple(
        Question(q["prompt"], _flat(q["answer"]), kind)
        for kind, items in asked
        for q in items or ()
        if q.get("answer")
    )
    template, held_out, old = (
        blanked(record["prompt"], subject),
        _listed(record.get("rephrase")),
        record.get("target_old"),
    )
    if not old:
        return Fact(subject, template, record["target_new"], held_out=held_out, questions=questions)
    return _changed(
        subject, template, old, record["target_new"], held_out=held_out, questions=questions
    )


def blanked(prompt: str, subject: str) -> str:
    """The prompt with a blank where the subject stands last: as whole words, in other capitals if
    need be. Raises `FactError`.
    """
    if prompt.count(BLANK) == 1:
        return prompt
    small = prompt.lower()
    spans = occurrences(prompt, subject) or (
        occurrences(small, subject.lower()) if len(small) == len(prompt) else []
    )
    start, end = spans[-1] if spans else find_span(prompt, subject)
    return f"{prompt[:start]}{BLANK}{prompt[end:]}"


def _changed(subject: str, prompt: str, answer: str, new: str | None, **more: Any) -> Fact:
    """A fact with its new answer, or without one where that is empty or the old one again."""
    return Fact(subject, prompt, answer, None if not new or new == answer else new, **more)


def _answers(answers: list[Record]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            text
            for answer in answers
            for text in (answer["value"], *answer.get("aliases", ()))
            if text
        )
    )


def _listed(value: Any) -> tuple[str, ...]:
    """The texts of a text, or of a list of them; none of None."""
    if value is not None and not isinstance(value, (str, list, tuple)):
        raise FactError(f"expected text or a list of texts, found {brief(value)}")
    texts = (value,) if isinstance(value, str) else tuple(value or ())
    return tuple(text for text in texts if not isinstance(text, str) or text.strip())


def _flat(value: Any) -> tuple[str, ...]:
    """The texts of a text, a list of texts, or a list of lists of them."""
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return tuple(dict.fromkeys(text for item in value for text in _flat(item)))
