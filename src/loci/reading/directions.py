"""Directions from pairs: is woman − man the same direction as queen − king, what does it say, and what does adding it do?

    d = E[a − b] over pairs (a, b)           alignment = E[cos(aᵢ − bᵢ, aⱼ − bⱼ)] over pairs i, j without a common word
    analogy, pair i held out:                is a the nearest, by cosine, to b + E[a − b of pairs without a or b]?
    steering:                                resid_post.L ← resid_post.L + strength · d
    concepts C:                              x − x̄ ≈ Σ_k β_k (c_k − x̄), least squares, as concepts are not orthogonal

A word stands as in the middle of a sentence, so a one-token word has its leading space. At `embed` a text is the mean of its
tokens' embeddings as the model scales them; elsewhere it is its last token, run behind what stands before a text (BOS).
Controls: partners shuffled, which leaves d itself as it is and keeps what the two sides have in common; no direction at all;
random directions of equal norm. Sources: Mikolov et al. 2013 (linguistic regularities); Linzen 2016 (the nearest word without
the direction); Turner et al. 2023 (steering).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from loci.errors import FactError, ModelError
from loci.model import Model, by_length
from loci.model.answers import finite
from loci.model.points import RESIDUAL, parse_point
from loci.progress import Progress, silent
from loci.reading.read import Scored, promoted
from loci.stats import NOTHING, Estimate, mean, share
from loci.survey import text_means

Pair = tuple[str, str]
CARRIER = "a "
DRAWS = 10
CENTER_TOKENS = 4000


@dataclass(frozen=True)
class Directions:
    """How far pairs share one direction a − b, and what it is good for."""

    model: str
    bos: bool
    point: str
    pairs: tuple[Pair, ...]
    direction: Float[Tensor, " d_model"]
    """Mean difference a − b of all pairs."""
    cosines: Float[Tensor, "pair pair"]
    """Between the pairs' differences."""
    alignment: Estimate
    """Mean cosine of the differences of pairs without a common word, bootstrapped over pairs."""
    shuffled: Estimate
    """The same, each b taken from another pair, over ten shuffles: what the two sides' means give by themselves."""
    beyond: Estimate
    """Alignment less that of shuffled partners, over the same draws of pairs."""
    nearest: tuple[str | None, ...]
    """For each pair, the word nearest to b + the other pairs' mean difference; None where all others share a word with it."""
    analogy: Estimate
    """Share of pairs where that word is a."""
    without: Estimate
    """Share where a is the nearest to b itself."""
    random: Estimate
    """Share where a is the nearest to b + a random direction of equal norm, ten draws each."""
    candidates: int
    """Words among which the nearest is looked for: those of the pairs, b itself left out."""
    promotes: Scored
    suppresses: Scored
    seed: int

    @property
    def norm(self) -> float:
        return float(self.direction.norm())

    def to_dict(self) -> dict[str, Any]:
        names = ("alignment", "shuffled", "beyond", "analogy", "without", "random")
        estimates = {name: getattr(self, name).to_dict() for name in names}
        pairs = [{"a": a, "b": b, "nearest": near} for (a, b), near in zip(self.pairs, self.nearest, strict=True)]
        tokens = {side: [{"token": t, "score": s} for t, s in getattr(self, side)] for side in ("promotes", "suppresses")}
        tensors = {name: getattr(self, name).tolist() for name in ("direction", "cosines")}
        plain = {name: getattr(self, name) for name in ("model", "bos", "point", "norm", "candidates", "seed")}
        return {"schema": "loci.directions/1", **plain, **estimates, "pairs": pairs, **tokens, **tensors}


@dataclass(frozen=True)
class Target:
    """Mean probability of a word's first token as the next one."""

    word: str
    before: Estimate
    after: Estimate
    random: Estimate

    def to_dict(self) -> dict[str, Any]:
        return {"word": self.word, **{name: getattr(self, name).to_dict() for name in ("before", "after", "random")}}


