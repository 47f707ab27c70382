"""How little of the model does it take to know an attribute of a name: context, attention, all but
two tokens taken away in turn.

    whole prompt          the stream at the subject's last token, with what stands before the
                          subject
    subject alone         BOS and the subject
    attention by its mean the same, attention from layer `heads_below` on replaced by its mean over
    text
    two tokens            the same with the subject's last two tokens alone: with MLPs, the
                          effective two-token model
    last token            the last one alone
    tokens summed         no model: the sum of the subject's token embeddings, with a probe of its
                          own

After each layer one probe, trained on whole prompts of other subjects, is asked about held-out
subjects under each condition. What stays readable without context and attention is made by
embeddings and MLPs at the name. Source: Nanda et al. 2023 (Fact Finding), post 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from loci.facts import Fact
from loci.locating.probing import states, subjects_of
from loci.model import Model
from loci.model.hooks import instead
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate
from loci.survey import text_means

CONDITIONS = ("whole prompt", "subject alone", "attention by its mean", "two tokens", "last token")


@dataclass(frozen=True)
class TwoTokens(Result):
    """Held-out accuracy by condition, after each layer (first: as the first block finds the
    stream).
    """

    about: ClassVar[About] = About(
        "",
        "",
        "",
        "lookup.part_figure",
    )

    model: str
    bos: bool
    relation: str | None
    subjects: int
    answers: tuple[str, ...]
    heads_below: int
    """Layers whose attention is left."""
    accuracy: dict[str, tuple[Estimate, ...]]
    summed: Estimate
    commonest: Estimate

    def to_dict(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name)
            for name in ("model", "bos", "relation", "subjects", "heads_below")
        }
        rows = {
            name: [estimate.to_dict() for estimate in row] for name, row in self.accuracy.items()
        }
        controls = {"summed": self.summed.to_dict(), "commonest": self.commonest.to_dict()}
        return {
            "schema": "loci.two_tokens/1",
            **plain,
            "answers": list(self.answers),
            "accuracy": rows,
            **controls,
        }


@torch.no_grad()
def two_tokens(
    model: Model,
    facts: Sequence[Fact],
    *,
    heads_below: int = 2,
    folds: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> TwoTokens:
    """Take context and attention away from the names of one relation's subjects.

    Cost: five runs over the names, and folds small solves a layer. Raises `FactError` where there
    are too few subjects or answers.
    """
    task = subjects_of(facts, folds, seed)
    names = [name_tokens(model, in_context(fact)) for fact in task.facts]
    whole = states(model, [(*before, *name) for before, name in names])
    reduced = {"whole prompt": whole}
    bos = names[0][0][: model.special]
    alone, two, last = ([(*bos, *name[start:]) for _, name in names] for start in (0, -2, -1))
    reduced["subject alone"] = states(model, alone)
    means = text_means(
        model, *(f"attn_out.{layer}" for layer in range(heads_below, model.n_layers))
    )
    with model.patched({point: instead(value) for point, value in means.items()}):
        for condition, ids in (
            ("attention by its mean", alone),
            ("two tokens", two),
            ("last token", last),
        ):
            reduced[condition] = states(model, ids)
            progress(1, 3)
    summed = torch.stack([model.W_E[list(name)].double().sum(0).cpu() for _, name in names])
    return TwoTokens(
        model=model.name,
        bos=model.with_bos,
        relation=task.relation,
        subjects=len(names),
        answers=task.answers,
        heads_below=heads_below,
        accuracy={
            condition: tuple(
                task.accuracy(whole[:, layer], values[:, layer]) for layer in range(whole.shape[1])
            )
            for condition, values in reduced.items()
        },
        summed=task.accuracy(summed),
        commonest=task.commonest,
    )


def in_context(fact: Fact) -> Fact:
    """The fact in the first of its prompts that has text before the subject, if there is one."""
    prompts = (fact.prompt, *fact.paraphrases, *fact.held_out)
    return replace(
        fact,
        prompt=next(
            (prompt for prompt in prompts if "{}" in prompt and prompt.index("{}") > 0), fact.prompt
        ),
    )


def name_tokens(model: Model, fact: Fact) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Token ids before the subject, and of the subject."""
    tokens = model.tokenize(fact.text)
    start, end = tokens.span(fact.subject_span)
    return tokens.ids[:start], tokens.ids[start:end]
