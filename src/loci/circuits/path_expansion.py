"""Logits as a sum over paths: from a start, through some heads one after another, to the answer.

    x_L = Σ_n x⁽ⁿ⁾        x⁽ⁿ⁾: what has passed exactly n heads; starts are tokens (with positions),
                          biases, and what MLPs wrote
    score = u · x_L + constant,  u = the answer's unembedding through the final norm held

Patterns and norms are held as they were in the run (see `frozen_run`), so with all orders the terms
sum to the logits. In an attention-only model these are all paths; in others MLPs' outputs are taken
as they are, and how they came about is not followed. Orders above `highest` are one remainder.
Single paths are read from the end: a covector is pulled back through head after head, layer by
layer.
Cost: of orders, n_layers · (highest + 1) attentions with held patterns; of single paths, one
pullback for each path of one head less.
Memory of single paths: n_heads^order · positions · d_model floats, stated before the work. Source:
Elhage et al. 2021 (path expansion).
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from math import comb
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.circuits.frozen_run import FrozenRun, freeze
from loci.circuits.nodes import check_top
from loci.errors import CircuitError
from loci.model import Model
from loci.model.answers import answer_row, with_answer
from loci.model.names import head_name
from loci.result import About, Result
from loci.tables import Table, columns

STARTS = ("tokens", "biases", "mlps")
MEMORY = 1.0
"""GiB that single paths may take unless more is said."""


class CircuitPath(NamedTuple):
    """A start, the heads passed in order, and what that adds to the score."""

    start: str
    heads: tuple[str, ...]
    score: float

    def __str__(self) -> str:
        return " → ".join((self.start, *self.heads, "logit"))


class PathOrder(NamedTuple):
    """All paths through so many heads: how many there are from each start, and what they add."""

    heads: int
    paths: int
    starts: dict[str, float]

    @property
    def score(self) -> float:
        return sum(self.starts.values())


@dataclass(frozen=True)
class PathExpansion(Result):
    """The score of an answer's first token at the end of a prompt, by paths."""

    about: ClassVar[About] = About(
        "paths",
        "The answer's score as a sum over paths through heads.",
        "Bars are what all paths through so many heads add.",
        "circuits_paths.paths_figure",
    )

    model: str
    bos: bool
    prompt: str
    tokens: tuple[str, ...]
    answer: str
    against: str | None
    score: float
    """Of the answer's token, less that of `against` where one is said; before any cap."""
    constant: float
    """The part of the score from biases of the final norm and the unembedding."""
    orders: tuple[PathOrder, ...]
    remainder: float
    """Of all orders above the last one listed."""
    sum_error: float
    """The score less the sum of all orders, those in the remainder too."""
    exact: bool
    """Whether these are all paths: no MLP wrote anything."""
    top: tuple[CircuitPath, ...]
    """The strongest single paths, for and against."""

    def summary(self) -> tuple[str, ...]:
        told = ", ".join(f"{order.score:+.2f} through {order.heads}" for order in self.orders)
        return (
            f"Score {self.score:.2f}: {told} heads; the parts sum to it within"
            f" {self.sum_error:.0e}.",
        )

    def title(self) -> str:
        against = f" less {self.against}" if self.against else ""
        return f"{self.prompt} → {self.answer}{against}: score {self.score:.3f}"

    def tables(self) -> tuple[Table, ...]:
        kinds = ("tokens", "biases", "mlps")
        orders = tuple(
            (str(own.heads), own.paths, *(own.starts[kind] for kind in kinds), own.score)
            for own in self.orders
        )
        heads = (
            "heads passed",
            "paths",
            "from tokens|+.3f",
            "biases|+.3f",
            "MLPs|+.3f",
            "sum|+.3f",
        )
        how = "all paths" if self.exact else "MLPs' outputs are starts, not opened"
        return (
            Table(
                "By heads passed",
                columns(*heads),
                orders,
                note=f"constant {self.constant:+.3f}, further orders {self.remainder:+.3f}; {how};"
                " patterns and norms held",
            ),
            Table(
                "The largest paths",
                columns("path", "score|+.3f"),
                tuple((str(path), path.score) for path in self.top),
                shown=12,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        orders = [order._asdict() | {"score": order.score} for order in self.orders]
        top = [path._asdict() for path in self.top]
        return {"schema": "loci.paths/1", **vars(self), "orders": orders, "top": top}


def estimate(model: Model, positions: int, order: int) -> float:
    """GiB that single paths of an order take: the covectors of one tuple of layers, before and
    after the last pullback."""
    return 2.0 * int(model.n_heads**order) * positions * model.d_model * 4 / 2**30


@torch.no_grad()
def paths(
    model: Model,
    prompt: str,
    answer: str,
    *,
    against: str | None = None,
    highest: int | None = None,
    single: int = 2,
    top: int = 20,
    memory: float = MEMORY,
) -> PathExpansion:
    """Split the score of an answer's first token into paths, by the number of heads they pass.

    Args:
        model: an open model; it is left as it was.
        prompt: the text before the answer.
        answer: its first token is scored.
        against: an answer whose first token's logit is subtracted.
        highest: orders told apart; the rest is one remainder. None: all.
        single: most heads of the single paths that are listed.
        top: single paths listed.
        memory: GiB that single paths may take.

    Returns: `PathExpansion`: the score by order, and the strongest single paths.
    Raises: `CircuitError` where single paths would take more than `memory`, with the estimate;
        `FactError` for answers that begin alike.
    Cost: n_layers · (highest + 1) attentions with frozen patterns, and one pullback for each path
        of one head less.
    Source: Elhage et al. 2021.
    """
    check_top(top)
    tokens, (start, _) = with_answer(model, prompt, answer)
    row = answer_row(model, prompt, answer, against)
    highest, single = check_orders(model, start, highest, single, memory)
    frozen = freeze(model, model.ids([tokens.ids[:start]]))
    end, constant = frozen.asked(row), frozen.constant(row)
    terms = by_order(frozen, model.n_layers)
    scores = {name: (stream * end).sum((1, 2, 3)).tolist() for name, stream in terms.items()}
    listed = tuple(
        PathOrder(
            n,
            comb(model.n_layers, n) * model.n_heads**n,
            {name: of[n] for name, of in scores.items()},
        )
        for n in range(highest + 1)
    )
    final = model.module("final_norm")(frozen.last[0, -1].to(model.dtype))
    score = float(model.module("unembed")(final).float() @ row)
    whole = sum(sum(of) for of in scores.values()) + constant
    best = heapq.nlargest(top, single_paths(frozen, end, single), key=lambda path: abs(path.score))
    return PathExpansion(
        model=model.name,
        bos=model.with_bos,
        prompt=prompt,
        tokens=tokens.labels[:start],
        answer=answer,
        against=against,
        score=score,
        constant=constant,
        orders=listed,
        remainder=score - constant - sum(order.score for order in listed),
        sum_error=abs(whole - score),
        exact=not frozen.has_mlps,
        top=tuple(best),
    )


def check_orders(
    model: Model, positions: int, highest: int | None, single: int, memory: float
) -> tuple[int, int]:
    """Orders within what the model has.

    Raises `CircuitError` for negative ones, and for single paths beyond the memory.
    """
    if (highest is not None and highest < 0) or single < 0:
        raise CircuitError("a path passes 0 heads or more")
    single = min(single, model.n_layers)
    needed = estimate(model, positions, single)
    if needed > memory:
        raise CircuitError(
            f"single paths through {single} heads of {model.name!r} would take about {needed:.2g} "
            f"GiB at {positions} positions, and "
            f"{memory:g} GiB are allowed: list shorter ones, or allow more"
        )
    return (model.n_layers if highest is None else min(highest, model.n_layers)), single


def by_order(
    frozen: FrozenRun, highest: int
) -> dict[str, Float[Tensor, "order row position d_model"]]:
    """The last stream split by start and by the number of heads passed, 0 … highest; with
    highest = n_layers the sum is the stream."""
    zero = torch.zeros_like(frozen.start).expand(highest + 1, *frozen.start.shape)
    streams = {name: zero.clone() for name in STARTS}
    streams["tokens"][0] = frozen.start
    for layer in frozen.layers:
        for stream in streams.values():
            if highest:
                stream[1:] += layer.move(stream[:-1])
        streams["biases"][0] += layer.constant
        streams["mlps"][0] += layer.mlp
    return streams


def single_paths(
    frozen: FrozenRun, end: Float[Tensor, "one position d_model"], highest: int
) -> Iterator[CircuitPath]:
    """Every path of at most so many heads, from each start: tokens, all biases below, each MLP
    below."""
    top = len(frozen.layers)
    yield from _valued(frozen, end[None], [()], top)
    yield from _longer(frozen, end[None], [()], top, highest)


def _longer(
    frozen: FrozenRun,
    g: Float[Tensor, "path one position d_model"],
    names: list[tuple[str, ...]],
    below: int,
    more: int,
) -> Iterator[CircuitPath]:
    """Paths that pass one more head, in a layer below those passed, and so on."""
    if not more:
        return
    for layer in range(below):
        back = frozen.layers[layer].back(g).flatten(0, 1)
        passed = [
            (head_name(layer, h), *rest) for h in range(frozen.model.n_heads) for rest in names
        ]
        yield from _valued(frozen, back, passed, layer)
        yield from _longer(frozen, back, passed, layer, more - 1)


def _valued(
    frozen: FrozenRun, g: Tensor, names: list[tuple[str, ...]], layer: int
) -> Iterator[CircuitPath]:
    """The scores of each start below a layer, read by covectors."""
    starts = {"tokens": frozen.start}
    if layer:
        starts["biases"] = torch.stack([below.constant for below in frozen.layers[:layer]]).sum(0)
        starts |= {f"L{index}MLP": below.mlp for index, below in enumerate(frozen.layers[:layer])}
    for name, stream in starts.items():
        for heads, score in zip(names, (g * stream).sum((1, 2, 3)).tolist(), strict=True):
            yield CircuitPath(name, heads, score)
