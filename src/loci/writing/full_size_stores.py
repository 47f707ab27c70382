"""The gate's block at the true size of a model: a neuron a fact, built in place in bfloat16.

Fact i is a first name and a last name with an answer: W_up's row is the sum of the names'
directions, W_down's column the answer's; directions are random signs / √d. With c the largest
cosine of two names, a wrong name reaches 1 + 3c at most (two names in common are the same fact; one
gives 1, and the other three products c each), so the bias −(1 + 3c) closes all gates but one. A
sample of names is run through the whole block, in chunks of rows that are widened to float32 for
the product; the down projection reads the active neurons alone.

Cost: 2 bytes for each of 2 · d · neurons weights, and names · d · neurons multiplications. GPT-3:
49,152 × 12,288, 2.4 GB.
"""

import resource
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import WriteError
from loci.progress import Progress, silent
from loci.result import About, Grade, Result
from loci.stats import Estimate, mean, percent, share
from loci.tables import Table, columns

SIZES = {"gpt2": (768, 3072), "gpt2-xl": (1600, 6400), "gpt3": (12288, 49152)}
"""d_model and neurons a layer, as published."""
ROWS = 2048
ANSWERS = 1024


@dataclass(frozen=True)
class FullSize(Result):
    """One block of one-neuron facts, asked for a sample of them."""

    about: ClassVar[About] = About(
        "a block of gates",
        "The gate's block at a model's true size: a neuron a fact.",
    )

    size: str
    d_model: int
    facts: int
    answers: int
    cosine: float
    bias: float
    recall: Estimate
    single: Estimate
    """Share of single names (a first name alone) at which some neuron is active."""
    active: Estimate
    """Share of neurons that are active at a full name."""
    build_seconds: float
    seconds: float
    weights_bytes: int
    peak_bytes: int
    """The largest resident size of the process so far, all else included."""

    def summary(self) -> tuple[str, ...]:
        return (
            f"Full names answered: {percent(self.recall)}; first names alone that open a gate:"
            f" {percent(self.single)}.",
        )

    def grade(self) -> Grade:
        return "good" if self.recall.value == 1 and self.single.value == 0 else "bad"

    def title(self) -> str:
        return f"{self.facts:,} facts, one a neuron: {self.size}, {self.d_model:,} wide, bfloat16"

    def tables(self) -> tuple[Table, ...]:
        rows = (
            ("full names answered", self.recall, self.recall.n),
            ("first names alone that open a gate", self.single, self.single.n),
        )
        cost = (
            ("neurons active at a name", f"{self.active.value:.5%}"),
            ("built in", f"{self.build_seconds:.1f} s"),
            ("asked in", f"{self.seconds:.1f} s"),
            ("weights", f"{self.weights_bytes / 1e6:,.1f} MB"),
            ("the process at most", f"{self.peak_bytes / 1e6:,.1f} MB"),
        )
        return (
            Table("Asked", columns("", "share|.1%", "n"), rows),
            Table("Cost", columns("", ""), cost),
        )

    def to_dict(self) -> dict[str, Any]:
        estimates = {name: getattr(self, name).to_dict() for name in ("recall", "single", "active")}
        return {"schema": "loci.gate_size/1", **vars(self), **estimates}


