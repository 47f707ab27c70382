"""The texts in which targets are searched: recorded once, and run again from the edited layer with
δ at their subjects.

Prompts of many facts stand in one batch with their subjects in one column. What is left of it is as
recorded, whatever δ is; so a step computes the blocks above the edited layer, the columns from the
subject to the last that is read, the prompts of the facts that are still searched, and unembeds the
positions that are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.editing.prompts import TrainingPrompt
from loci.editing.vocabulary import Vocabulary
from loci.model import Model, Recording
from loci.model.tokenised import Mask

WIDTHS = (3, 6, 9, 13)
"""Columns of the batches into which prompts are sorted, so that little is padded; a last one takes
the longer prompts.
"""


class ReadPositions(NamedTuple):
    """The positions of some prompts that are read, one after the other."""

    prompts: Int[Tensor, " position"]
    """Counted among the prompts that are run."""
    columns: Int[Tensor, " position"]
    """Counted from the subject's column."""
    facts: Int[Tensor, " position"]
    tokens: Int[Tensor, " position"]
    """The column of the token that should follow, or −1."""
    weights: Float[Tensor, " position"]
    """The prompt's weight / positions read in it."""
    rest: Float[Tensor, " position"]
    """The joint logit of all tokens that have no column of their own (`Vocabulary`)."""

    def chosen(self, which: Tensor) -> "ReadPositions":
        return ReadPositions(*(field[which] for field in self))


@dataclass(frozen=True)
class AlignedBatch:
    """Prompts in one batch, aligned at their subjects."""

    model: Model
    layer: int
    prompts: tuple[TrainingPrompt, ...]
    run: Recording
    start: int
    """The column in which the subjects end."""
    keys: Float[Tensor, "prompt d_mlp"]
    stream: Float[Tensor, "prompt column d_model"]
    """The edited block's output from the subject on."""
    size: Float[Tensor, "prompt 1"]
    """The scale of δ: the norm of the stream at the subject, or of the MLP's output where a norm
    stands behind it.
    """
    facts: Int[Tensor, " prompt"]
    vocabulary: Vocabulary

    @classmethod
    def of(
        cls, model: Model, layer: int, prompts: Sequence[TrainingPrompt], vocabulary: Vocabulary
    ) -> "AlignedBatch":
        """Record the prompts. Cost: one forward pass."""
        start = max(prompt.subject for prompt in prompts)
        ids, mask = _aligned(model, prompts, start)
        with model.watch(f"mlp_act.{layer}", f"mlp_raw.{layer}", f"resid_post.{layer}") as reads:
            run = model.record(ids, mask, past=start > 0, logits=False)
        facts = torch.tensor([prompt.fact for prompt in prompts], device=model.device)
        keys, stream = (
            reads[f"mlp_act.{layer}"][:, start].float(),
            reads[f"resid_post.{layer}"][:, start:],
        )
        size = reads[f"mlp_raw.{layer}"][:, start] if model.layout.mlp_post else stream[:, 0]
        return cls(
            model,
            layer,
            tuple(prompts),
            run,
            start,
            keys,
            stream,
            size.float().norm(dim=-1, keepdim=True),
            facts,
            vocabulary,
        )

    def positions(self, rows: Sequence[int]) -> ReadPositions:
        """Where some prompts are read."""
        prompts = [self.prompts[row] for row in rows]
        where = [
            (i, p - prompt.subject, prompt.fact)
            for i, prompt in enumerate(prompts)
            for p in prompt.positions
        ]
        tokens = [
            self.vocabulary.place(token)
            for prompt in prompts
            for token in prompt.answer or [-1] * len(prompt.positions)
        ]
        weights = [
            prompt.weight / len(prompt.positions) for prompt in prompts for _ in prompt.positions
        ]
        row, column, fact = torch.tensor(where, device=self.model.device).T
        follow, weight = (
            torch.tensor(values, device=self.model.device) for values in (tokens, weights)
        )
        return ReadPositions(row, column, fact, follow, weight, self.vocabulary.rest(prompts))

    def after(
        self, delta: Float[Tensor, "fact d_model"], rows: Sequence[int], at: ReadPositions
    ) -> Float[Tensor, "position columns"]:
        """Log-probabilities of the next token at the positions, with δ added to the MLP's output at
        each prompt's subject.

        Only the prompts `rows` are run; the positions count prompts among them.
        """
        resid = self._changed(delta[self.facts[list(rows)]], rows)
        for layer in range(self.layer + 1, self.model.n_layers):
            resid = self.run.step(layer, resid, self.start, rows)
        return self.vocabulary.logprobs(resid[at.prompts, at.columns], at.rest)

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


def aligned_batches(
    model: Model, layer: int, prompts: Sequence[TrainingPrompt], vocabulary: Vocabulary
) -> Iterator[AlignedBatch]:
    """The prompts in batches of about the same width, cut where nothing more is read."""
    groups: dict[int, list[TrainingPrompt]] = {}
    for prompt in prompts:
        last = prompt.positions[-1] + 1
        width = next((width for width in WIDTHS if last - prompt.subject <= width), 0)
        groups.setdefault(width, []).append(prompt._replace(ids=prompt.ids[:last]))
    for group in groups.values():
        yield AlignedBatch.of(model, layer, group, vocabulary)


def _aligned(
    model: Model, prompts: Sequence[TrainingPrompt], start: int
) -> tuple[Tensor, Mask | None]:
    """Ids with padding on both sides, so that all subjects end in the column `start`; the mask is
    None where nothing is padded.
    """
    width = start + max(len(prompt.ids) - prompt.subject for prompt in prompts)
    ids = torch.full((len(prompts), width), model.pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        first = start - prompt.subject
        ids[row, first : first + len(prompt.ids)] = torch.tensor(prompt.ids)
        mask[row, first : first + len(prompt.ids)] = 1
    return ids.to(model.device), None if mask.all() else mask.to(model.device)
