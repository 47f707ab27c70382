"""Gradient descent, for comparison: Adam on the cross-entropy of all facts at once, as in the
literature's protocol."""

import torch
from torch.nn import functional

from loci.progress import Progress, silent
from loci.writing.compiler import start, unit_margin
from loci.writing.mlp import MLP
from loci.writing.table import FactTable

STEPS = 3000
RATE = 1e-2


def adam(
    table: FactTable,
    neurons: int,
    *,
    act: str = "relu",
    gated: bool = False,
    seed: int = 0,
    steps: int = STEPS,
    rate: float = RATE,
    progress: Progress = silent,
) -> MLP:
    """The compiler's MLP from the compiler's start, by Adam: full batch, `steps` steps, or fewer
    where all facts are stored before."""
    table = table.to(torch.float32)
    params = {
        name: t.requires_grad_()
        for name, t in start(table.dim, table.values.shape[1], neurons, gated, True, seed).items()
    }
    solver = torch.optim.Adam(params.values(), lr=rate)
    for _ in range(steps):
        scores = table.scores(MLP(act, **params)(table.keys))
        if bool((scores.detach().argmax(1) == table.labels).all()):
            break
        solver.zero_grad()
        functional.cross_entropy(scores, table.labels).backward()
        solver.step()
        progress(1, steps)
    return unit_margin(table, MLP(act, **params).map(torch.Tensor.detach))
