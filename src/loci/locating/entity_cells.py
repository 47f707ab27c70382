"""Rows of facts with single neurons set: what an entity's neurons are tested by.

A trial sets one neuron to one value at every token of the subject, in one fact's prompt; a row of a
batch is one trial, so that all neurons are tried in as few passes as their prompts have lengths.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.facts import Fact
from loci.facts.fact import BLANK
from loci.locating.asking import Asked
from loci.model import Model, by_length, read_at
from loci.model.unembedding import last_streams, unembedded

Cell = tuple[int, int]
"""Layer and neuron."""
NEUTRAL = (
    "{}",
    "I read about {}",
    "What do you know about {}",
    "Yesterday we talked about {}",
    "The name is {}",
    "This is a photo of {}",
)
"""Prompts in which any name may stand."""


class NeuronTrial(NamedTuple):
    """A fact asked with one neuron at a value; None: as the model is."""

    asked: Asked
    cell: Cell | None = None
    value: float = 0.0


class TrialScore(NamedTuple):
    """What came out."""

    probability: float
    """P(answer), of all its tokens."""
    said: bool
    """Whether each token of the answer is the likeliest where it stands."""


@torch.no_grad()
def tried(model: Model, trials: Sequence[NeuronTrial]) -> list[TrialScore]:
    """The answers of all trials. Cost: one forward pass a trial, in batches of equal length."""
    found: dict[int, TrialScore] = {}
    for batch in by_length(
        trials, lambda trial: trial.asked.ids.shape[1], model.tokens_at_once, model.rows_at_once
    ):
        some = [trials[i] for i in batch]
        ids = torch.cat([trial.asked.ids for trial in some])
        with model.patched(_edits(some)):
            streams = last_streams(model, ids)
        counts = [len(trial.asked.targets) for trial in some]
        rows = torch.cat([streams[row, -count:] for row, count in enumerate(counts)])
        targets = torch.cat([trial.asked.targets for trial in some])
        logprobs, best = list[Tensor](), list[Tensor]()
        for at, logits in unembedded(model, rows):
            picked = logits.gather(-1, targets[at, None])[:, 0]
            logprobs.append((picked - logits.logsumexp(-1)).cpu())
            best.append((logits.argmax(-1) == targets[at]).cpu())
        by_trial = zip(
            torch.cat(logprobs).split(counts), torch.cat(best).split(counts), strict=True
        )
        for i, (logprob, hits) in zip(batch, by_trial, strict=True):
            found[i] = TrialScore(float(logprob.sum().exp()), bool(hits.all()))
    return [found[i] for i in range(len(trials))]


def _edits(trials: Sequence[NeuronTrial]) -> dict[str, partial[Tensor]]:
    """The neurons of each layer that some row of the batch sets."""
    rows: dict[int, list[tuple[int, int, int, int, float]]] = {}
    for row, trial in enumerate(trials):
        if trial.cell is not None:
            layer, neuron = trial.cell
            rows.setdefault(layer, []).append((row, *trial.asked.subject, neuron, trial.value))
    return {f"mlp_act.{layer}": partial(_set, own) for layer, own in rows.items()}


def _set(rows: Sequence[tuple[int, int, int, int, float]], act: Tensor) -> Tensor:
    new = act.clone()
    for row, start, end, neuron, value in rows:
        new[row, start:end, neuron] = value
    return new


def activations(
    model: Model, subjects: Mapping[str, Sequence[str]]
) -> dict[str, Float[Tensor, "prompt layer neuron"]]:
    """Every neuron at each subject's last token, in each of its templates.

    Cost: one forward pass over the prompts up to there. Memory: 4 bytes a neuron and prompt.
    """
    rows = list(_rows(model, subjects))
    points = model.names("mlp_act")
    acts = torch.empty(len(rows), model.n_layers, model.d_mlp)
    tokens = [ids for _, ids in rows]
    ends = [len(ids) - 1 for ids in tokens]
    for batch, reads in read_at(model, tokens, dict.fromkeys(points, ends)):
        acts[batch] = torch.stack([reads[point].float() for point in points], 1)
    places: dict[str, list[int]] = {}
    for i, (subject, _) in enumerate(rows):
        places.setdefault(subject, []).append(i)
    return {subject: acts[own] for subject, own in places.items()}


def _rows(
    model: Model, subjects: Mapping[str, Sequence[str]]
) -> Iterator[tuple[str, Sequence[int]]]:
    """Each subject's prompts, cut behind the subject."""
    for subject, templates in subjects.items():
        for template in dict.fromkeys(templates):
            start = template.index(BLANK)
            tokens = model.tokenize(template.replace(BLANK, subject, 1))
            yield subject, tokens.ids[: tokens.span((start, start + len(subject)))[1]]


def templates_of(facts: Sequence[Fact]) -> list[str]:
    """The neutral prompts and those of facts, in which a subject's neurons are read."""
    own = [t for fact in facts for t in (fact.prompt, *fact.paraphrases) if BLANK in t]
    return list(dict.fromkeys((*NEUTRAL, *own)))
