"""The texts in which targets are searched: recorded once, and run again from the edited layer with
δ at their subjects.

Lines of many facts stand in one batch with their subjects in one column. What is left of it is as
recorded, whatever δ is; so a step computes the blocks above the edited layer, the columns from the
subject to the last that is read, the lines of the facts that are still searched, and unembeds the
positions that are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.editing.lines import Line
from loci.editing.vocabulary import Vocabulary
from loci.model import Model, Recording
from loci.model.tokenised import Mask

WIDTHS = (3, 6, 9, 13)
"""Columns of the scenes into which lines are sorted, so that little is padded; a last one takes the
longer lines.
"""


class Spots(NamedTuple):
    """The positions of some lines that are read, one after the other."""

    lines: Int[Tensor, " spot"]
    """Counted among the lines that are run."""
    columns: Int[Tensor, " spot"]
    """Counted from the subject's column."""
    facts: Int[Tensor, " spot"]
    tokens: Int[Tensor, " spot"]
    """The column of the token that should follow, or −1."""
    weights: Float[Tensor, " spot"]
    """The line's weight / positions read in it."""
    rest: Float[Tensor, " spot"]
    """What the tokens weigh that have no column of their own (`Vocabulary`)."""

    def chosen(self, which: Tensor) -> "Spots":
        return Spots(*(field[which] for field in self))


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
    stream: Float[Tensor, "line column d_model"]
    """What the edited block leaves from the subject on."""
    size: Float[Tensor, "line 1"]
    """What δ is measured by: the norm of the stream at the subject, or of the MLP's output where a
    norm stands behind it.
    """
    facts: Int[Tensor, " line"]
    vocabulary: Vocabulary

    @classmethod
    def of(cls, model: Model, layer: int, lines: Sequence[Line], vocabulary: Vocabulary) -> "Scene":
        """Record the lines. Cost: one forward pass."""
        start = max(line.subject for line in lines)
        ids, mask = _aligned(model, lines, start)
        with model.watch(f"mlp_act.{layer}", f"mlp_raw.{layer}", f"resid_post.{layer}") as reads:
            run = model.record(ids, mask, past=start > 0, logits=False)
        facts = torch.tensor([line.fact for line in lines], device=model.device)
        keys, stream = (
            reads[f"mlp_act.{layer}"][:, start].float(),
            reads[f"resid_post.{layer}"][:, start:],
        )
        size = reads[f"mlp_raw.{layer}"][:, start] if model.layout.mlp_post else stream[:, 0]
        return cls(
            model,
            layer,
            tuple(lines),
            run,
            start,
            keys,
            stream,
            size.float().norm(dim=-1, keepdim=True),
            facts,
            vocabulary,
        )

    def spots(self, rows: Sequence[int]) -> Spots:
        """Where some lines are read."""
        lines = [self.lines[row] for row in rows]
        where = [
            (i, p - line.subject, line.fact) for i, line in enumerate(lines) for p in line.read
        ]
        tokens = [
            self.vocabulary.place(token)
            for line in lines
            for token in line.wanted or [-1] * len(line.read)
        ]
        weights = [line.weight / len(line.read) for line in lines for _ in line.read]
        row, column, fact = torch.tensor(where, device=self.model.device).T
        follow, weight = (
            torch.tensor(values, device=self.model.device) for values in (tokens, weights)
        )
        return Spots(row, column, fact, follow, weight, self.vocabulary.rest(lines))

    def after(
        self, delta: Float[Tensor, "fact d_model"], rows: Sequence[int], at: Spots
    ) -> Float[Tensor, "spot columns"]:
        """Log-probabilities of the next token at the spots, with δ added to the MLP's output at
        each line's subject.

        Only the lines `rows` are run; the spots count lines among them.
        """
        resid = self._changed(delta[self.facts[list(rows)]], rows)
        for layer in range(self.layer + 1, self.model.n_layers):
            resid = self.run.step(layer, resid, self.start, rows)
        return self.vocabulary.logprobs(resid[at.lines, at.columns], at.rest)

    def _changed(
        self, added: Float[Tensor, "row d_model"], rows: Sequence[int]
    ) -> Float[Tensor, "row column d_model"]:
        """The stream behind the edited block: with δ in it, or, where a norm stands behind the MLP,
        with the block run again.
        """

        def add(out: Tensor) -> Tensor:
            return torch.cat([out[:, :1] + added[:, None].to(out.dtype), out[:, 1:]], 1)

        if not self.model.layout.mlp_post:
            return add(self.stream[list(rows)])
        with self.model.patched({f"mlp_raw.{self.layer}": add}):
            return self.run.step(
                self.layer,
                self.run.resid_pre(self.layer)[list(rows), self.start :],
                self.start,
                rows,
            )


def scenes(
    model: Model, layer: int, lines: Sequence[Line], vocabulary: Vocabulary
) -> Iterator[Scene]:
    """The lines in scenes of about the same width, cut where nothing more is read."""
    groups: dict[int, list[Line]] = {}
    for line in lines:
        last = line.read[-1] + 1
        width = next((width for width in WIDTHS if last - line.subject <= width), 0)
        groups.setdefault(width, []).append(line._replace(ids=line.ids[:last]))
    for group in groups.values():
        yield Scene.of(model, layer, group, vocabulary)


def _aligned(model: Model, lines: Sequence[Line], start: int) -> tuple[Tensor, Mask | None]:
    """Ids with padding on both sides, so that all subjects end in the column `start`; the mask is
    None where nothing is padded.
    """
    width = start + max(len(line.ids) - line.subject for line in lines)
    ids = torch.full((len(lines), width), model.pad)
    mask = torch.zeros_like(ids)
    for row, line in enumerate(lines):
        first = start - line.subject
        ids[row, first : first + len(line.ids)] = torch.tensor(line.ids)
        mask[row, first : first + len(line.ids)] = 1
    return ids.to(model.device), None if mask.all() else mask.to(model.device)
