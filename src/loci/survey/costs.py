"""The cost of a pass, before any weight is loaded: FLOPs, bytes, and seconds at the rate that this
machine shows.

    FLOPs of a token ≈ 2 · matrices of the blocks it passes + 4 · layers · heads · d_head ·
    positions / 2 + the updates
    worker's bytes   = weights + 2 states (one is written or joined) + a batch's activations + the
                     libraries

Seconds are FLOPs by the rate of matrix products of the model's own shapes, measured here for a
moment, and those of the accumulators, which are fed with random activations; the rest of a pass
(norms, attention's softmax, tokenising) is in `SHARE`.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import torch

from loci.model.parameter_counts import census
from loci.model.stored import FLOATS, stored
from loci.model.weights import Weights
from loci.survey.accumulators import Rows
from loci.survey.layer_major import STREAMS
from loci.survey.question import KINDS, Kind, SurveyQuestion, width
from loci.survey.text_pass import WINDOW
from loci.survey.tree import FAN, root

SHARE = 0.5
"""Of the matrix products' rate that a whole pass reaches, about."""
LIBRARIES = 450 * 2**20
"""Of a process that has imported torch and transformers."""
ROUNDS = 3
BATCH = 512
"""Tokens that are fed to an accumulator at a time where it is measured."""
MEASURED = 1024
"""Coordinates up to which it is measured at its own width."""


class Costs(NamedTuple):
    """Of a whole pass."""

    flops: int
    state_bytes: int
    worker_bytes: int
    shared_bytes: int
    """Of these, weights that lie in the file as they are held: mapped into memory, once for all
    workers of a machine.
    """
    disk_bytes: int
    """Of the states that are there at a time: those that are joined go."""
    seconds: float
    """With one worker."""


def costs(
    weights: Weights,
    question: SurveyQuestion,
    tokens: int,
    shards: int,
    batch_tokens: int,
    threads: int,
    device: str,
    *,
    stays: bool = False,
) -> Costs:
    """The cost of a pass over `tokens` tokens in `shards` shards; `stays`: the weights in their
    files. Measures the machine for a fraction of a second.
    """
    state = question.state_bytes(weights)
    forward, update = forward_flops(weights, question.depth(weights)), question.flops(weights)
    size = weights.dtype.itemsize
    widest = max(weights.d_model, 3 * weights.d_mlp if weights.n_layers else 0)
    activations = batch_tokens * (4 * weights.d_model + widest) * max(size, 4)
    held = parts_bytes(weights) if stays else sum(p.numel() for p in weights.hf.parameters()) * size
    worker = LIBRARIES + held + 2 * state + activations
    if stays:
        worker += min(STREAMS, tokens // shards * weights.d_model * size)
    count = min(shards, FAN * root(shards).level) + 1
    dtype = weights.dtype if weights.dtype in (torch.float32, torch.float64) else torch.float32
    reading = forward / (SHARE * rate(weights.d_model, weights.d_mlp, dtype, threads))
    seconds = tokens * (reading + update_seconds(weights, question, threads))
    shared = mapped_bytes(weights) if device == "cpu" and not stays else 0
    return Costs(tokens * (forward + update), state, worker, shared, count * state, seconds)


def update_seconds(weights: Weights, question: SurveyQuestion, threads: int) -> float:
    """That the accumulators take for a token: each is fed here with random activations, of at most
    `MEASURED` coordinates, and scaled by its FLOPs beyond.
    """
    wanted = Counter(
        (kind.name, tuple(kind.settings.items()), width(weights, point))
        for point, kinds in question.points.items()
        for kind in kinds
    )
    with _threads(threads):
        return sum(
            times * _update_seconds(Kind(name, dict(settings)), coordinates)
            for (name, settings, coordinates), times in wanted.items()
        )


def _update_seconds(kind: Kind, coordinates: int) -> float:
    measured = min(coordinates, MEASURED)
    values = torch.randn(BATCH, measured, generator=torch.Generator().manual_seed(0))
    accumulator, best = kind.make(), float("inf")
    for number in range(1 + ROUNDS):
        rows = Rows(torch.tensor([number]), torch.ones(1, dtype=torch.long))
        started = time.perf_counter()
        accumulator.update(values[None], rows)
        best = min(best, time.perf_counter() - started) if number else best
    flops = KINDS[kind.name].flops
    return best / BATCH * flops(coordinates) / flops(measured)


def parts_bytes(weights: Weights) -> int:
    """Of the largest block, embedding and unembedding: what is in memory of weights that stay in
    their files.
    """
    size = weights.dtype.itemsize
    blocks = [sum(p.numel() for p in block.parameters()) for block in weights.blocks]
    ends = (1 if weights.tied else 2) * weights.d_vocab * weights.d_model
    return size * (max(blocks, default=0) + ends)


def mapped_bytes(weights: Weights) -> int:
    """Bytes of the weights that are stored in the dtype in which they are held."""
    checkpoint = stored(weights.source.folder) if weights.source is not None else None
    if checkpoint is None or not checkpoint.safe:
        return 0
    alike = [
        tensor
        for tensor in checkpoint.tensors.values()
        if FLOATS.get(tensor.dtype) == weights.dtype
    ]
    return sum(tensor.stop - tensor.start for tensor in alike)


def forward_flops(weights: Weights, depth: int) -> int:
    """Of one token through so many blocks, embedding left out: it is looked up."""
    counts = census(weights)
    through = depth / max(1, counts.layers)
    matrices = counts.flops_per_token["matrices"] - 2 * counts.vocabulary * counts.d_model
    positions = min(WINDOW, counts.context or WINDOW)
    attending = 2 * counts.layers * counts.heads * counts.d_head * positions
    return round(through * (matrices + attending))


def rate(d_in: int, d_out: int, dtype: torch.dtype, threads: int) -> float:
    """FLOPs a second of x W with 512 tokens, the best of some: [512, d_in] · [d_in, d_out]."""
    with _threads(threads):
        x = torch.ones(512, min(d_in, 4096), dtype=dtype)
        W = torch.ones(min(d_in, 4096), min(d_out, 4096), dtype=dtype)
        return max(_timed(x, W) for _ in range(ROUNDS))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _timed(x: torch.Tensor, W: torch.Tensor) -> float:
    flops, done, started = 2 * x.shape[0] * W.numel(), 0, time.perf_counter()
    while time.perf_counter() - started < 0.02:
        x @ W
        done += flops
    return done / (time.perf_counter() - started)


def free_bytes() -> int | None:
    """Memory that this machine can give, within the limit of its control group; None where it does
    not say.
    """
    limits = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits += [
            1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")
        ]
    with suppress(OSError, ValueError):
        most = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        limits += [int(most)] if most.isdecimal() else []
    return min(limits, default=None)
