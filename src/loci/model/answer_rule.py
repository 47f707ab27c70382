"""The answer that a model itself gives to a prompt: the shortest part of its greedy continuation
that is an answer.

    first word  up to the next boundary; and the words behind it, as long as each follows with P ≥
                `CERTAIN` ("New" goes on to "New York",
                "the" to "the United States", "basketball" stays "basketball"), at most `WORDS`;
                function words at the end are left out

This is the one rule by which an answer is found where none is given: of `ask`, `trace`, `locate`,
`lens`, `edit`, `audit` and the others. A result says it as `answer_rule`: "first word" where the
answer was found so, "given" where it was said. What is traced or edited should be a fact:
`OwnAnswer.warning` says where it hardly is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import torch

from loci.errors import ModelError
from loci.facts.fact import FIRST_WORD
from loci.facts.matching import is_function_word, word_ends
from loci.model.generation import Made, continue_all
from loci.validate import brief

if TYPE_CHECKING:
    from loci.model.model import Model

TOKENS = 12
"""Of a continuation that are looked at."""
CERTAIN = 0.9
"""A next word with this probability belongs to the answer."""
WORDS = 5
UNLIKELY = 0.1
"""An answer below this probability is hardly the model's."""


@dataclass(frozen=True)
class OwnAnswer:
    """A model's own answer to a prompt."""

    text: str
    """The answer; empty where nothing was said."""
    says: str
    """The continuation that it was found in."""
    probability: float
    """Of the tokens that hold the answer, in the continuation."""

    rule: str = FIRST_WORD

    @property
    def warning(self) -> str | None:
        """Why this is hardly an answer, or None."""
        if self.text and all(is_function_word(word) for word in self.text.split()):
            return (
                f"{self.text!r} is no answer but a function word (the model goes on with"
                f" {self.says.strip()!r}): say the answer with --answer"
            )
        if self.text and self.probability < UNLIKELY:
            return (
                f"the model's own answer {self.text!r} has P = {self.probability:.3f}: it hardly"
                " knows; say the answer with --answer"
            )
        return None


@torch.no_grad()
def own_answers(
    model: "Model", prompts: Sequence[str], tokens: int = TOKENS, budget: int | None = None
) -> list[OwnAnswer]:
    """The model's answer to each prompt, by the rule above. Cost: a forward pass over the prompts
    and `tokens` short ones, in batches.
    """
    asked = model.tokenize_all(prompts, model.n_ctx)
    made = continue_all(model, [own.ids for own in asked], tokens, budget=budget, weighed=True)
    return [_answer(model, each) for each in made]


def answer_of(model: "Model", prompt: str, tokens: int = TOKENS) -> str:
    """The model's own answer to a prompt. Raises `ModelError` where it says nothing."""
    return own_answer(model, prompt, tokens).text


def own_answer(model: "Model", prompt: str, tokens: int = TOKENS) -> OwnAnswer:
    """The model's own answer to a prompt, with its probability. Raises `ModelError` where it says
    nothing.
    """
    (answer,) = own_answers(model, [prompt], tokens)
    if not answer.text:
        raise ModelError(
            f"{model.name!r} says nothing after {brief(prompt, 200)}: say what the answer is"
        )
    return answer


def _answer(model: "Model", made: Made) -> OwnAnswer:
    """The answer in one continuation."""
    says = model.decode(made.ids)
    ends = word_ends(says)
    if not ends:
        return OwnAnswer("", says, 0.0)
    reach = [len(model.decode(made.ids[:count])) for count in range(len(made.ids) + 1)]
    holds = [
        next((count for count, reached in enumerate(reach) if reached >= end), len(made.ids))
        for end in ends
    ]
    taken = 1
    while (
        taken < min(WORDS, len(ends))
        and prod(made.probabilities[holds[taken - 1] : holds[taken]]) >= CERTAIN
    ):
        taken += 1
    while taken > 1 and is_function_word(says[ends[taken - 2] : ends[taken - 1]].strip()):
        taken -= 1
    return OwnAnswer(
        says[: ends[taken - 1]].strip(), says, prod(made.probabilities[: holds[taken - 1]])
    )
