"""Conversion of a caller's arguments into what a verb takes; others are refused with the way to do
it.

    trace(model, "Michael Jordan plays the sport of")
        a prompt: the subject is found among the known ones, the answer is the model's
    edit(model, fact.to("baseball"))                   one fact where several may be given

A wrong type raises `UseError`, which is a `LociError` and a `TypeError`.
"""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from loci.deprecated import renamed_arguments
from loci.errors import FactError, UseError
from loci.facts import Fact, FactSet, known_facts
from loci.facts.fact import BLANK, FIRST_WORD
from loci.model.answer_rule import answer_of
from loci.model.model import Model
from loci.validate import brief


def model_given(value: Any) -> Model:
    """A model, or the advice to open one."""
    if isinstance(value, Model):
        return value
    if isinstance(value, (str, os.PathLike)):
        raise UseError(
            f"the first argument is a model, not its name: loci.open({str(value)!r}) gives one"
        )
    raise UseError(f"the first argument is a model as loci.open gives it, not {_named(value)}")


def fact_given(model: Any, value: Fact | str) -> Fact:
    """A fact, or the fact that a prompt asks for."""
    opened = model_given(model)
    if isinstance(value, Fact):
        return value
    if isinstance(value, str):
        return fact_from(opened, value)
    raise UseError(
        f"expected a prompt or a loci.Fact(subject, prompt, answer), not {_named(value)}"
        + "; this verb takes one fact at a time" * isinstance(value, Sequence)
    )


def facts_given(value: Fact | Iterable[Fact]) -> FactSet:
    """A set of facts from one fact or from several."""
    if isinstance(value, FactSet):
        return value
    if isinstance(value, Fact):
        return FactSet([value])
    if isinstance(value, (str, os.PathLike)):
        raise UseError(
            f"expected loci.Fact or several, not {str(value)!r}: loci.load_facts reads a file of"
            " them"
        )
    if not isinstance(value, Iterable):
        raise UseError(f"expected loci.Fact or several, not {_named(value)}")
    several = list(value)
    wrong = next((item for item in several if not isinstance(item, Fact)), None)
    if wrong is not None:
        raise UseError(f"expected loci.Fact(subject, prompt, answer), not {_named(wrong)}")
    return FactSet(several)


def texts_given(value: str | Iterable[str]) -> list[str]:
    """Texts from one text or several."""
    texts = (
        [value]
        if isinstance(value, str)
        else list(value)
        if isinstance(value, Iterable)
        else [value]
    )
    wrong = next((item for item in texts if not isinstance(item, str)), None)
    if wrong is not None:
        raise UseError(f"expected texts, not {_named(wrong)}")
    return texts


@renamed_arguments(how="hint")
def fact_from(
    model: Model,
    text: str,
    subject: str | None = None,
    occurrence: int | None = None,
    answer: str | None = None,
    *,
    hint: str = "give loci.Fact(subject, prompt, answer)",
) -> Fact:
    """The fact that a prompt asks for, with `answer`, or else with the model's own.

    Without a subject it is the only known one that stands in the prompt; `{}` says where it stands.
    Raises `FactError`, and gives the `hint`, where there is none.
    """
    known = known_facts()
    if not text.strip():
        raise FactError("the prompt is empty")
    if subject is None and BLANK in text:
        raise FactError(
            f"whom is {brief(text, 200)} about? {{}} stands for a subject that is not said: {hint}"
        )
    if subject is None:
        subjects = known.subjects_in(text)
        if len(subjects) != 1:
            what = (
                f"several known subjects stand in it ({', '.join(subjects)})"
                if subjects
                else "no known subject stands in it"
            )
            raise FactError(f"whom is {brief(text, 200)} about? {what}: {hint}")
        subject = subjects[0]
    fact = Fact.from_text(text, subject, "?", occurrence)
    if answer is not None:
        return Fact(fact.subject, fact.prompt, answer)
    return Fact(fact.subject, fact.prompt, answer_of(model, fact.text), answer_rule=FIRST_WORD)


def _named(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r}"[:80]