@dataclass(frozen=True)
class Steered:
    """What adding a direction to the residual stream changes in the next token, beside random directions of equal norm."""

    model: str
    bos: bool
    layer: int
    strength: float
    everywhere: bool
    """Whether it was added at all tokens of the prompts, or at the last one alone."""
    relative: Estimate
    """Norm of what was added over that of the stream at the last token."""
    prompts: tuple[str, ...]
    before: tuple[Scored, ...]
    """The likeliest next tokens of each prompt."""
    after: tuple[Scored, ...]
    kl: Estimate
    """KL(before ‖ after) in nats, mean over prompts."""
    random_kl: Estimate
    targets: tuple[Target, ...]
    seed: int

    def to_dict(self) -> dict[str, Any]:
        names = ("model", "bos", "layer", "strength", "everywhere", "seed")
        tops = zip(self.prompts, self.before, self.after, strict=True)
        return {
            "schema": "loci.steered/1",
            **{name: getattr(self, name) for name in names},
            **{name: getattr(self, name).to_dict() for name in ("relative", "kl", "random_kl")},
            "prompts": [{"prompt": prompt, "before": _listed(old), "after": _listed(new)} for prompt, old, new in tops],
            "targets": [target.to_dict() for target in self.targets],
        }


@dataclass(frozen=True)
class Concepts:
    """How much of each concept is in each text's vector; both centred by the mean over text."""

    model: str
    bos: bool
    point: str
    concepts: tuple[str, ...]
    texts: tuple[str, ...]
    cosines: Float[Tensor, "text concept"]
    coefficients: Float[Tensor, "text concept"]
    """Of the least-squares fit: what is left of a concept once the others have taken their part."""
    overlap: Float[Tensor, "concept concept"]
    """Cosines between the concepts."""
    explained: tuple[float, ...]
    """Share of each text's squared norm that the fit explains."""
    random: tuple[float, ...]
    """The same for as many random directions, mean of ten draws; number of concepts / d_model is expected."""
    seed: int

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("model", "bos", "point", "seed")}
        lists = {name: list(getattr(self, name)) for name in ("concepts", "texts", "explained", "random")}
        tables = {name: getattr(self, name).tolist() for name in ("cosines", "coefficients", "overlap")}
        means = {"mean_explained": mean(self.explained).to_dict(), "mean_random": mean(self.random).to_dict()}
        return {"schema": "loci.concepts/1", **plain, **lists, **tables, **means}


# vectors ---------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def vectors(model: Model, texts: Sequence[str], point: str) -> Float[Tensor, "text d_model"]:
    """Each text at a point of the residual stream's width, in float64: the mean of its tokens at `embed`, else its last token.

    Raises `FactError` for a text without tokens, `ModelError` for a point that is not there or of another width.
    """
    found, _ = parse_point(point, model.n_layers)
    if found.shape != RESIDUAL:
        raise ModelError(f"a direction is of the residual stream's width; {point!r} is [{found.shape}]")
    rows = [_ids(model, text) for text in texts]
    kept = torch.empty(len(texts), model.d_model, dtype=torch.float64)
    for batch in by_length(rows, lambda row: len(row[0]) + len(row[1]), 4096):
        before = len(rows[batch[0]][0])
        read = model.read(model.ids([(*rows[i][0], *rows[i][1]) for i in batch]), point)[point][:, before:].double()
        kept[torch.tensor(batch)] = (read.mean(1) if found.name == "embed" else read[:, -1]).cpu()
    return kept


