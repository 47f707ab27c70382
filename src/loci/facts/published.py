"""The sets of the literature, read as they are published: a record of each becomes a fact.

    CounterFact  requested_rewrite, paraphrase_prompts, neighborhood_prompts …  Meng et al. 2022
    zsRE         subject, src, rephrase, alt, answers, loc, loc_ans
                 Levy et al. 2017, Mitchell et al. 2022
    RippleEdits  edit and six lists of tests                                    Cohen et al. 2024
    KnowEdit     subject, prompt, target_new, portability, locality             Zhang et al. 2024
    LRE          name, prompt_templates, prompt_templates_zs, samples
                 Hernandez et al. 2024
    MQuAKE       requested_rewrite (a list), questions, new_answer …            Zhong et al. 2023
    known facts  known_id, subject, template, attribute                         Meng et al. 2022
    CKnowEdit    prompt, target_old, target_new, portability, locality          Fang et al. 2024
    ParaRel      relation, prompts, facts                                       Elazar et al. 2021

A set is recognised by its fields, not by its name. What it asks after an edit stays out of
`paraphrases`, which a method may learn from: its rephrasings are `held_out`. Where no old answer is
known (new facts), the fact has the answer that shall be learnt and no new one.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from loci.errors import FactError
from loci.facts.fact import Fact
from loci.facts.published_records import (
    Record,
    cknowedit,
    edited,
    knowedit,
    known,
    ripple,
    wikibio,
    zsre,
)
from loci.validate import brief, one_line

Reader = Callable[[], list[Fact]]
"""Reads one record when it is called."""


class PublishedFormat(NamedTuple):
    """A published form: which fields its records have, and how one becomes a fact."""

    name: str
    fields: tuple[str, ...]
    read: Callable[[Record], Fact | list[Fact]]


FORMATS = (
    PublishedFormat("CounterFact", ("requested_rewrite",), edited),
    PublishedFormat("RippleEdits", ("edit",), ripple),
    PublishedFormat("zsRE", ("subject", "src", "answers"), zsre),
    PublishedFormat("KnowEdit", ("subject", "prompt", "target_new"), knowedit),
    PublishedFormat("KnowEdit", ("concept", "text", "labels"), wikibio),
    PublishedFormat("CKnowEdit", ("prompt", "target_old", "target_new"), cknowedit),
    PublishedFormat("known facts", ("known_id", "subject", "template", "attribute"), known),
    PublishedFormat("Loci", ("subject", "prompt", "answer"), Fact.from_dict),
)


def form_of(record: Record) -> PublishedFormat | None:
    """The form that a record has the fields of."""
    return next((form for form in FORMATS if all(name in record for name in form.fields)), None)


def recognise(document: Any) -> tuple[str, Iterator[Reader]]:
    """The name of a document's format, and its facts, each read when it is asked for. Raises
    `FactError` for what is none of them.
    """
    if isinstance(document, dict) and {"samples", "prompt_templates"} <= document.keys():
        return "LRE", _relation(document)
    if isinstance(document, dict) and {"facts", "prompts"} <= document.keys():
        return "ParaRel", _pararel(document)
    records = [document] if isinstance(document, dict) else document
    if not isinstance(records, list) or not records or not isinstance(records[0], dict):
        raise FactError("expected a list of records, or the object of one relation")
    form = form_of(records[0])
    if form is None:
        forms = "; ".join(f"{form.name}: {', '.join(form.fields)}" for form in FORMATS)
        names = one_line(", ".join(map(str, records[0]))) or "nothing in it"
        raise FactError(
            f"a record with {names} is of no known set ({forms}; LRE: samples; ParaRel: facts)"
        )
    name = "MQuAKE" if isinstance(records[0].get("requested_rewrite"), list) else form.name
    return name, (reader(form._replace(name=name), record) for record in records)


def reader(form: PublishedFormat, record: Any) -> Reader:
    """A function that reads one record when it is called, and raises `FactError` for whatever it
    lacks.
    """

    def read() -> list[Fact]:
        if not isinstance(record, dict):
            raise FactError("not an object")
        try:
            facts = form.read(record)
        except (KeyError, IndexError) as error:
            raise FactError(f"a record of {form.name} without {error}") from None
        except (TypeError, AttributeError, ValueError, RecursionError) as error:
            why = (
                f" ({error})" if isinstance(error, ValueError) else ""
            )  # Python's words on types help nobody
            raise FactError(
                f"a record of {form.name} with something else where text should be{why}"
            ) from None
        return facts if isinstance(facts, list) else [facts]

    return read


def _relation(document: Record) -> Iterator[Reader]:
    """A relation of LRE: its templates once, its samples one by one."""
    templates, samples = document["prompt_templates"], document["samples"]
    zero_shot = document.get("prompt_templates_zs") or []
    if (
        not _templates(templates)
        or not isinstance(samples, list)
        or not (zero_shot == [] or _templates(zero_shot))
    ):
        raise FactError(
            "a relation of LRE needs a list of samples and a list of templates, one at least"
        )
    first, *more = templates
    held_out = tuple(text for text in zero_shot if text not in templates)

    def read(sample: Record) -> Fact:
        return Fact(
            sample["subject"],
            first,
            sample["object"],
            relation=document.get("name"),
            paraphrases=tuple(more),
            held_out=held_out,
        )

    return (reader(PublishedFormat("LRE", (), read), sample) for sample in samples)


def _pararel(document: Record) -> Iterator[Reader]:
    """A relation of ParaRel: its patterns once, its pairs of subject and object one by one."""
    prompts, pairs = document["prompts"], document["facts"]
    if not _templates(prompts) or not isinstance(pairs, list):
        raise FactError(
            "a relation of ParaRel needs a list of facts and a list of prompts, one at least"
        )
    first, *more = prompts

    def read(record: Record) -> Fact:
        pair = record["pair"]
        if not isinstance(pair, list) or len(pair) != 2:
            raise FactError(f"expected a pair of subject and object, found {brief(pair)}")
        return Fact(
            pair[0], first, pair[1], relation=document.get("relation"), paraphrases=tuple(more)
        )

    return (reader(PublishedFormat("ParaRel", (), read), {"pair": pair}) for pair in pairs)


def _templates(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(text, str) for text in value)
