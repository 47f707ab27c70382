"""Activations at one position of each text: keys at subjects, states where an answer is due."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact
from loci.model.model import Model
from loci.model.tokenised import by_near_length

BUDGET = 8192


def read_at(
    model: Model, texts: Sequence[Sequence[int]], places: Mapping[str, Sequence[int]]
) -> Iterator[tuple[list[int], dict[str, Float[Tensor, "row width"]]]]:
    """For each batch its texts' numbers, and what each point holds there at the position that
    `places` says for the text, on the CPU.

    Texts are lists of tokens. Cost: one partial forward pass; nothing is kept from batch to batch.
    """
    for batch in by_near_length(texts, len, BUDGET):
        reads = model.read(model.padded([texts[i] for i in batch])[0], *places)
        yield (
            batch,
            {
                point: read[range(len(batch)), [places[point][i] for i in batch]].cpu()
                for point, read in reads.items()
            },
        )


def at_subjects(
    model: Model, facts: Sequence[Fact], *points: str
) -> dict[str, Float[Tensor, "fact width"]]:
    """Activations at the last token of each fact's subject, in its own prompt. Cost: one partial
    forward pass of every prompt.
    """
    tokens = [model.tokenize(fact.text) for fact in facts]
    ends = [own.span(fact.subject_span)[1] - 1 for own, fact in zip(tokens, facts, strict=True)]
    activations: dict[str, Tensor] = {}
    for batch, reads in read_at(model, [own.ids for own in tokens], dict.fromkeys(points, ends)):
        for point, rows in reads.items():
            activations.setdefault(point, torch.empty(len(facts), rows.shape[1], dtype=rows.dtype))[
                batch
            ] = rows
    return activations
