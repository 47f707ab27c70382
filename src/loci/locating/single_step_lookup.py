"""Is a name looked up in a single step, by neurons that are ANDs of its first and its last part?

For every first part A and last part B of two-part names, s(AB) is what a probe of the answer reads
off the name's last token. What is not a sum of what A and B say by themselves is the non-linear
excess, with means over all other parts:

    T = s(AB) − E[s(¬A B)] − E[s(A ¬B)] + E[s(¬A ¬B)]

The stream is a sum, so T splits exactly into parts by layer: attention, MLPs. If a single step did
it, the MLPs' inputs would still be sums of an A and a B part, and all of the excess would arise at
their non-linearity. That is what is asked of each layer:

    step = p · [MLP(E[pre(¬A B)] + E[pre(A ¬B)] − E[pre(¬A ¬B)]) − E[MLP(¬A B)] − E[MLP(A ¬B)] +
    E[MLP(¬A ¬B)]]

with p the probe and pre what the neurons' non-linearity takes. Σ step / T is the share that single
ANDs explain: 1 if each fact has its neuron (the gate of the lesson), 23 % (median) published for
Pythia 2.8B. Source: Nanda et al. 2023 (Fact Finding), post 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact
from loci.locating.probing import others, readout, states, subjects_of
from loci.locating.two_token_names import in_context, name_tokens
from loci.model import Model, by_length
from loci.model.hooks import instead
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, median

Grid = Float[Tensor, "first last width"]


@dataclass(frozen=True)
class SingleStep(Result):
    """For each two-part name: the probe's excess, and its parts by layer."""

    about: ClassVar[About] = About(
        "",
        "",
        "",
        "lookup.part_figure",
    )

    model: str
    bos: bool
    relation: str | None
    read_after: int
    """The layer after which the probe reads."""
    names: tuple[str, ...]
    excess: tuple[float, ...]
    start: tuple[float, ...]
    """The part of what stands in the stream before the first layer (positions)."""
    attn: Float[Tensor, "name layer"]
    mlp: Float[Tensor, "name layer"]
    step: Float[Tensor, "name layer"]
    left_out: int
    """Names whose excess is not positive: there is nothing to explain."""

    @property
    def share(self) -> Estimate:
        """Median over names of the share of the excess that single steps explain."""
        return median(
            [float(step.sum()) / total for step, total in zip(self.step, self.excess, strict=True)]
        )

    @property
    def mlp_share(self) -> Estimate:
        """Median share of the excess that all MLPs write, however it came about."""
        return median(
            [float(mlp.sum()) / total for mlp, total in zip(self.mlp, self.excess, strict=True)]
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name)
            for name in ("model", "bos", "relation", "read_after", "left_out")
        }
        lists = {name: list(getattr(self, name)) for name in ("names", "excess", "start")}
        parts = {name: getattr(self, name).tolist() for name in ("attn", "mlp", "step")}
        shares = {
            "share": self.share.to_dict(),
            "mlp_share": self.mlp_share.to_dict(),
            "mean_excess": mean(self.excess).to_dict(),
        }
        return {"schema": "loci.single_step/1", **plain, **lists, **parts, **shares}


