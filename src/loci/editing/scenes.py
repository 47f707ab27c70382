"""The texts in which a target is searched: recorded once, and run again from the edited layer with δ at their subjects.

Lines of many facts stand in one batch with their subjects in one column. What is left of it is as recorded, whatever δ is; so a step
computes the blocks above the edited layer, the columns from the subject on, the lines of the facts that are still searched, and
unembeds the positions that are read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.editing.lines import Line
from loci.model import Model, Recording
from loci.model.model import Mask


@dataclass(frozen=True)
class Scene:
    """Lines in one batch, aligned at their subjects."""

    model: Model
    layer: int
    lines: tuple[Line, ...]
    run: Recording
    start: int
    """The column in which the subjects end."""
    keys: Float[Tensor, "line d_mlp"]
    stream: Float[Tensor, "line d_model"]
    """What the block leaves at the subject."""

    @classmethod
    def of(cls, model: Model, layer: int, lines: Sequence[Line]) -> "Scene":
        """Record the lines. Cost: one forward pass."""
        start = max(line.subject for line in lines)
        ids, mask = _aligned(model, lines, start)
        with model.watch(f"mlp_act.{layer}", f"resid_post.{layer}") as reads:
            run = model.record(ids, mask, past=start > 0)
        keys, stream = (reads[f"{name}.{layer}"][:, start].float() for name in ("mlp_act", "resid_post"))
        return cls(model, layer, tuple(lines), run, start, keys, stream)

    @cached_property
    def facts(self) -> Int[Tensor, " line"]:
        return torch.tensor([line.fact for line in self.lines], device=self.model.device)

    def before(self, at: "Spots") -> Float[Tensor, "spot d_vocab"]:
        """Log-probabilities of the next token as recorded."""
        return self.run.logits[at.lines, self.start + at.columns].float().log_softmax(-1)

    def after(self, delta: Float[Tensor, "fact d_model"], rows: Sequence[int], *at: "Spots") -> Float[Tensor, "spot d_vocab"]:
        """Log-probabilities of the next token at all spots, with δ added to the MLP's output at each line's subject.

        Only the lines `rows` are run; the spots count lines among them.
        """
        added = delta[self.facts[list(rows)]]

        def add(out: Tensor) -> Tensor:
            return torch.cat([out[:, :1] + added[:, None].to(out.dtype), out[:, 1:]], 1)

        resid = self.run.resid_pre(self.layer)[list(rows), self.start :]
        with self.model.patched({f"mlp_raw.{self.layer}": add}):
            for layer in range(self.layer, self.model.n_layers):
                resid = self.run.step(layer, resid, self.start, rows)
        lines, columns = torch.cat([spots.lines for spots in at]), torch.cat([spots.columns for spots in at])
        return self.model.unembed(resid[lines, columns]).float().log_softmax(-1)


class Spots(NamedTuple):
    """The positions of some lines that are read, one after the other."""

    lines: Int[Tensor, " spot"]
    """Counted among the lines that are run."""
    columns: Int[Tensor, " spot"]
    """Counted from the subject's column."""
    facts: Int[Tensor, " spot"]
    tokens: Int[Tensor, " spot"]
    """The token that should follow, or −1."""
    weights: Float[Tensor, " spot"]
    """1 / (positions read in the line · lines of this kind of the fact): what makes a sum a mean of means."""

    @classmethod
    def of(cls, scene: Scene, rows: Sequence[int]) -> "Spots":
        lines = [scene.lines[row] for row in rows]
        spots = [(i, p - line.subject, line.fact) for i, line in enumerate(lines) for p in line.read]
        wanted = [token for line in lines for token in (line.wanted or [-1] * len(line.read))]
        kinds: dict[tuple[int, bool], int] = {}
        for line in lines:
            if line.read:
                kinds[line.fact, bool(line.wanted)] = kinds.get((line.fact, bool(line.wanted)), 0) + 1
        weights = [1 / (len(line.read) * kinds[line.fact, bool(line.wanted)]) for line in lines for _ in line.read]
        columns = torch.tensor(spots, device=scene.model.device).reshape(-1, 3).T
        return cls(*columns, *(torch.tensor(values, device=scene.model.device) for values in (wanted, weights)))

    def chosen(self, which: Tensor) -> "Spots":
        return Spots(*(field[which] for field in self))


def _aligned(model: Model, lines: Sequence[Line], start: int) -> tuple[Tensor, Mask | None]:
    """Ids with padding on both sides, so that all subjects end in the column `start`; the mask is None where nothing is padded."""
    width = start + max(len(line.ids) - line.subject for line in lines)
    pad = model.tokenizer.pad_token_id or 0
    ids = torch.full((len(lines), width), pad)
    mask = torch.zeros_like(ids)
    for row, line in enumerate(lines):
        first = start - line.subject
        ids[row, first : first + len(line.ids)] = torch.tensor(line.ids)
        mask[row, first : first + len(line.ids)] = 1
    return ids.to(model.device), None if mask.all() else mask.to(model.device)
