"""Further questions about a fact, which show an edit's consequences and its damage."""

from typing import Any, NamedTuple

from loci.errors import FactError
from loci.facts.cleaning import strip_prompt, stripped
from loci.validate import brief, check_text

FOLLOWS = {
    "alias": "the same, of the subject under another name",
    "reverse": "the other way round: from the answer to the subject",
    "logical": "what else must be so if it is: symmetric and inverse relations, yes or no",
    "two-hop": "one step on from the answer, or one step before the subject",
}
STAYS = {
    "same-subject": "another relation of the subject",
    "kept": "another answer of the same relation, true beside it",
    "same-answer": "another subject, which has the new answer already",
    "unrelated": "something else altogether",
}
OPEN = {"generation": "how a text about the subject begins; there is no right answer"}
KINDS = FOLLOWS | STAYS | OPEN


class Question(NamedTuple):
    """A whole prompt, the answers of which any one is right, and the kind, one of `KINDS`."""

    prompt: str
    answers: tuple[str, ...]
    kind: str

    @property
    def follows(self) -> bool:
        """Whether the answers are right only after the edit."""
        return self.kind in FOLLOWS

    @property
    def stays(self) -> bool:
        """Whether the answers are right before the edit and after it."""
        return self.kind in STAYS

    def check(self) -> None:
        """Raise `FactError` where a part is no text, or the kind none of `KINDS`."""
        for name, value in (
            ("prompt", self.prompt),
            ("kind", self.kind),
            *(("answer", answer) for answer in self.answers),
        ):
            if not isinstance(value, str):
                raise FactError(f"a question's {name}: expected text, found {brief(value)}")
            if not value.strip():
                raise FactError(f"a question's {name} is empty")
            check_text(value, f"a question's {name}", FactError)
        if self.kind not in KINDS:
            raise FactError(
                f"the question {self.prompt!r} is of the kind {self.kind!r}; kinds:"
                f" {', '.join(KINDS)}"
            )

    def to_dict(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "answers": list(self.answers), "kind": self.kind}

    @classmethod
    def from_dict(cls, plain: Any) -> "Question":
        """The way back from `to_dict`. Raises `FactError`."""
        if not isinstance(plain, dict):
            raise FactError(
                f"a question is an object with prompt, answers and kind, not {brief(plain)}"
            )
        prompt, answers, kind = plain.get("prompt"), plain.get("answers") or [], plain.get("kind")
        if not (isinstance(prompt, str) and prompt.strip()):
            raise FactError("a question has no prompt")
        if not isinstance(answers, (list, tuple)) or not all(
            isinstance(answer, str) for answer in answers
        ):
            raise FactError(f"the question {prompt!r} has answers that are no text")
        if not isinstance(kind, str) or kind not in KINDS:
            raise FactError(
                f"the question {prompt!r} is of the kind {brief(kind)}; kinds: {', '.join(KINDS)}"
            )
        return cls(strip_prompt(prompt), stripped(tuple(answers), prompts=False), kind)
