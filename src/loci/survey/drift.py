"""How far an edit moved the model on text that has nothing to do with it, against the untouched base.

    drift_kl          mean over sentences of  mean over positions of KL(base ‖ edited) of the next token, in nats
    perplexity_ratio  exp( mean over sentences of  mean over tokens of −log P_edited + log P_base )

1 is no change of perplexity; a ratio weighs each sentence alike, as the drift does. Both may hide each other's damage: a sharper model
may have a better perplexity and yet another distribution.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import kl_div

from loci.model import Model, by_length


class Drifted(NamedTuple):
    """The drift of one edited model, sentence by sentence."""

    kl: tuple[float, ...]
    log_ratio: tuple[float, ...]
    """log of the ratio of perplexities."""


class Drift:
    """The base's next-token distributions on some sentences, to compare the model with later."""

    def __init__(self, model: Model, sentences: Sequence[str]) -> None:
        self.model = model
        tokens = [model.tokenize(sentence) for sentence in sentences]
        self.batches = [model.ids([tokens[i].ids for i in batch]) for batch in by_length(tokens, len, 8192)]
        self.before = [self._logprobs(ids) for ids in self.batches]

    def now(self) -> Drifted:
        """The drift of the model as it is now. Cost: a forward pass over the sentences."""
        kl, ratio = [], []
        for ids, before in zip(self.batches, self.before, strict=True):
            after = self._logprobs(ids)
            kl += kl_div(after, before, log_target=True, reduction="none").sum(-1).mean(1).tolist()
            following = ids[:, 1:, None]
            ratio += (before[:, :-1].gather(-1, following) - after[:, :-1].gather(-1, following)).mean((1, 2)).tolist()
        return Drifted(tuple(kl), tuple(ratio))

    @torch.no_grad()
    def _logprobs(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(ids).float().log_softmax(-1)