def _ids(model: Model, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What stands before a text, and the text's tokens as in the middle of a sentence."""
    word = text.strip()
    if not word:
        raise FactError("an empty text has no direction: every word needs a letter")
    tokens = model.tokenize(CARRIER + word)
    start, end = tokens.span((len(CARRIER), len(CARRIER) + len(word)))
    return tokens.ids[: tokens.special], tokens.ids[start:end]


def _paired(pairs: Sequence[Pair]) -> tuple[Pair, ...]:
    """The pairs without blanks around their words. Raises `FactError` where they make no direction."""
    if not pairs:
        raise FactError("a direction needs a pair of words, as in woman, man")
    for pair in pairs:
        if len(pair) != 2 or isinstance(pair, str):
            raise FactError(f"{pair!r} is no pair of two words")
    clean = tuple((a.strip(), b.strip()) for a, b in pairs)
    for i, (a, b) in enumerate(clean):
        if a == b or not a or not b:
            raise FactError(f"the pair {a!r}, {b!r} has no difference: two different words are needed")
        if (a, b) in clean[:i]:
            raise FactError(f"the pair {a!r}, {b!r} stands there twice")
    return clean


# directions ------------------------------------------------------------------------------------------------------------


def direction(model: Model, pairs: Sequence[Pair], *, point: str = "embed") -> Float[Tensor, " d_model"]:
    """The mean of a − b over pairs of words or prompts, at `embed`, or at another point as in "resid_post.3"."""
    clean = _paired(pairs)
    a, b = (vectors(model, side, point) for side in zip(*clean, strict=True))
    return (a - b).mean(0).float()


def directions(model: Model, pairs: Sequence[Pair], *, point: str = "embed", top: int = 10, seed: int = 0) -> Directions:
    """How far the pairs share one direction, whether it solves analogies that it did not see, and which tokens it promotes.

    Pairs are compared only where they have no word in common; one pair alone has neither alignment nor analogies.
    Cost: one short run a word. Raises `FactError` for pairs that have no difference.
    """
    clean = _paired(pairs)
    words = list(dict.fromkeys(word for pair in clean for word in pair))
    at = {word: i for i, word in enumerate(words)}
    V = vectors(model, words, point)
    a, b = (torch.tensor([at[word] for word in side]) for side in zip(*clean, strict=True))
    differences, apart = V[a] - V[b], _apart(a, b)
    d, C = differences.mean(0), _cosines(differences, differences)
    mixed, mixed_apart = _shuffled(V, a, b, seed)
    held = apart.any(1)
    step = (apart.double() @ differences / apart.sum(1, keepdim=True).clamp(min=1))[held]
    found = analogies(V, b[held], step).tolist()
    near = iter(found)
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
        analogy=share([float(hit) for hit in torch.tensor(found, dtype=torch.long) == a[held]]),
        without=share([float(hit) for hit in analogies(V, b[held], torch.zeros_like(step)) == a[held]]),
        random=_by_chance(V, a[held], b[held], step, seed),
        candidates=len(words) - 1,
        promotes=promotes,
        suppresses=suppresses,
        seed=seed,
    )


def analogies(V: Float[Tensor, "word d"], start: Tensor, step: Float[Tensor, "pair d"]) -> Tensor:
    """For each pair the word nearest to V[start] + step, the start itself left out."""
    scores = _cosines(V[start] + step, V)
    scores[torch.arange(len(start)), start] = -torch.inf
    return scores.argmax(1)


def aligned(C: Float[Tensor, "pair pair"], apart: Bool[Tensor, "pair pair"], seed: int = 0, samples: int = 2000) -> Estimate:
    """Mean cosine of pairs that are apart. For the interval pairs are drawn, not cosines: those of one pair hang together."""
    n = int(apart.any(1).sum())
    if not n:
        return NOTHING
    value = float(C[apart].mean())
    if n == 2:
        return Estimate(value, torch.nan, torch.nan, n)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(C), (samples, len(C)), generator=generator)
    times = torch.zeros(samples, len(C), dtype=C.dtype).scatter_add_(1, drawn, torch.ones(samples, len(C), dtype=C.dtype))
    compared = (times @ apart.to(C.dtype) * times).sum(1)
    means = ((times @ C.where(apart, 0) * times).sum(1) / compared)[compared > 0]
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=C.dtype)).tolist()
    return Estimate(value, low, high, n)


def _apart(a: Int[Tensor, " pair"], b: Int[Tensor, " pair"]) -> Bool[Tensor, "pair pair"]:
    """Which pairs have no word in common, and each a difference."""
    own = (a != b)[:, None]
    return own & own.T & (a[:, None] != a) & (b[:, None] != b) & (a[:, None] != b) & (b[:, None] != a)


