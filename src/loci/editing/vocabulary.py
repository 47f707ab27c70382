"""Next-token distributions over the part of a large vocabulary that the texts of an edit touch.

    log P(t)  ≈  z_t − log( Σ_{v in S} exp z_v + ρ )  t in S,  ρ = Σ_{v not in S} exp z_v
              of the model as it is

S holds the answers' tokens, those that the model thinks likeliest at any position that is read, and
those of the background text. What is left of the vocabulary is one more outcome whose mass ρ, not
normalised, is the base's at that position. So the objective of a search costs d_model · |S| a
position, where the whole unembedding of 262,144 tokens costs more than all blocks of a small model
together. Of a vocabulary of at most `WHOLE` tokens S is all, and nothing is left out. An edit is
judged on the whole vocabulary.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from loci.editing.prompts import TrainingPrompt
from loci.model import Model, by_near_length
from loci.model.unembedding import last_streams, unembedded

WHOLE = 16_384
"""Vocabularies up to this size are used whole."""
MOST = 8_192
"""Tokens of S, beside the answers' own."""
LIKELIEST = 64
"""Of each position that is read, so many of the likeliest tokens."""

Read = tuple[tuple[int, ...], tuple[int, ...]]
"""A prompt's tokens up to the last position that is read, and those positions."""


def _read(prompt: TrainingPrompt) -> Read:
    return prompt.ids[: prompt.positions[-1] + 1], prompt.positions


@dataclass
class Vocabulary:
    """The tokens S, and what the rest of the vocabulary weighs where prompts are read."""

    model: Model
    tokens: Int[Tensor, " some"] | None = None
    """None: all."""
    index: Mapping[int, int] = field(default_factory=dict)
    """Place of each token among them."""
    rests: dict[Read, Float[Tensor, " position"]] = field(default_factory=dict)
    """log ρ at the positions of a prompt that are read."""

    @classmethod
    @torch.no_grad()
    def of(
        cls, model: Model, prompts: Sequence[TrainingPrompt], texts: Iterable[Sequence[int]] = ()
    ) -> "Vocabulary":
        """S for some prompts and texts. Cost: one forward pass over the prompts,
        with all their logits.
        """
        if model.d_vocab <= WHOLE:
            return cls(model)
        counts = Counter[int](token for ids in texts for token in ids)
        passed = list[tuple[list[TrainingPrompt], Tensor, Tensor]]()
        for batch, streams in _streams(model, prompts):
            best, total = [], []
            for _, logits in unembedded(model, streams):
                best.append(logits.topk(LIKELIEST).indices.cpu())
                total.append(logits.logsumexp(-1))
            counts.update(dict.fromkeys(torch.cat(best).flatten().tolist(), 1000))
            passed.append((batch, streams, torch.cat(total)))
        answers = {token for prompt in prompts for token in prompt.answer}
        chosen = sorted(answers | {token for token, _ in counts.most_common(MOST)})
        found = cls(
            model,
            torch.tensor(chosen, device=model.device),
            {token: i for i, token in enumerate(chosen)},
        )
        for batch, streams, total_of in passed:
            found._note(batch, streams, total_of)
        return found

    def place(self, token: int) -> int:
        """The column of a token; of those left out, the last."""
        if self.tokens is None or token < 0:
            return token
        return self.index.get(token, len(self.index))

    @property
    def columns(self) -> int:
        """Outcomes that are told apart."""
        return self.model.d_vocab if self.tokens is None else len(self.tokens) + 1

    @property
    def rows(self) -> int:
        """How many positions' outcomes are made at once, as `Model.rows_at_once`."""
        return max(1, self.model.rows_at_once * self.model.d_vocab // self.columns)

    def logprobs(
        self, streams: Float[Tensor, "position d_model"], rest: Float[Tensor, " position"]
    ) -> Float[Tensor, "position columns"]:
        """Log-probabilities of S and, last, of the rest; of the whole vocabulary where S is all."""
        if self.tokens is None:
            return self.model.unembed(streams).float().log_softmax(-1)
        return torch.cat([self._scores(streams), rest[:, None]], 1).log_softmax(-1)

    @torch.no_grad()
    def rest(self, prompts: Sequence[TrainingPrompt]) -> Float[Tensor, " position"]:
        """log ρ of prompts one after the other, found first for those that are new; nothing where S
        is all.
        """
        if self.tokens is None:
            return torch.zeros(
                sum(len(prompt.positions) for prompt in prompts), device=self.model.device
            )
        new = {read: prompt for prompt in prompts if (read := _read(prompt)) not in self.rests}
        for batch, streams in _streams(self.model, list(new.values())):
            total = torch.cat(
                [logits.logsumexp(-1) for _, logits in unembedded(self.model, streams)]
            )
            self._note(batch, streams, total)
        return torch.cat([self.rests[_read(prompt)] for prompt in prompts])

    def _note(self, prompts: Sequence[TrainingPrompt], streams: Tensor, total: Tensor) -> None:
        """ρ = exp(total) − Σ_S exp z, which rounding keeps from being smaller than a millionth of
        the whole.
        """
        inside = (self._scores(streams).logsumexp(-1) - total).clamp(max=0.0).exp()
        rest = total + (1 - inside).clamp(min=1e-6).log()
        self.rests |= dict(
            zip(
                map(_read, prompts),
                rest.split([len(prompt.positions) for prompt in prompts]),
                strict=True,
            )
        )

    def _scores(self, streams: Float[Tensor, "position d_model"]) -> Float[Tensor, "position some"]:
        """z of the tokens in S."""
        head = self.model.module("unembed")
        assert isinstance(head, nn.Module)
        weight, bias = head.weight, getattr(head, "bias", None)
        assert isinstance(weight, Tensor)
        normed = self.model.module("final_norm")(streams)
        scores: Tensor = normed @ weight[self.tokens].T
        return self.model.capped(scores if bias is None else scores + bias[self.tokens]).float()


def _streams(
    model: Model, prompts: Sequence[TrainingPrompt]
) -> Iterable[tuple[list[TrainingPrompt], Float[Tensor, "position d_model"]]]:
    """The last residual stream where prompts are read, batch by batch."""
    for batch in by_near_length(
        prompts, lambda prompt: prompt.positions[-1] + 1, model.tokens_at_once
    ):
        some = [prompts[i] for i in batch]
        streams = last_streams(
            model, model.padded([prompt.ids[: prompt.positions[-1] + 1] for prompt in some])[0]
        )
        yield (
            some,
            torch.cat([streams[row, list(prompt.positions)] for row, prompt in enumerate(some)]),
        )
