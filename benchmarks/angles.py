"""All angles of 100,000 vectors in 1,000 dimensions, against the bare blocked matrix products.

    python -m benchmarks.angles [--vectors N] [--dim D] [--runs N]

Both multiply the same blocks of the upper triangle, in one process, in turns; the bare one drops the products. Printed: the ratio of times
(median of the runs), and how far the process grew beyond what it had before there were vectors, which counts the vectors themselves.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from loci.superposition.angles import BLOCK, angles


@torch.no_grad()
def bare(vectors: Tensor) -> None:
    blocks = vectors.split(BLOCK)
    for i, rows in enumerate(blocks):
        for columns in blocks[i:]:
            rows @ columns.T


def seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


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
    times = [(seconds(lambda: bare(vectors)), seconds(lambda: angles(vectors))) for _ in range(asked.runs)]
    ratio = statistics.median(full / plain for plain, full in times)
    shown = statistics.median(full for _, full in times)
    print(
        f"{asked.vectors:,} × {asked.dim:,}: {ratio:.2f}× the bare products ({shown:.0f} s), peak {grown():.0f} MB ({before:.0f} before)"
    )


if __name__ == "__main__":
    main()