def _shuffled(V: Tensor, a: Tensor, b: Tensor, seed: int) -> tuple[Float[Tensor, "pair pair"], Bool[Tensor, "pair pair"]]:
    """Cosines between differences of which each b is another pair's, mean over shuffles; and which pairs were ever apart."""
    total, times = torch.zeros(len(a), len(a), dtype=V.dtype), torch.zeros(len(a), len(a), dtype=V.dtype)
    for draw in range(DRAWS):
        other = b[_elsewhere(len(a), seed + draw)]
        apart = _apart(a, other).to(V.dtype)
        differences = V[a] - V[other]
        total += apart * _cosines(differences, differences)
        times += apart
    return total / times.clamp(min=1), times > 0


def _cosines(x: Float[Tensor, "i d"], y: Float[Tensor, "j d"]) -> Float[Tensor, "i j"]:
    return normalize(x, dim=-1) @ normalize(y, dim=-1).T


def _elsewhere(n: int, seed: int) -> Tensor:
    """A random order in which nobody keeps their place: round one random circle."""
    circle = Random(seed).sample(range(n), n)
    order = torch.empty(n, dtype=torch.long)
    order[torch.tensor(circle)] = torch.tensor(circle[1:] + circle[:1])
    return order


def _by_chance(V: Tensor, a: Tensor, b: Tensor, step: Tensor, seed: int) -> Estimate:
    """Share of analogies that random steps of equal length solve, each pair's mean over draws one unit."""
    generator = torch.Generator().manual_seed(seed)
    hits = [analogies(V, b, _random_like(step, generator)) == a for _ in range(DRAWS)]
    return share(torch.stack(hits).double().mean(0).tolist() if len(a) else [])


def _random_like(x: Float[Tensor, "*any d"], generator: torch.Generator) -> Float[Tensor, "*any d"]:
    """Random directions of the same norms."""
    drawn = normalize(torch.randn(x.shape, generator=generator, dtype=torch.float64), dim=-1)
    sized: Tensor = drawn * x.double().norm(dim=-1, keepdim=True)
    return sized


# steering --------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def steer(
    model: Model,
    prompts: Sequence[str],
    direction: Float[Tensor, " d_model"],
    layer: int,
    strength: float = 1.0,
    *,
    everywhere: bool = False,
    targets: Sequence[str] = (),
    top: int = 5,
    seed: int = 0,
    progress: Progress = silent,
) -> Steered:
    """Add strength · direction to the residual stream after a layer: at each prompt's last token, or at all its tokens but BOS.

    Cost: two runs of the prompts, and ten with random directions of equal norm. Raises `FactError` where there is no prompt,
    `ModelError` for a layer that is not there or a direction of another width.
    """
    if not prompts:
        raise FactError("steering needs a prompt")
    if direction.shape != (model.d_model,) or not bool((strength * direction).isfinite().all()):
        raise ModelError(
            f"a direction has {model.d_model} finite numbers, not {strength:g} times one of shape {list(direction.shape)}"
        )
    point = f"resid_post.{layer}"
    model.place(point)
    chosen = [_ids(model, word)[1][0] for word in targets]
    added = strength * direction.double().cpu()
    generator = torch.Generator().manual_seed(seed)
    draws = [_random_like(added, generator) for _ in range(DRAWS)]
    asked = [model.tokenize(prompt) for prompt in prompts]
    found: dict[int, dict[str, Tensor]] = {}
    for batch in by_length(asked, len, 4096):
        ids = model.ids([asked[i].ids for i in batch])
        where = slice(asked[batch[0]].special if everywhere else ids.shape[1] - 1, None)
        stream = model.read(ids, point)[point][:, -1].double().norm(dim=-1).cpu()
        before = _said(model, ids)
        runs = []
        for step in (added, *draws):
            with model.patched({point: partial(_add, step, where)}):
                runs.append(_said(model, ids))
        for row, i in enumerate(batch):
            found[i] = {"stream": stream[row], "before": before[row], "runs": torch.stack([run[row] for run in runs])}
        progress(len(batch), len(asked))
    rows = [found[i] for i in range(len(asked))]
    kl = [(row["before"].exp() * (row["before"] - row["runs"])).sum(-1) for row in rows]
    return Steered(
        model=model.name,
        bos=model.with_bos,
        layer=layer,
        strength=strength,
        everywhere=everywhere,
        relative=mean([float(added.norm() / row["stream"]) for row in rows]),
        prompts=tuple(prompts),
        before=tuple(_likeliest(model, row["before"], top) for row in rows),
        after=tuple(_likeliest(model, row["runs"][0], top) for row in rows),
        kl=mean([float(row[0]) for row in kl]),
        random_kl=mean([float(row[1:].mean()) for row in kl]),
        targets=tuple(_target(word, token, rows) for word, token in zip(targets, chosen, strict=True)),
        seed=seed,
    )


