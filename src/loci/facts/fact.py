"""A fact is a subject, a prompt with a blank for it, and the answer that follows:

Fact("Michael Jordan", "{} plays the sport of", "basketball")
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from loci.errors import FactError
from loci.facts.cleaning import strip_prompt, stripped
from loci.facts.question import Question
from loci.facts.spans import find_span
from loci.validate import brief, check_text

BLANK = "{}"
REQUIRED = ("subject", "prompt", "answer")
UNSAID = "?"
"""The answer of a fact that was given with its new answer alone: what the model says, whatever that
is.
"""
GIVEN, FIRST_WORD = "given", "first word"
"""How a fact's answer was found: said by somebody, or the first word of what the model says
(`loci.model.answer_rule`).
"""
SINGLE = (*REQUIRED, "new_answer", "relation")
LISTS = ("paraphrases", "neighbours", "held_out", "aliases", "new_aliases")


@dataclass(frozen=True)
class Fact:
    """One fact. `prompt` has one `{}` for the subject; the answer follows it, as the model joins
    them.

    `new_answer` is what an edit shall make of it. `paraphrases` are further templates (with `{}`)
    or whole prompts that ask the same, `held_out` such prompts that the model never saw in
    training, `neighbours` whole prompts about other subjects whose answers an edit must leave
    alone. `aliases` are other words for `answer`, `new_aliases` for `new_answer`; `questions` are
    what else to ask once the edit is made. White space at the ends of every part is taken off, as
    one space joins prompt and answer; but a prompt may begin or end with a line break, which a chat
    template means. Raises `FactError` where a part is missing.
    """

    subject: str
    prompt: str
    answer: str
    new_answer: str | None = None
    relation: str | None = None
    paraphrases: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    new_aliases: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    answer_rule: str = field(default=GIVEN, compare=False, repr=False)
    """`GIVEN`, or `FIRST_WORD` where the answer is the model's own; it belongs to the asking, not
    to the fact, and no file keeps it.
    """

    def __post_init__(self) -> None:
        self._check_types()
        for name, value in self._stripped().items():
            object.__setattr__(self, name, value)
        for name in REQUIRED:
            if not getattr(self, name).strip():
                raise FactError(
                    f"a fact needs a subject, a prompt and an answer: the {name} is empty (subject"
                    f" {self.subject!r}, prompt {self.prompt!r})"
                )
        if self.new_answer is not None and not self.new_answer.strip():
            raise FactError(f"the new answer of {self.text!r} is empty")
        if self.prompt.count(BLANK) != 1:
            raise FactError(
                f"the prompt {self.prompt!r} needs exactly one {{}} where the subject stands"
            )

    def _check_types(self) -> None:
        """Every text is text, and whole: no number, no null, no half a character."""
        for name in SINGLE:
            value = getattr(self, name)
            if not isinstance(value, str) and (name in REQUIRED or value is not None):
                raise FactError(f"{name}: expected text, found {brief(value)}")
            check_text(value or "", name, FactError)
        for name in LISTS:
            value = getattr(self, name)
            if not isinstance(value, (tuple, list)):
                raise FactError(f"{name}: expected a list of texts, found {brief(value)}")
            for item in value:
                if not isinstance(item, str):
                    raise FactError(f"{name}: expected text, found {brief(item)}")
                if not item.strip():
                    raise FactError(f"{name}: an empty text among them")
                check_text(item, name, FactError)
        for question in self.questions:
            question.check()

    @classmethod
    def from_text(
        cls, text: str, subject: str, answer: str, occurrence: int | None = None
    ) -> "Fact":
        """A fact from a whole prompt: the place of the subject in `text` becomes the blank; a blank
        in it says where that is.

        Raises `FactError` where the subject stands nowhere in it, or more than once and neither a
        blank nor `occurrence` says which.
        """
        check_text(text, "the prompt", FactError)
        check_text(subject, "the subject", FactError)
        text, subject = strip_prompt(text), subject.strip()
        if not text.strip():
            raise FactError("the prompt is empty")
        if BLANK in text and BLANK not in subject:
            return cls(subject, text, answer)
        start, end = find_span(text, subject, occurrence)
        return cls(text[start:end], f"{text[:start]}{BLANK}{text[end:]}", answer)

    def _stripped(self) -> dict[str, Any]:
        """The parts without white space at their ends."""
        parts: dict[str, Any] = {"prompt": strip_prompt(self.prompt)}
        for name in ("subject", "answer", "new_answer", "relation"):
            value: str | None = getattr(self, name)
            parts[name] = value.strip() if value is not None else None
        for name in LISTS:
            parts[name] = stripped(tuple(getattr(self, name)), prompts=not name.endswith("aliases"))
        return parts

    @property
    def text(self) -> str:
        """The prompt with the subject in its place."""
        return self.fill(self.prompt)

    @property
    def subject_span(self) -> tuple[int, int]:
        """Characters [start, end) of the subject in `text`; no search, the blank says where."""
        start = self.prompt.index(BLANK)
        return start, start + len(self.subject)

    def fill(self, template: str) -> str:
        return template.replace(BLANK, self.subject, 1)

    def to(self, new_answer: str) -> "Fact":
        """The same fact with another answer wished for."""
        return replace(self, new_answer=new_answer, new_aliases=())

    def asked(self) -> list[str]:
        """All other prompts that ask for the same answer: paraphrases, then those held out of
        training.
        """
        return [self.fill(template) for template in (*self.paraphrases, *self.held_out)]

    def to_dict(self) -> dict[str, Any]:
        """Plain fields, without the empty ones."""
        plain: dict[str, Any] = {
            field.name: getattr(self, field.name) for field in fields(self) if field.compare
        }
        plain |= {name: list(plain[name]) for name in LISTS}
        plain["questions"] = [question.to_dict() for question in self.questions]
        return {name: value for name, value in plain.items() if value}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Fact":
        """The way back from `to_dict`; what it does not know is left out. Raises `FactError` where
        a field holds something else.
        """
        wrong = [name for name in SINGLE if not isinstance(plain.get(name) or "", str)]
        wrong += [name for name in LISTS if not _texts(plain.get(name) or [])]
        if wrong:
            raise FactError(f"{', '.join(wrong)}: expected text")
        asked = plain.get("questions") or []
        if not isinstance(asked, (list, tuple)):
            raise FactError("questions: expected a list")
        values: dict[str, Any] = {name: plain.get(name) or "" for name in REQUIRED}
        values |= {name: plain.get(name) or None for name in ("new_answer", "relation")}
        if not values["answer"] and values["new_answer"]:
            values["answer"] = UNSAID
        values |= {
            name: tuple(item for item in plain.get(name) or () if item.strip()) for name in LISTS
        }
        return cls(**values, questions=tuple(map(Question.from_dict, asked)))


def _texts(value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
