"""Frames around a prompt: other facts in front of it, and a chat's turns.

    shots  N facts of the relation, one a line, in the prompt's own words, each with its answer:
           "France's capital is Paris⏎Peru's capital is"
    chat   the prompt as what a user says, in the model's own chat template; shots are then earlier
           exchanges

A frame makes another fact of a fact: its prompts are longer, its subject, its answer and the rest
are the same. So whatever takes facts works inside a frame, and the subject's positions are right
there. Source: the protocol of Hernandez et al. 2024 (LRE).
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from loci.errors import FactError, ModelError
from loci.facts import UNSAID, Fact, FactSet
from loci.facts.fact import BLANK
from loci.facts.spans import occurrences
from loci.model.joins import by_writing
from loci.model.model import Model

PROBE = "{} is here"


@dataclass(frozen=True)
class Frame:
    """How prompts are put to a model. `Frame()` leaves them as they are."""

    shots: int = 0
    """How many other facts of its relation stand before each prompt."""
    chat: bool = False
    """Whether prompts stand in the model's chat template."""
    seed: int = 0
    """Of the draw of the shots; each fact has its own."""

    def __bool__(self) -> bool:
        return bool(self.shots or self.chat)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, model: Model) -> None:
        """Raise `ModelError` where the model has no chat template, or one that loses what the user
        says.
        """
        if self.chat:
            turns(model, [], PROBE)

    def text(self, model: Model, prompt: str) -> str:
        """One prompt inside this frame. Raises `FactError` for shots, which are facts of a
        relation.
        """
        if self.shots:
            raise FactError(
                f"shots are other facts of a relation, and {prompt!r} is of none: put the facts in"
                " a file"
            )
        return turns(model, [], prompt) if self.chat else prompt

    def facts(self, model: Model, facts: Iterable[Fact], pool: Iterable[Fact] = ()) -> FactSet:
        """The facts inside this frame.

        Args:
            model: whose chat template is used.
            facts: what is to be asked.
            pool: further facts that shots may be drawn from, beside `facts`.

        Returns: the facts with longer prompts, in the same order.
        Raises: `FactError` where a relation has too few other facts, `ModelError` where the model
        has no chat template.
        """
        asked = list(facts)
        if not self:
            return FactSet(asked)
        self.check(model)
        relations = FactSet(dict.fromkeys([*asked, *pool])).relations
        usable = (
            {name: _usable(own) for name, own in relations.items() if name} if self.shots else {}
        )
        return FactSet(
            self._framed(model, fact, self._draw(fact, usable.get(fact.relation or "")))
            for fact in asked
        )

    def _draw(self, fact: Fact, relation: Sequence[Fact] | None) -> list[Fact]:
        """The shots of one fact: facts of its relation about subjects that stand in none of its
        prompts, and that do not name its own.
        """
        if not self.shots:
            return []
        prompts = [
            fact.text,
            *fact.asked(),
            *fact.neighbours,
            *(question.prompt for question in fact.questions),
        ]
        whole, drawn = "\n".join(prompts), list[Fact]()
        order = random.Random(f"{self.seed}/{fact.subject}/{fact.relation}")
        for shot in order.sample(relation, len(relation)) if relation else ():
            sentence = f"{shot.text} {shot.answer}"
            if not (_stands(shot.subject, whole) or _stands(fact.subject, sentence)):
                drawn.append(shot)
            if len(drawn) == self.shots:
                return drawn
        where = (
            f"its relation {fact.relation!r} has {len(drawn)}"
            if relation is not None
            else "it has no relation"
        )
        raise FactError(
            f"{fact.text!r}: {self.shots} shots are as many facts of its relation about others, and"
            f" {where}"
        )

    def _framed(self, model: Model, fact: Fact, shots: Sequence[Fact]) -> Fact:
        def framed(template: str) -> str:
            shown = [
                (shot.fill(template if BLANK in template else shot.prompt), shot.answer)
                for shot in shots
            ]
            return turns(model, shown, template) if self.chat else lines(shown, template)

        return replace(
            fact,
            prompt=framed(fact.prompt),
            paraphrases=tuple(map(framed, fact.paraphrases)),
            held_out=tuple(map(framed, fact.held_out)),
            neighbours=tuple(map(framed, fact.neighbours)),
            questions=tuple(
                question._replace(prompt=framed(question.prompt)) for question in fact.questions
            ),
        )


def _usable(relation: Sequence[Fact]) -> list[Fact]:
    """One fact of each subject whose answer is said, and which holds no blank."""
    usable = (
        fact for fact in relation if fact.answer != UNSAID and BLANK not in fact.text + fact.answer
    )
    return list({fact.subject: fact for fact in usable}.values())


def _stands(subject: str, text: str) -> bool:
    return subject in text and bool(occurrences(text, subject))


def lines(shots: Sequence[tuple[str, str]], prompt: str) -> str:
    """A prompt behind others with their answers, a line each."""
    return "".join(f"{asked}{by_writing(asked)}{answer}\n" for asked, answer in shots) + prompt


def turns(model: Model, shots: Sequence[tuple[str, str]], prompt: str) -> str:
    """A prompt in the model's chat template, up to where the model's turn begins; shots are earlier
    exchanges.

    What the tokenizer puts before every text is left out. Raises `ModelError` where there is no
    template, or it has no place for the prompt.
    """
    tokenizer: Any = model.tokenizer
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            f"{model.name!r} has no chat template: leave chat (--chat) out; it is for models that"
            " were taught to chat"
        )
    messages = [
        {"role": role, "content": text}
        for pair in shots
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    asked = [*messages, {"role": "user", "content": prompt}]
    try:
        text = str(tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # noqa: BLE001 a template is a program, and may raise anything
        raise ModelError(
            f"the chat template of {model.name!r} fails:"
            f" {str(error).splitlines()[0] if str(error) else error!r}"
        ) from None
    if text.count(prompt.strip()) < 1 or text.count(BLANK) != prompt.count(BLANK):
        raise ModelError(
            f"the chat template of {model.name!r} does not keep what the user says: it gives"
            f" {text!r:.200}"
        )
    first = tokenizer.bos_token
    return text.removeprefix(first) if first and model.with_bos else text
