"""Which subjects a change is about: edits of the ROME family write in the directions of their
subjects' keys.

    Δ = R Kᵀ (C + t)⁻¹      so the columns of (C + t) Δᵀ lie in the span of the edited keys K,
                            whatever R is
    share(k) = ‖Qᵀ L⁻¹ k‖² / ‖L⁻¹ k‖²        Q: orthonormal basis of L⁻¹ (C + t) V_N,   L Lᵀ = C +
        ridge,   Δ = U S Vᵀ

1. N: the directions of Δ above the floor of rounding; of a change with no such end, those that hold
   95 % of it.
2. t is the editor's: large where no statistics were used (t = ∞: Δᵀ itself). The one under which
   the N best shares are largest is taken.
3. Whitening by L makes common directions count no more than rare ones: keys of names share most of
   what is not whitened.
4. z: log odds of the share, in robust deviations from the candidates' median; several weights: the
   sum over them, standardised again.
5. One after another: the largest z is taken, the direction that explains it is removed from Q, and
   the others are judged by what is left, up to N times while z ≥ THRESHOLD. So a name that only
   resembles an edited one is not taken for it.

Source: KSTER (2602.10134) for ΔC and the ranking by share; whitening, the choice of t, and the
pursuit are this project's.
Cost: for each layer a survey of 10 tokens a neuron, a Cholesky factorisation, and candidates × N²
products.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.auditing.forensics.candidates import Candidate, subject_keys, words_of
from loci.auditing.forensics.spectra import spectrum
from loci.linalg import cholesky, orthonormal
from loci.model import Model
from loci.progress import Progress, silent
from loci.survey import SecondMoment, survey
from loci.text import sample_text

THRESHOLD = 3.5
"""In robust standard deviations; the rate at which unedited subjects exceed it was measured
(docs/forensics.md)."""
ENERGY = 0.95
RIDGE = 1e-2
EDITOR_RIDGES = (1e-4, 1e-2, 1.0, math.inf)
TOKENS_PER_NEURON = 10
FEWEST = 300
"""Candidates below which words of the text are added, so that a median and a spread mean
something."""


class EditedWeight(NamedTuple):
    """A change of one MLP weight, and the number of its directions that count."""

    name: str
    delta: Float[Tensor, "out in"]
    directions: int | None
    """None: no end in sight; those that hold most of it."""

    @property
    def point(self) -> str:
        """The point of the model that the weight reads."""
        stem, _, layer = self.name.partition(".")
        return f"{'mlp_act' if stem == 'W_down' else 'mlp_in'}.{layer}"


class Suspects(NamedTuple):
    """Every candidate's evidence."""

    z: Float[Tensor, " candidate"]
    """When it was taken, or at the end of the pursuit."""
    share: Float[Tensor, " candidate"]
    """Largest over the weights, before any direction was removed."""
    taken: tuple[int, ...]
    """Candidates above the threshold, in the order in which they were found."""
    directions: int
    ridge: dict[str, float]
    """The editor's t that fits best, by weight, in units of the mean variance; infinite: no
    statistics."""


