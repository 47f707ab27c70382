"""All angles of 100,000 vectors in 1,000 dimensions, against the bare blocked matrix products.

    python -m benchmarks.angles [--vectors N] [--dim D] [--runs N]

Both multiply the same blocks of the upper triangle, in one process, in turns; the bare one drops
the products. Printed: the ratio of times (median of the runs) by the clock and by processor time,
which other work on the machine disturbs less; and the process's peak memory, the vectors and torch
itself in it.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from loci.studies.superposition.pairwise_angles import BLOCK, angles


@torch.no_grad()
def bare(vectors: Tensor) -> None:
    blocks = vectors.split(BLOCK)
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            rows @ columns.T


def seconds(job: Callable[[], object]) -> tuple[float, float]:
    """By the clock, and by the processor."""
    start, used = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - start, time.process_time() - used


def grown() -> float:
    """Peak memory of this process, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    before = grown()
    vectors = torch.randn(asked.vectors, asked.dim, generator=torch.Generator().manual_seed(0))
    times = [
        (seconds(lambda: bare(vectors)), seconds(lambda: angles(vectors)))
        for _ in range(asked.runs)
    ]
    clock, processor = (
        statistics.median(full[i] / plain[i] for plain, full in times) for i in range(2)
    )
    shown = statistics.median(full[0] for _, full in times)
    print(
        f"{asked.vectors:,} × {asked.dim:,}: {clock:.2f}× the bare products by the clock"
        f" ({shown:.0f} s), {processor:.2f}× by processor time, peak {grown():.0f} MB ({before:.0f}"
        " before)"
    )


if __name__ == "__main__":
    main()
