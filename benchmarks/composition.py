"""Composition scores of all pairs of heads against the broadcast of factored matrices, as
TransformerLens computes them.

    python -m benchmarks.composition [--layers 12] [--heads 12] [--width 768] [--threads 2] [--runs
    1]

A random model of that shape (GPT-2 small's by default), Q, K and V. With TransformerLens below 4
installed (`make oracle`) its own `composition_scores` is called; without it the same formula stands
below: factors collapsed by an SVD of each head, all pairs multiplied as one broadcast product [L,
H, L, H, r, r], norms taken, and the half that cannot compose set to 0. Both get the same
projections, one after the other in one process, Loci's first. Printed: the ratio of times (median)
by the clock and by processor time, the ratio of peak memory above what stood there before, and the
largest difference of scores, between the two and to dense products in float64.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from loci.circuits import Composition, compose, layer_heads
from loci.model import Weights
from loci.model.families import GPT2

try:
    from transformer_lens import FactoredMatrix
    from transformer_lens.utilities import composition_scores

    NAMED = "TransformerLens"
except ImportError:
    NAMED = "its formula, written out"

KINDS = ("q", "k", "v")


class Pair(NamedTuple):
    """left @ right, row vectors from the left: [layer, head, d_model, d_head] and [layer, head,
    d_head, d_model].
    """

    left: Tensor
    right: Tensor

    @property
    def T(self) -> "Pair":
        return Pair(self.right.mT, self.left.mT)

    def collapsed_left(self) -> Tensor:
        """S Vᵀ: as long as the product, r rows."""
        _, S, Vh = svd(self)
        return S[..., None] * Vh

    def collapsed_right(self) -> Tensor:
        """U S, r columns."""
        U, S, _ = svd(self)
        return U * S[..., None, :]


def svd(pair: Pair) -> tuple[Tensor, Tensor, Tensor]:
    """Of a product of factors, by those of the factors and of what stands between them."""
    Ua, Sa, Vha = torch.linalg.svd(pair.left, full_matrices=False)
    Ub, Sb, Vhb = torch.linalg.svd(pair.right, full_matrices=False)
    U, S, Vh = torch.linalg.svd(Sa[..., None] * Vha @ Ub * Sb[..., None, :], full_matrices=False)
    return Ua @ U, S, Vh @ Vhb


def broadcast(left: Pair, right: Pair) -> Tensor:
    """Scores of all pairs: [layer, head, layer, head] of writers and readers."""
    if NAMED == "TransformerLens":
        return composition_scores(
            FactoredMatrix(*left), FactoredMatrix(*right), broadcast_dims=True
        )
    read, written = right.collapsed_right()[None, None], left.collapsed_left()[:, :, None, None]
    norms = (written @ read).norm(dim=(-2, -1))
    return norms / read.norm(dim=(-2, -1)) / written.norm(dim=(-2, -1))


def all_scores(OV: Pair, QK: Pair) -> dict[str, Tensor]:
    layers = torch.arange(len(OV.left))
    before = layers[:, None, None, None] < layers[None, None, :, None]
    return {
        kind: torch.where(before, broadcast(OV, right), 0.0)
        for kind, right in zip(KINDS, (QK, QK.T, OV), strict=True)
    }


def measured(job: Callable[[], object], runs: int) -> tuple[float, float, float, object]:
    """Median seconds by the clock and by the processor, MB that the peak grew by, and what came
    out.
    """
    before, clocks, used = peak(), [], []
    for _ in range(runs):
        start, start_used = time.perf_counter(), time.process_time()
        found = job()
        clocks.append(time.perf_counter() - start)
        used.append(time.process_time() - start_used)
    return statistics.median(clocks), statistics.median(used), peak() - before, found


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def dense(model: Weights, found: Composition) -> float:
    """The largest difference to products multiplied out, over some pairs."""
    heads = {
        one.name: one
        for layer in range(model.n_layers)
        for one in layer_heads(model, layer, "none")
    }
    last, worst = model.n_layers - 1, 0.0
    for h in range(min(4, model.n_heads)):
        later, earlier = heads[f"L{last}H{h}"], heads[f"L0H{model.n_heads - 1 - h}"]
        qk, ov, wrote = (one.dense.double() for one in (later.qk, later.ov, earlier.ov))
        for kind, read in zip(KINDS, (qk.T, qk, ov), strict=True):
            expected = float((read @ wrote).norm() / (read.norm() * wrote.norm()))
            worst = max(worst, abs(found.score(kind, later.name, earlier.name) - expected))
    return worst


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (
        ("layers", 12),
        ("heads", 12),
        ("width", 768),
        ("threads", 2),
        ("runs", 1),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=asked.layers,
        n_head=asked.heads,
        n_embd=asked.width,
        n_inner=8,
        vocab_size=64,
        n_positions=8,
    )
    model = Weights(GPT2LMHeadModel(config), "random", GPT2)
    every = range(model.n_layers)
    Q, K, V = (
        torch.stack([getattr(model, f"W_{stem}")(layer) for layer in every]) for stem in "QKV"
    )
    written = torch.stack([model.W_O(layer) for layer in every])
    OV, QK = Pair(V.mT, written.mT), Pair(Q.mT, K)
    torch.randn(512, 512) @ torch.randn(512, 512)
    ours = measured(lambda: compose(model, view="none"), asked.runs)
    theirs = measured(lambda: all_scores(OV, QK), asked.runs)
    found, scores = ours[3], theirs[3]
    assert isinstance(found, Composition) and isinstance(scores, dict)
    apart = max(
        float((found.scores[k].nan_to_num() - scores[k].flatten(0, 1).flatten(1).T).abs().max())
        for k in KINDS
    )
    print(
        f"{asked.layers} × {asked.heads} heads, {asked.width} wide, against {NAMED}:"
        f" {asked.threads} threads"
    )
    print(
        f"time    {theirs[0] / ours[0]:6.1f} × by the clock, {theirs[1] / ours[1]:.1f} × by the"
        f" processor ({ours[0]:.2f} s and {theirs[0]:.2f} s)"
    )
    print(
        f"memory  {theirs[2] / max(ours[2], 1.0):6.1f} × ({ours[2]:.0f} MB and {theirs[2]:.0f} MB"
        " at the peak)"
    )
    print(
        f"largest difference: {apart:.1e} to the broadcast, {dense(model, found):.1e} to dense"
        " products in float64"
    )


if __name__ == "__main__":
    main()
