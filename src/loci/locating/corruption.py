"""How a subject is hidden: what its token embeddings become in the corrupted run.

    noise          e + ε,  ε ~ N(0, (k·s)²),   s the standard deviation of all entries of the
                   embedding
    subject-noise  the same, s of the embeddings of the known subjects' tokens, as published
    fixed          e + ε,  ε ~ N(0, k²)
    gaussian       e + ε,  ε ~ N(0, k²·Σ),     Σ the covariance of the embedding's rows
    mean           the mean embedding of the known subjects' tokens
    resample       the embeddings of another known subject with as many tokens, a new one for each
                   sample

One seed gives the same draws to every run, so that all grids are compared with one baseline. Noise
takes a state where no text leads; resampling stays among states that occur (Zhang & Nanda 2024),
and asks what tells these subjects apart.
Source of the noise kinds: Meng et al. 2022 (ROME), section 2 and code.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any, Literal, get_args
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, Span, known_facts
from loci.model import Edit, Model
from loci.model.hooks import add_at, put_at
from loci.model.tokens import tokenize

How = Literal["noise", "subject-noise", "fixed", "gaussian", "mean", "resample"]
HOWS: tuple[How, ...] = get_args(How)


@dataclass(frozen=True)
class Corruption:
    """One way of hiding a subject, with its draws."""

    how: How = "noise"
    strength: float = 3.0
    """k, for the kinds of noise."""
    samples: int = 10
    seed: int = 0
    subjects: tuple[str, ...] = ()
    """Whose embeddings to take; the subjects of the embedded facts where none are given."""

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise FactError(f"there is no corruption {self.how!r}: {', '.join(HOWS)}")
        if self.samples < 1 or self.strength <= 0:
            raise FactError(
                f"tracing needs samples ≥ 1 and noise > 0, not {self.samples} and {self.strength}"
            )

    @property
    def draws(self) -> int:
        """Rows of the corrupted run: the mean is always the same."""
        return 1 if self.how == "mean" else self.samples

    def edit(self, model: Model, fact: Fact, span: Span) -> Edit:
        """An edit of the point `embed`: the tokens [start, end) of `span` are corrupted. Raises
        `FactError` where that cannot be.
        """
        if self.how in ("mean", "resample"):
            return put_at(self._others(model, fact, span), slice(None), slice(*span))
        return add_at(self._noise(model, span[1] - span[0]), slice(None), slice(*span))

    def _noise(self, model: Model, tokens: int) -> Float[Tensor, "sample token d_model"]:
        generator = torch.Generator().manual_seed(self.seed)
        draws = torch.randn(self.samples, tokens, model.d_model, generator=generator)
        if self.how == "fixed":
            return draws * self.strength
        if self.how == "gaussian":
            E = model.W_E.float().cpu()
            mixed: Tensor = (
                torch.randn(self.samples, tokens, len(E), generator=generator)
                @ (E - E.mean(0))
                / (len(E) - 1) ** 0.5
            )
            return self.strength * model.embed_scale * mixed
        if self.how == "noise":
            return draws * (self.strength * model.embed_scale * embedding_std(model))
        rows = model.W_E[self._known_tokens(model)]
        return draws * (self.strength * model.embed_scale * float(rows.float().std()))

    def _others(
        self, model: Model, fact: Fact, span: Span
    ) -> Float[Tensor, "sample token d_model"]:
        """Embeddings of other subjects in the place of this one."""
        width = span[1] - span[0]
        if self.how == "mean":
            return self._embeddings(model, self._known_tokens(model)).mean(0).expand(1, width, -1)
        names: list[tuple[int, ...]] = []
        subjects = [subject for subject in self._candidates(fact) if subject != fact.subject]
        Random(self.seed).shuffle(subjects)
        for other in (replace(fact, subject=subject) for subject in subjects):
            tokens = model.tokenize(other.text)
            start, end = tokens.span(other.subject_span)
            if (start, end) == span:
                names.append(tokens.ids[start:end])
            if len(names) == self.samples:
                break
        if not names:
            raise FactError(
                f"no known subject has {width} tokens as {fact.subject!r} has: give subjects, or"
                " corrupt otherwise"
            )
        rows = [names[i % len(names)] for i in range(self.samples)]
        return self._embeddings(model, torch.tensor(rows, device=model.device))

    def _embeddings(self, model: Model, ids: Tensor) -> Tensor:
        return model.W_E[ids].float() * model.embed_scale

    def _candidates(self, fact: Fact) -> list[str]:
        """Other subjects: those given, else of the fact's relation, else all."""
        if self.subjects:
            return list(self.subjects)
        return list(
            dict.fromkeys(
                f.subject
                for f in known_facts()
                if fact.relation is None or f.relation == fact.relation
            )
        )

    def _known_tokens(self, model: Model) -> Tensor:
        subjects = self.subjects or tuple(dict.fromkeys(f.subject for f in known_facts()))
        return torch.tensor(sorted(_tokens_of(model.tokenizer, subjects)), device=model.device)


@lru_cache(maxsize=2)
def _tokens_of(tokenizer: Any, subjects: tuple[str, ...]) -> frozenset[int]:
    """All tokens of some subjects, in the middle of a sentence."""
    ids: set[int] = set()
    for subject in subjects:
        tokens = tokenize(tokenizer, f"of {subject}")
        start, end = tokens.span((3, 3 + len(subject)))
        ids |= set(tokens.ids[start:end])
    return frozenset(ids)


_STDS: WeakKeyDictionary[Model, tuple[tuple[int, int], float]] = WeakKeyDictionary()


def embedding_std(model: Model) -> float:
    """σ of all entries of the embedding. Cost: a pass over it, once for as long as it is what it
    is: with 262,144 tokens that is a fifth of a fact's trace.
    """
    weight = getattr(model.module("embed"), "weight", None)
    if not isinstance(weight, Tensor) or weight.is_meta:
        return float(model.W_E.float().std())
    state = (weight.data_ptr(), weight._version)
    known = _STDS.get(model)
    if known is None or known[0] != state:
        known = _STDS[model] = (state, float(model.W_E.float().std()))
    return known[1]
