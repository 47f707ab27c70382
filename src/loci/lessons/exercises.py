"""Exercises: a question, an answer that the reader writes, a check that runs, a hidden solution."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

UNANSWERED = "Not answered yet: in a copy of the lesson, write your answer in place of None."


@dataclass(frozen=True)
class Exercise:
    """One question and how the reader's answer fares."""

    question: str
    answer: Any
    """The reader's answer, or None."""
    check: Callable[[Any], bool]
    """Whether an answer is right. It computes; it does not compare with the solution's text."""
    hint: str
    """Shown with a wrong answer."""
    solution: str
    """Python that gives a right answer, in the names of the lesson."""
    because: str
    """Why it is right."""
    wrong: str
    """Python that gives an answer which the check refuses: the usual mistake."""

    @property
    def right(self) -> bool | None:
        """Whether the answer is right; None without one."""
        return None if self.answer is None else self.holds(self.answer)

    def holds(self, answer: Any) -> bool:
        """Whether an answer passes the check; what the check cannot compute with is wrong."""
        try:
            return bool(self.check(answer))
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            return False

    @property
    def verdict(self) -> str:
        """The result of the check, in one line."""
        if self.right is None:
            return UNANSWERED
        return "Right." if self.right else f"Not yet. {self.hint}"

    def _repr_html_(self) -> str:
        """The question, the verdict, and the solution folded away."""
        mark = {None: "▷", True: "✓", False: "✗"}[self.right]
        return (
            f"<p><b>Exercise.</b> {escape(self.question)}</p>"
            f"<p>{mark} {escape(self.verdict)}</p>"
            f"<details><summary>Solution</summary><pre>{escape(self.solution)}</pre>"
            f"<p>{escape(self.because)}</p></details>"
        )


def exercise(
    question: str,
    answer: Any,
    check: Callable[[Any], bool],
    *,
    hint: str,
    solution: str,
    because: str,
    wrong: str,
) -> Exercise:
    """Pose an exercise at the end of a cell.

    Args:
        question: what to find, in words.
        answer: the reader's variable, None until it is filled in.
        check: whether an answer is right.
        hint: shown with a wrong answer.
        solution: Python that gives a right answer, in the names of the lesson; folded away.
        because: why the solution is right.
        wrong: Python that gives the usual wrong answer, which tests hold against the check.

    Returns: `Exercise`, which shows itself.
    """
    return Exercise(question, answer, check, hint, solution, because, wrong)
