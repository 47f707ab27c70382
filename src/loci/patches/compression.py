"""A patch of smaller rank: the nearest one, by the singular values of its factors; no dense product
is formed.
"""

from typing import Any

from loci.patches.factors import distance, truncated
from loci.patches.patch import Patch, lineage


def compress(patch: Patch, rank: int) -> Patch:
    """The patch with every change cut to `rank`. `numbers["error"]`: ‖Δ − Δ'‖ / ‖Δ‖ by weight, of
    what is written (float32).
    """
    patch.check_factors_only("compressed")
    factors = {name: truncated(f, rank) for name, f in patch.factors.items()}
    numbers: dict[str, Any] = {
        "parents": lineage(patch),
        "rank": {name: f.rank for name, f in factors.items()},
        "error": {name: distance(patch.factors[name], f) for name, f in factors.items()},
    }
    return Patch("compress", patch.base, patch.base_name, factors, patch.facts, numbers)
