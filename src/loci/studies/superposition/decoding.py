"""Reading k active of m features back from their sum x = Σ_{i ∈ S} f_i in d dimensions.

    threshold   all j with x · f_j > ½                                  linear, k not known
    top k       the k largest x · f_j                                   linear, k known
    pursuit     k times: the largest |r · f_j|, then r = x less its least-squares fit by all chosen
                so far (orthogonal matching pursuit)

    typical supports   x · f_j is 0 or 1 and a sum of k cosines, of variance v_j = k · mean cos²:
                       errors at rate Q(½ / √v) each
    all supports       feature j is read right by the threshold for every S of k features iff the
                       sum of its k largest cosines is below ½
                       (j not in S), and that of its k − 1 smallest above −½ (j in S)

For random directions the first asks for d ≈ 8 k ln m, the second for d ≈ 8 k² ln(m/k): no linear
decoder does with less than order k² log(m/k) / log k for all supports (Garg, Kleinberg and Peng
2026), while pursuit needs order k log(m/k) (Tropp and Gilbert 2007, for a random draw).
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from loci.linalg import lstsq
from loci.studies.superposition.pairwise_angles import BLOCK


def supports(count: int, k: int, trials: int, generator: torch.Generator) -> Int[Tensor, "trial k"]:
    """Random sets of k of `count` features."""
    return torch.rand(trials, count, generator=generator).topk(k, dim=1).indices


def threshold(
    F: Float[Tensor, "feature dim"], x: Float[Tensor, "trial dim"], k: int
) -> Bool[Tensor, "trial feature"]:
    return x @ F.T > 0.5


def top(
    F: Float[Tensor, "feature dim"], x: Float[Tensor, "trial dim"], k: int
) -> Bool[Tensor, "trial feature"]:
    return _marked((x @ F.T).topk(k, dim=1).indices, len(F))


def pursuit(
    F: Float[Tensor, "feature dim"], x: Float[Tensor, "trial dim"], k: int
) -> Bool[Tensor, "trial feature"]:
    chosen, left = torch.empty(len(x), 0, dtype=torch.long), x
    for _ in range(k):
        scores = (left @ F.T).abs()
        scores.scatter_(1, chosen, -1)
        chosen = torch.cat([chosen, scores.argmax(1, keepdim=True)], 1)
        basis = F[chosen].mT
        left = x - (basis @ lstsq(basis, x[:, :, None]).to(x))[:, :, 0]
    return _marked(chosen, len(F))


DECODERS = {"threshold": threshold, "top k": top, "pursuit": pursuit}


def _marked(chosen: Int[Tensor, "trial k"], count: int) -> Bool[Tensor, "trial feature"]:
    return torch.zeros(len(chosen), count, dtype=torch.bool).scatter_(1, chosen, True)


def trial(
    F: Float[Tensor, "feature dim"], k: int, trials: int, decoder: str, generator: torch.Generator
) -> tuple[Bool[Tensor, " trial"], float]:
    """Which random supports are read back without one error, and the share of features read
    wrong."""
    S = supports(len(F), k, trials, generator)
    wrong = DECODERS[decoder](F, F[S].sum(1), k) != _marked(S, len(F))
    return ~wrong.any(1), float(wrong.double().mean())


def error_rate(F: Float[Tensor, "feature dim"], k: int) -> float:
    """The threshold's error rate a feature, if the sum of cosines were Gaussian: Q(½ / √(k ·
    mean cos²))."""
    gram = (F.T @ F).square().sum() - F.square().sum(
        1
    ).square().sum()  # Σ_{i≠j} cos², from the smaller matrix
    mean_square = float(gram) / (len(F) * (len(F) - 1))
    return 0.5 * math.erfc(0.5 / math.sqrt(2 * k * mean_square)) if mean_square > 0 else 0.0


def largest_for_all(F: Float[Tensor, "feature dim"], most: int) -> int:
    """The largest k ≤ `most` for which the threshold reads every support of k features right,
    exactly; 0 where there is none.

    Cost: all cosines once, in blocks, and the `most` largest and smallest of each feature.
    """
    most = min(most, len(F) - 1)
    above, below = torch.zeros(most), torch.zeros(most)
    for start in range(0, len(F), BLOCK):
        cosines = F[start : start + BLOCK] @ F.T
        own = torch.arange(len(cosines))
        for sign, worst in ((1, above), (-1, below)):
            signed = sign * cosines
            signed[own, start + own] = -2
            sums = signed.topk(most, dim=1).values.cumsum(1).amax(0)
            torch.maximum(worst, sums, out=worst)
    for k in range(1, most + 1):
        if above[k - 1] >= 0.5 or (k > 1 and below[k - 2] >= 0.5):
            return k - 1
    return most
