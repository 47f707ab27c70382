"""What else to ask about a fact: the questions by which an edit's consequences and its damage are seen."""

from typing import Any, NamedTuple

from loci.errors import FactError

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

    def to_dict(self) -> dict[str, Any]:
        return {"prompt": self.prompt, "answers": list(self.answers), "kind": self.kind}

    @classmethod
    def from_dict(cls, plain: Any) -> "Question":
        """The way back from `to_dict`. Raises `FactError`."""
        if not isinstance(plain, dict):
            raise FactError(f"a question is an object with prompt, answers and kind, not {plain!r}")
        prompt, answers, kind = plain.get("prompt"), plain.get("answers") or [], plain.get("kind")
        if not (isinstance(prompt, str) and prompt.strip()):
            raise FactError("a question has no prompt")
        if not isinstance(answers, (list, tuple)) or not all(isinstance(answer, str) for answer in answers):
            raise FactError(f"the question {prompt!r} has answers that are no text")
        if kind not in KINDS:
            raise FactError(f"the question {prompt!r} is of the kind {kind!r}; kinds: {', '.join(KINDS)}")
        return cls(prompt, tuple(answers), kind)