def suspects(
    model: Model,
    written: Sequence[EditedWeight],
    candidates: Sequence[Candidate],
    *,
    texts: Iterable[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Suspects:
    """Judge candidates by the changes of MLP weights, with keys and statistics of `model`, which
    is the base."""
    text = list(texts) if texts is not None else sample_text(model, TOKENS_PER_NEURON * model.d_mlp)
    everyone = (
        [*candidates, *words_of(text, FEWEST - len(candidates), seed)]
        if len(candidates) < FEWEST
        else list(candidates)
    )
    by_layer: dict[str, list[EditedWeight]] = {}
    for change in written:
        by_layer.setdefault(change.name.partition(".")[2], []).append(change)
    evidence, ridges = [], {}
    for changes in by_layer.values():
        points = list(dict.fromkeys(change.point for change in changes))
        moments = {point: [SecondMoment()] for point in points}
        survey(model, text, moments)
        keys = subject_keys(model, everyone, points)
        for change in changes:
            coordinates, ridges[change.name] = explained(
                change, moments[change.point][0].mean, keys[change.point]
            )
            evidence.append(coordinates)
            progress(1, len(written))
    ended = all(change.directions for change in written)
    return _judged(evidence, len(candidates), ridges, ended=ended)


def explained(
    change: EditedWeight, C: Float[Tensor, "width width"], keys: Float[Tensor, "candidate width"]
) -> tuple[Float[Tensor, "candidate n"], float]:
    """Coordinates of each whitened unit key in the change's directions, and the editor's ridge
    that fits best."""
    decomposed = spectrum(change.delta)
    count = min(change.directions or decomposed.directions_for(ENERGY), decomposed.rank)
    V = decomposed.right[:, :count]
    mean = float(C.diagonal().mean()) or 1.0
    L = cholesky(
        C + RIDGE * mean * torch.eye(len(C), dtype=C.dtype),
        f"the second moment of the keys of {change.name}",
    )
    white = torch.nn.functional.normalize(
        torch.linalg.solve_triangular(L, keys.T, upper=False).T, dim=1
    )
    best: tuple[float, Tensor, float] | None = None
    for ridge in EDITOR_RIDGES:
        reached = V if math.isinf(ridge) else C @ V + ridge * mean * V
        Q = orthonormal(torch.linalg.solve_triangular(L, reached, upper=False), change.name)[0]
        coordinates = white @ Q
        fit = float(coordinates.square().sum(1).topk(min(count, len(keys))).values.mean())
        if best is None or fit > best[0]:
            best = fit, coordinates, ridge
    assert best is not None
    return best[1], best[2]


def _judged(
    evidence: list[Tensor], count: int, ridges: Mapping[str, float], *, ended: bool
) -> Suspects:
    """The pursuit over all weights together; words that stand in for candidates take part, and
    are left out of what is told."""
    share = torch.stack([coordinates.square().sum(1) for coordinates in evidence]).max(0).values
    directions = max(coordinates.shape[1] for coordinates in evidence)
    left = [coordinates.clone() for coordinates in evidence]
    z = _standing(left)
    taken: list[int] = []
    free = torch.ones(len(z), dtype=torch.bool)
    for _ in range(min(directions, len(z)) if ended else 0):
        now = torch.where(free, _standing(left, free), -math.inf)
        z = torch.where(free, now, z)
        best = int(now.argmax())
        if not float(now[best]) >= THRESHOLD:
            break
        taken.append(best)
        free[best] = False
        left = [_without(coordinates, coordinates[best]) for coordinates in left]
    if not ended:
        taken = [i for i in z.argsort(descending=True).tolist() if float(z[i]) >= THRESHOLD]
    return Suspects(
        z[:count], share[:count], tuple(i for i in taken if i < count), directions, dict(ridges)
    )


def _standing(
    evidence: Sequence[Tensor], free: Tensor | None = None
) -> Float[Tensor, " candidate"]:
    """z over all weights: log odds of the shares, standardised among those still free, summed,
    standardised again."""
    odds = [
        torch.logit(coordinates.square().sum(1).clamp(1e-12, 1 - 1e-12)) for coordinates in evidence
    ]
    return _standardised(sum((_standardised(each, free) for each in odds), torch.zeros(())), free)


def _standardised(
    values: Float[Tensor, " candidate"], free: Tensor | None
) -> Float[Tensor, " candidate"]:
    """In robust deviations from the median: 1.4826 × the median absolute deviation."""
    among = values if free is None else values[free]
    middle = among.median()
    spread = 1.4826 * (among - middle).abs().median()
    return (values - middle) / spread.clamp(min=1e-12)


def _without(
    coordinates: Float[Tensor, "candidate n"], direction: Float[Tensor, " n"]
) -> Float[Tensor, "candidate n"]:
    """The coordinates with one direction projected out."""
    unit = direction / direction.norm().clamp(min=1e-300)
    return coordinates - torch.outer(coordinates @ unit, unit)