def _add(step: Tensor, where: slice, resid: Tensor) -> Tensor:
    resid = resid.clone()
    resid[:, where] += step.to(resid)
    return resid


def _said(model: Model, ids: Tensor) -> Float[Tensor, "prompt d_vocab"]:
    """Log-probabilities of the next token."""
    logprobs: Tensor = finite(model(ids), model)[:, -1].double().log_softmax(-1)
    return logprobs.cpu()


def _likeliest(model: Model, logprobs: Float[Tensor, " d_vocab"], top: int) -> Scored:
    best = logprobs.exp().topk(top)
    return tuple((model.token_text(i), p) for i, p in zip(best.indices.tolist(), best.values.tolist(), strict=True))


def _target(word: str, token: int, rows: Sequence[dict[str, Tensor]]) -> Target:
    before = mean([float(row["before"][token].exp()) for row in rows])
    after, random = (mean([float(row["runs"][part, token].exp().mean()) for row in rows]) for part in (slice(1), slice(1, None)))
    return Target(word, before, after, random)


def _listed(scored: Scored) -> list[dict[str, Any]]:
    return [{"token": token, "probability": probability} for token, probability in scored]


# concepts --------------------------------------------------------------------------------------------------------------


@torch.no_grad()
def concept(model: Model, concepts: Sequence[str], texts: Sequence[str], point: str = "embed", *, seed: int = 0) -> Concepts:
    """How much of some concepts, each the vector of its word, is in texts, as in ["Michael", "Jordan"] in "Michael Jordan".

    Both are centred by the point's mean over 4,000 tokens of the embedded text. Raises `FactError` without a concept or a text.
    """
    named = tuple(dict.fromkeys(name.strip() for name in concepts))
    if not named or not texts:
        raise FactError("a concept is looked for in a text: say a word and a text")
    if len(named) >= model.d_model:
        raise FactError(f"{len(named)} concepts explain any vector of {model.d_model} dimensions")
    C, X = vectors(model, named, point), vectors(model, texts, point)
    center = text_means(model, point, tokens=CENTER_TOKENS)[point]
    C, X = C - center, X - center
    β = coefficients(X, C)
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(C.shape, generator=generator, dtype=C.dtype) for _ in range(DRAWS)]
    chance = torch.stack([explained(X, D, coefficients(X, D)) for D in drawn]).mean(0)
    return Concepts(
        model=model.name,
        bos=model.with_bos,
        point=point,
        concepts=named,
        texts=tuple(texts),
        cosines=_cosines(X, C).float(),
        coefficients=β.float(),
        overlap=_cosines(C, C).float(),
        explained=tuple(explained(X, C, β).tolist()),
        random=tuple(chance.tolist()),
        seed=seed,
    )


def coefficients(X: Float[Tensor, "text d"], C: Float[Tensor, "concept d"]) -> Float[Tensor, "text concept"]:
    """β of the least-squares fit X ≈ β C; the smallest one where concepts depend on each other."""
    solved: Tensor = torch.linalg.lstsq(C.T, X.T, driver="gelsd").solution
    return solved.T


def explained(
    X: Float[Tensor, "text d"], C: Float[Tensor, "concept d"], β: Float[Tensor, "text concept"]
) -> Float[Tensor, " text"]:
    """Share of the squared norm of X in β C."""
    return (β @ C).square().sum(-1) / X.square().sum(-1).clamp(min=1e-30)