@torch.no_grad()
def single_step(
    model: Model,
    facts: Sequence[Fact],
    *,
    count: int = 24,
    read_after: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> SingleStep:
    """The single-step test on `count` two-part names of one relation, read after the layer where
    names alone are read best, if none is said.

    Each name is read by a probe that never saw it. Cost: count² short runs a layer. Raises
    `FactError` for fewer than four two-part names, `ModelError` where an MLP has no single neurons
    (mixtures of experts).
    """
    if read_after is not None and not 0 <= read_after < model.n_layers:
        raise FactError(f"layers are 0 … {model.n_layers - 1}, not {read_after}")
    model.place("mlp_pre.0")
    task = subjects_of(facts, seed=seed)
    names = [name_tokens(model, in_context(fact)) for fact in task.facts]
    bos = names[0][0][: model.special]
    by_layer = states(model, [(*bos, *name) for _, name in names])[:, 1:]
    if read_after is None:
        read_after = max(
            range(model.n_layers), key=lambda layer: task.accuracy(by_layer[:, layer]).value
        )
    alone = by_layer[:, read_after]
    parts = {
        i: part for i, fact in enumerate(task.facts) if (part := _split(model, fact)) is not None
    }
    chosen = list(parts)[:count]
    if len(chosen) < 4:
        raise FactError(
            f"the single-step test needs four names of two parts, and these {len(task.facts)}"
            f" subjects have {len(chosen)}"
        )
    probes = torch.empty(len(chosen), model.d_model, dtype=torch.float64)
    for row, i in enumerate(chosen):
        train = others(next(held for held in task.parts if i in held), len(alone))
        probes[row] = readout(alone[train], task.labels[train], len(task.answers))[0][
            :, task.labels[i]
        ]
    grid = _Grid(
        model, [[(*bos, *parts[i][0], *parts[j][1]) for j in chosen] for i in chosen], probes
    )
    start, total = grid.excess("resid_pre.0", f"resid_post.{read_after}")
    outputs: dict[str, list[Tensor]] = {"attn": [], "mlp": [], "step": []}
    for layer in range(read_after + 1):
        for name, excess in zip(outputs, grid.layer(layer), strict=True):
            outputs[name].append(excess)
        progress(1, read_after + 1)
    answered = total > 0
    stacked = {name: torch.stack(rows, 1)[answered] for name, rows in outputs.items()}
    return SingleStep(
        model=model.name,
        bos=model.with_bos,
        relation=task.relation,
        read_after=read_after,
        names=tuple(task.facts[i].subject for row, i in enumerate(chosen) if answered[row]),
        excess=tuple(total[answered].tolist()),
        start=tuple(start[answered].tolist()),
        left_out=int((~answered).sum()),
        **stacked,
    )


def _split(model: Model, fact: Fact) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """A name's tokens in two parts at its one blank; None for names of another form."""
    asked = in_context(fact)
    before, name = name_tokens(model, asked)
    start, end = asked.subject_span
    blank = asked.subject.find(" ")
    if blank < 1 or asked.subject.count(" ") != 1:
        return None
    last = model.tokenize(asked.text).span((start + blank + 1, end))[0] - len(before)
    return (name[:last], name[last:]) if 0 < last < len(name) else None


class _Grid:
    """All first parts with all last parts, and the probe of each name on the diagonal."""

    def __init__(
        self, model: Model, ids: list[list[tuple[int, ...]]], probes: Float[Tensor, "name d_model"]
    ) -> None:
        self.model, self.size, self.probes = model, len(ids), probes
        self.ids = [text for row in ids for text in row]

    def at(self, *points: str) -> dict[str, Grid]:
        """Points at the last token of every name of the grid, from one run of it."""
        by_point: dict[str, dict[int, Tensor]] = {point: {} for point in points}
        for batch in by_length(self.ids, len, 8192):
            reads = self.model.read(self.model.ids([self.ids[i] for i in batch]), *points)
            for point in points:
                by_point[point] |= dict(zip(batch, reads[point][:, -1].double().cpu(), strict=True))
        names = range(len(self.ids))
        return {
            point: torch.stack([rows[i] for i in names]).unflatten(0, (self.size, self.size))
            for point, rows in by_point.items()
        }

    def excess(self, *points: str) -> list[Float[Tensor, " name"]]:
        """p · (AB − ¬A B − A ¬B + ¬A ¬B) of points that are parts of the stream."""
        return [
            self._read(grid.diagonal().T - self._sum(grid)) for grid in self.at(*points).values()
        ]

    def layer(
        self, layer: int
    ) -> tuple[Float[Tensor, " name"], Float[Tensor, " name"], Float[Tensor, " name"]]:
        """A layer's part of the excess by attention, by its MLP, and what the MLP makes of inputs
        that are sums of both parts.
        """
        stems = ("mlp_pre", "mlp_up") if self.model.gated else ("mlp_pre",)
        attn, mlp, *pre = self.at(
            *(f"{stem}.{layer}" for stem in ("attn_out", "mlp_out", *stems))
        ).values()
        sums = {f"{stem}.{layer}": self._sum(grid) for stem, grid in zip(stems, pre, strict=True)}
        parts = self._sum(mlp)
        return (
            self._read(attn.diagonal().T - self._sum(attn)),
            self._read(mlp.diagonal().T - parts),
            self._read(self._mlp(layer, sums) - parts),
        )

    def _read(self, vectors: Float[Tensor, "name d_model"]) -> Float[Tensor, " name"]:
        """The value of each name's probe on its vector."""
        return (vectors * self.probes).sum(-1)

    def _sum(self, grid: Grid) -> Float[Tensor, "name width"]:
        """The diagonal as a sum of parts predicts it: ¬A B + A ¬B − ¬A ¬B, means over the other
        parts.
        """
        n, diagonal = self.size, grid.diagonal().T
        first, last, both = grid.sum(0), grid.sum(1), grid.sum((0, 1))
        without = (both - first - last + diagonal) / (n - 1) ** 2
        return (first - diagonal) / (n - 1) + (last - diagonal) / (n - 1) - without

    def _mlp(self, layer: int, pre: dict[str, Tensor]) -> Float[Tensor, "name d_model"]:
        """The output of the model's own MLP when its neurons' pre-activations are these."""
        ids = self.model.ids([self.ids[0][:1]] * self.size)
        with self.model.patched({name: instead(value[:, None]) for name, value in pre.items()}):
            out = self.model.read(ids, f"mlp_out.{layer}")[f"mlp_out.{layer}"]
        last: Tensor = out[:, 0].double().cpu()
        return last
