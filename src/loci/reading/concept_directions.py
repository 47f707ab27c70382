"""Directions from pairs: is woman − man the same direction as queen − king, and what does it say?

    d = E[a − b] over pairs (a, b)           alignment = E[cos(aᵢ − bᵢ, aⱼ − bⱼ)] over pairs i, j
                                             without a common word
    analogy, pair i held out:                is a the nearest, by cosine, to b + E[a − b of pairs
                                             without a or b]?

Controls: partners shuffled, which leaves d itself as it is and keeps what the two sides have in
common; no direction at all; random directions of equal norm. Sources: Mikolov et al. 2013
(linguistic regularities); Linzen 2016 (the nearest word without the direction).
"""

from collections.abc import Sequence
from random import Random

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from loci.errors import FactError
from loci.model import Model
from loci.model.given import model_given
from loci.reading.directions_result import Directions, Pair
from loci.reading.text_vectors import DRAWS, cosines_of, random_like, vectors
from loci.reading.value_projections import promoted
from loci.stats import NOTHING, Estimate, share


def _paired(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs without blanks around their words.

    Raises `FactError` where they make no direction.
    """
    if not pairs:
        raise FactError("a direction needs a pair of words, as in woman, man")
    for pair in pairs:
        if len(pair) != 2 or isinstance(pair, str):
            raise FactError(f"{pair!r} is no pair of two words")
    clean = tuple((a.strip(), b.strip()) for a, b in pairs)
    for i, (a, b) in enumerate(clean):
        if a == b or not a or not b:
            raise FactError(
                f"the pair {a!r}, {b!r} has no difference: two different words are needed"
            )
        if (a, b) in clean[:i]:
            raise FactError(f"the pair {a!r}, {b!r} stands there twice")
    return clean


def direction(
    model: Model, pairs: Sequence[Pair], *, point: str = "embed"
) -> Float[Tensor, " d_model"]:
    """The mean of a − b over pairs of words or prompts, at `embed`, or at another point as in
    "resid_post.3"."""
    clean = _paired(pairs)
    a, b = (vectors(model, side, point) for side in zip(*clean, strict=True))
    return (a - b).mean(0).float()


def directions(
    model: Model, pairs: Sequence[Pair], *, point: str = "embed", top: int = 10, seed: int = 0
) -> Directions:
    """Do word pairs share one direction, does it solve analogies, and what does it promote?

        loci.directions(model, [("woman", "man"), ("queen", "king")])

    Pairs are compared only where they have no word in common; one pair alone has neither alignment
    nor analogies.

    Args:
        model: an open model; it is left as it was.
        pairs: (a, b) words; the direction goes from a to b.
        point: where the stream is read, as in `embed` or `resid_post.3`.
        top: tokens listed.
        seed: seed of every random draw.

    Returns: `Directions`, with the same of random pairs.
    Raises: `FactError` for pairs that have no difference.
    Cost: One short run a word.
    """
    model_given(model)
    clean = _paired(pairs)
    words = list(dict.fromkeys(word for pair in clean for word in pair))
    index = {word: i for i, word in enumerate(words)}
    V = vectors(model, words, point)
    a, b = (torch.tensor([index[word] for word in side]) for side in zip(*clean, strict=True))
    differences, apart = V[a] - V[b], _apart(a, b)
    d, C = differences.mean(0), cosines_of(differences, differences)
    mixed, mixed_apart = _shuffled(V, a, b, seed)
    held = apart.any(1)
    step = (apart.double() @ differences / apart.sum(1, keepdim=True).clamp(min=1))[held]
    ranks = analogies(V, b[held], step).tolist()
    near = iter(ranks)
    promotes, suppresses = promoted(model, d.float().to(model.device), top)
    return Directions(
        model=model.name,
        bos=model.with_bos,
        point=point,
        pairs=clean,
        direction=d.float(),
        cosines=C.float(),
        alignment=aligned(C, apart, seed),
        shuffled=aligned(mixed, mixed_apart, seed),
        beyond=aligned(C - mixed, apart & mixed_apart, seed),
        nearest=tuple(words[next(near)] if flag else None for flag in held.tolist()),
        analogy=share([float(hit) for hit in torch.tensor(ranks, dtype=torch.long) == a[held]]),
        without=share(
            [float(hit) for hit in analogies(V, b[held], torch.zeros_like(step)) == a[held]]
        ),
        random=_by_chance(V, a[held], b[held], step, seed),
        candidates=len(words) - 1,
        promotes=promotes,
        suppresses=suppresses,
        seed=seed,
    )


def analogies(V: Float[Tensor, "word d"], start: Tensor, step: Float[Tensor, "pair d"]) -> Tensor:
    """For each pair the word nearest to V[start] + step, the start itself left out."""
    scores = cosines_of(V[start] + step, V)
    scores[torch.arange(len(start)), start] = -torch.inf
    return scores.argmax(1)


def aligned(
    C: Float[Tensor, "pair pair"],
    apart: Bool[Tensor, "pair pair"],
    seed: int = 0,
    samples: int = 2000,
) -> Estimate:
    """Mean cosine of pairs that are apart.

    For the interval pairs are drawn, not cosines: those of one pair hang together.
    """
    n = int(apart.any(1).sum())
    if not n:
        return NOTHING
    value = float(C[apart].mean())
    if n == 2:
        return Estimate(value, torch.nan, torch.nan, n)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(C), (samples, len(C)), generator=generator)
    times = torch.zeros(samples, len(C), dtype=C.dtype).scatter_add_(
        1, drawn, torch.ones(samples, len(C), dtype=C.dtype)
    )
    compared = (times @ apart.to(C.dtype) * times).sum(1)
    means = ((times @ C.where(apart, 0) * times).sum(1) / compared)[compared > 0]
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=C.dtype)).tolist()
    return Estimate(value, low, high, n)


def _apart(a: Int[Tensor, " pair"], b: Int[Tensor, " pair"]) -> Bool[Tensor, "pair pair"]:
    """Which pairs have no word in common, and each a difference."""
    own = (a != b)[:, None]
    return (
        own & own.T & (a[:, None] != a) & (b[:, None] != b) & (a[:, None] != b) & (b[:, None] != a)
    )


def _shuffled(
    V: Tensor, a: Tensor, b: Tensor, seed: int
) -> tuple[Float[Tensor, "pair pair"], Bool[Tensor, "pair pair"]]:
    """Cosines between differences of which each b is another pair's, mean over shuffles; and
    which pairs were ever apart."""
    total, times = (
        torch.zeros(len(a), len(a), dtype=V.dtype),
        torch.zeros(len(a), len(a), dtype=V.dtype),
    )
    for draw in range(DRAWS):
        other = b[_elsewhere(len(a), seed + draw)]
        apart = _apart(a, other).to(V.dtype)
        differences = V[a] - V[other]
        total += apart * cosines_of(differences, differences)
        times += apart
    return total / times.clamp(min=1), times > 0


def _elsewhere(n: int, seed: int) -> Tensor:
    """A random order in which nobody keeps their place: round one random circle."""
    circle = Random(seed).sample(range(n), n)
    order = torch.empty(n, dtype=torch.long)
    order[torch.tensor(circle)] = torch.tensor(circle[1:] + circle[:1])
    return order


def _by_chance(V: Tensor, a: Tensor, b: Tensor, step: Tensor, seed: int) -> Estimate:
    """Share of analogies that random steps of equal length solve, each pair's mean over draws
    one unit."""
    generator = torch.Generator().manual_seed(seed)
    hits = [analogies(V, b, random_like(step, generator)) == a for _ in range(DRAWS)]
    return share(torch.stack(hits).double().mean(0).tolist() if len(a) else [])