def full_size(
    size: str = "gpt3", names: int = 128, *, seed: int = 0, progress: Progress = silent
) -> FullSize:
    """Build one MLP block of a published model's size with facts in it, and ask it for some of
    them.

    Args:
        size: a key of `SIZES`.
        names: facts asked.
        seed: seed of every random draw.
        progress: called with (steps done, steps in all).

    Returns: `FullSize`.
    Raises: `WriteError` for an unknown size.
    """
    if size not in SIZES:
        raise WriteError(f"there is no size {size!r}: {', '.join(SIZES)}")
    d_model, facts = SIZES[size]
    if not 1 <= names <= facts:
        raise WriteError(f"names to ask for: 1 … {facts}, not {names}")
    started = time.perf_counter()
    block = _Block.build(d_model, facts, torch.Generator().manual_seed(seed))
    built = time.perf_counter()
    asked = torch.randperm(facts, generator=torch.Generator().manual_seed(seed + 1))[:names]
    full = block.up(block.names(asked), progress)
    single = block.up(block.firsts[asked // len(block.lasts)].float(), progress)
    recalled = (block.down(full) @ block.directions.float().T).argmax(1)
    done = time.perf_counter()
    return FullSize(
        size=size,
        d_model=d_model,
        facts=facts,
        answers=len(block.directions),
        cosine=block.cosine,
        bias=block.bias,
        recall=share((recalled == block.answer_of(asked)).float().tolist()),
        single=share((single > 0).any(1).float().tolist()),
        active=mean((full > 0).float().mean(1).tolist()),
        build_seconds=built - started,
        seconds=done - built,
        weights_bytes=2 * block.W_up.nbytes,
        peak_bytes=peak_bytes(),
    )


@dataclass(frozen=True)
class _Block:
    firsts: Float[Tensor, "first d"]
    lasts: Float[Tensor, "last d"]
    directions: Float[Tensor, "answer d"]
    W_up: Float[Tensor, "neuron d"]
    W_down: Float[Tensor, "neuron d"]
    """By columns: neuron i writes row i, so that active ones are read without the others."""
    cosine: float

    @classmethod
    def build(cls, d_model: int, facts: int, source: torch.Generator) -> "_Block":
        count = 1 << (facts.bit_length() // 2)
        firsts, lasts, answers = (
            signs(rows, d_model, source)
            for rows in (-(-facts // count), count, min(ANSWERS, facts))
        )
        W_up, W_down = (torch.empty(facts, d_model, dtype=torch.bfloat16) for _ in range(2))
        for start in range(0, facts, ROWS):
            rows = torch.arange(start, min(start + ROWS, facts))
            torch.add(firsts[rows // count], lasts[rows % count], out=W_up[rows[0] : rows[-1] + 1])
            W_down[rows[0] : rows[-1] + 1] = answers[rows % len(answers)]
        names = torch.cat([firsts, lasts]).float()
        cosine = float((names @ names.T).fill_diagonal_(0).abs().max())
        return cls(firsts, lasts, answers, W_up, W_down, cosine)

    @property
    def bias(self) -> float:
        return -(1 + 3 * self.cosine)

    def names(self, facts: Tensor) -> Float[Tensor, "name d"]:
        return (
            self.firsts[facts // len(self.lasts)].float()
            + self.lasts[facts % len(self.lasts)].float()
        )

    def answer_of(self, facts: Tensor) -> Tensor:
        return facts % len(self.directions)

    def up(
        self, stream: Float[Tensor, "name d"], progress: Progress
    ) -> Float[Tensor, "name neuron"]:
        parts = []
        for rows in self.W_up.split(ROWS):
            parts.append(torch.relu(stream @ rows.float().T + self.bias))
            progress(1, 2 * -(-len(self.W_up) // ROWS))
        return torch.cat(parts, 1)

    def down(self, neurons: Float[Tensor, "name neuron"]) -> Float[Tensor, "name d"]:
        """The sum of the active neurons' columns; the others are not read."""
        return torch.stack(
            [row[on] @ self.W_down[on].float() for row in neurons for on in [row.nonzero()[:, 0]]]
        )


def signs(rows: int, dim: int, source: torch.Generator) -> Float[Tensor, "row d"]:
    """Random signs / √d: unit vectors that are nearly perpendicular, and stay so in bfloat16."""
    drawn = torch.randint(0, 2, (rows, dim), generator=source, dtype=torch.int8) * 2 - 1
    units: Tensor = drawn.to(torch.bfloat16) / dim**0.5
    return units


def peak_bytes() -> int:
    """The largest resident size of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
