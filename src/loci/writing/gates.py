"""The gate that one can hold: an MLP neuron that knows who Michael Jordan is (the lesson's block).

    row    R = M + J        bias −1        neuron = act(R · E − 1)        ΔE = neuron · (B + Chicago
                                                                          Bulls + 23)

M, J, … are directions: E encodes "first name Michael" if M · E = 1. Attention has put both names on
one token, so the full name is E = M + J, R · E = 2 and the neuron is 1; with one name R · E = 1 and
it is 0. So an MLP can store a fact in one neuron. Real ones do not: see the single-step test of
`loci.locating`.

Where directions are only nearly perpendicular, with cosine c, one name leaks c and the full name
gives 1 + 2c:
    R · M − 1 = (M + J) · M − 1 = c        R · (M + J) − 1 = 2(1 + c) − 1 = 1 + 2c
The bias −(1 + c) closes the gate again. With GELU it never quite closes. Source: 3Blue1Brown, Deep
Learning chapter 7 (2024).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import WriteError
from loci.result import About, Grade, Result
from loci.stats import Estimate, mean, percent, share
from loci.tables import Table, columns
from loci.writing.mlp import MLP
from loci.writing.table import FactTable

NAMES = {
    "Michael Jordan": (1, 1),
    "Michael Phelps": (1, 0),
    "Alexis Jordan": (0, 1),
    "Alexis Phelps": (0, 0),
}
WRITES = ("basketball", "Chicago Bulls", "23")
DIM = 5
MANY = ((20, 20, 64), (20, 20, 1024))
CLOSED = 1e-12


class GateCase(NamedTuple):
    """One name at the gate."""

    name: str
    first: int
    last: int
    pre: float
    """R · E + bias."""
    neuron: float
    writes: dict[str, float]
    """The coordinate of ΔE along each direction that the neuron writes."""


@dataclass(frozen=True)
class Step:
    """The truth table of one gate."""

    title: str
    act: str
    cosine: float
    bias: float
    cases: tuple[GateCase, ...]

    @property
    def clean(self) -> bool:
        """Whether only the full name opens the gate."""
        return all(
            (abs(case.neuron) > CLOSED) == bool(case.first and case.last) for case in self.cases
        )


class Many(NamedTuple):
    """Many gates over shared names in one block: a first and a last name each, one neuron a
    fact."""

    facts: int
    firsts: int
    lasts: int
    dim: int
    bias: float
    cosine: float
    """The largest |cosine| of two names' directions."""
    recall: Estimate
    active: Estimate
    """Share of neurons that are active at a full name."""
    leaks: float
    """The largest activation of a neuron whose fact was not asked for, with the asked one's as
    1."""


@dataclass(frozen=True)
class Gate(Result):
    """The lesson, step by step."""

    about: ClassVar[About] = About(
        "a neuron one can hold",
        "One neuron that knows who Michael Jordan is: its row asks for both names, its "
        "bias shuts out one alone, its column writes the answer.",
        "Grey: what the row and the bias make of each name. Blue: the neuron after its "
        "non-linearity. Orange: what it writes. An AND is clean where only the full "
        "name has blue and orange bars. Hatched: many such gates in one block.",
        "writing.gate_figure",
    )

    steps: tuple[Step, ...]
    many: tuple[Many, ...]

    def summary(self) -> tuple[str, ...]:
        clean = [step.title for step in self.steps if step.clean]
        leaky = [step.title for step in self.steps if not step.clean]
        worst = min(self.many, key=lambda many: many.recall.value)
        words = (
            f"Only the full name opens the gate in {len(clean)} of {len(self.steps)} settings"
            f" ({'; '.join(clean)})."
        )
        if leaky:
            words += f" It leaks in: {'; '.join(leaky)}."
        words += (
            f" Of {worst.facts} gates in {worst.dim} dimensions at bias {worst.bias:+.2f},"
            f" {percent(worst.recall)} answer right."
        )
        return (words,)

    def grade(self) -> Grade:
        return "good" if all(step.clean for step in self.steps) else "mixed"

    def tables(self) -> tuple[Table, ...]:
        return (*map(_step_table, self.steps), self._many())

    def _many(self) -> Table:
        heads = ("facts", "dimensions", "largest cosine|.2f", "bias|+.2f", "recall|.1%")
        rows = tuple(
            (str(own.facts), own.dim, own.cosine, own.bias, own.recall, own.active.value, own.leaks)
            for own in self.many
        )
        return Table(
            "Many facts, one neuron each",
            columns(*heads, "neurons active|.2%", "largest leak|.2f"),
            rows,
            note="An existence proof: real models do not store facts one a neuron. Ask yours: loci"
            " lookup RELATION",
        )

    def to_dict(self) -> dict[str, Any]:
        steps = [
            {**vars(step), "cases": [case._asdict() for case in step.cases], "clean": step.clean}
            for step in self.steps
        ]
        many = [
            {**m._asdict(), "recall": m.recall.to_dict(), "active": m.active.to_dict()}
            for m in self.many
        ]
        return {"schema": "loci.gate/1", "steps": steps, "many": many}


def _step_table(step: Step) -> Table:
    """A step's row, bias and neuron on each name, as a table."""
    writes = (f"{name}|+.2f" for name in step.cases[0].writes)
    heads = ("", "M·E", "J·E", "row·E + bias|+.2f", "neuron|+.2f")
    return Table(
        f"{step.title}: {step.act}, bias {step.bias:+.2f}",
        columns(*heads, *writes),
        tuple(
            (own.name, own.first, own.last, own.pre, own.neuron, *own.writes.values())
            for own in step.cases
        ),
        note="an AND: only the full name writes" if step.clean else "no clean AND",
    )


def gate(
    cosine: float = 0.1, *, many: Sequence[tuple[int, int, int]] = MANY, seed: int = 0
) -> Gate:
    """One neuron that is active for a first name and a last name together, and many of them at
    once.

    First with perpendicular names, with names at a cosine c, mended, and with GELU; then many gates
    with the bias −1, and with the bias −(1 + 3c) that shuts out every wrong name (where c is large,
    right ones too).

    Args:
        cosine: between names, 0 ≤ c < 1.
        many: (first names, last names, dimensions) of each crowd.
        seed: seed of every random draw.

    Returns: `Gate`.
    Raises: `WriteError` for a cosine outside [0, 1) and for sizes that make no names.
    """
    if not 0 <= cosine < 1:
        raise WriteError(
            f"the cosine of two names lies in [0, 1), not {cosine}: at 1 they are one direction"
        )
    steps = (
        step("perpendicular names", "relu", 0.0, -1.0),
        step(f"names at cosine {cosine:g}: one name leaks", "relu", cosine, -1.0),
        step("mended by the bias −(1 + c)", "relu", cosine, -(1 + cosine)),
        step("perpendicular names, GELU", "gelu", 0.0, -1.0),
    )
    worlds = [_Names.random(*sizes, seed) for sizes in many]
    return Gate(
        steps,
        tuple(names.many(bias) for names in worlds for bias in (-1.0, -(1 + 3 * names.cosine))),
    )


def step(title: str, act: str, cosine: float, bias: float) -> Step:
    """The truth table of one gate, run as an MLP."""
    M, J, *written = directions(cosine)
    mlp = gates((M + J)[None], sum(written)[None], bias, act)
    names = torch.tensor(list(NAMES.values()), dtype=torch.float64) @ torch.stack([M, J])
    pre, neurons, change = mlp.pre(names), mlp.neurons(names), mlp(names)
    writes = (change @ torch.stack(written).T).tolist()
    cases = (
        GateCase(
            name, *has, float(pre[i]), float(neurons[i]), dict(zip(WRITES, writes[i], strict=True))
        )
        for i, (name, has) in enumerate(NAMES.items())
    )
    return Step(title, act, cosine, bias, tuple(cases))


def directions(cosine: float) -> Float[Tensor, "5 5"]:
    """Michael, Jordan (at this cosine), and three directions perpendicular to both, as rows of
    unit length."""
    rows = torch.eye(DIM, dtype=torch.float64)
    rows[1, :2] = torch.tensor([cosine, (1 - cosine**2) ** 0.5], dtype=torch.float64)
    return rows


def gates(
    rows: Float[Tensor, "neuron d"],
    values: Float[Tensor, "neuron d"],
    bias: float,
    act: str = "relu",
) -> MLP:
    """A neuron for each row, which writes its value."""
    return MLP(act, rows, values.T, torch.full((len(rows),), bias, dtype=rows.dtype))


class _Names(NamedTuple):
    """Directions of first and last names, and of the answers of their pairs."""

    firsts: Float[Tensor, "first d"]
    lasts: Float[Tensor, "last d"]
    answers: Float[Tensor, "pair d"]

    @classmethod
    def random(cls, firsts: int, lasts: int, dim: int, seed: int) -> "_Names":
        if min(firsts, lasts) < 1 or firsts * lasts < 2 or dim < 2:
            raise WriteError(
                f"{firsts} first and {lasts} last names in {dim} dimensions are no facts: two of "
                "two dimensions at least"
            )
        source = torch.Generator().manual_seed(seed)
        rows = torch.randn(
            firsts + lasts + firsts * lasts, dim, generator=source, dtype=torch.float64
        )
        rows = rows / rows.norm(dim=1, keepdim=True)
        return cls(rows[:firsts], rows[firsts : firsts + lasts], rows[firsts + lasts :])

    @property
    def full(self) -> Float[Tensor, "pair d"]:
        return (self.firsts[:, None] + self.lasts).flatten(0, 1)

    @property
    def cosine(self) -> float:
        rows = torch.cat([self.firsts, self.lasts])
        return float((rows @ rows.T).fill_diagonal_(0).abs().max())

    def many(self, bias: float) -> Many:
        full = self.full
        mlp = gates(full, self.answers, bias)
        table = FactTable(full, self.answers, torch.arange(len(full)))
        neurons, margins = mlp.neurons(full), table.margins(mlp(full))
        others = neurons.clone().fill_diagonal_(0)
        return Many(
            facts=len(full),
            firsts=len(self.firsts),
            lasts=len(self.lasts),
            dim=full.shape[1],
            bias=bias,
            cosine=self.cosine,
            recall=share((margins > 0).double().tolist()),
            active=mean((neurons > 0).double().mean(1).tolist(), seed=0),
            leaks=float((others.amax(1) / neurons.diagonal().clamp_min(1e-12)).max()),
        )
