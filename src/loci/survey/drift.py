"""How far an edit moved the model on text that has nothing to do with it, against the untouched
base.

    drift_kl          mean over sentences of  mean over positions of KL(base ‖ edited) of the next
                      token, in nats
    perplexity_ratio  exp( mean over sentences of  mean over tokens of −log P_edited + log P_base )

1 is no change of perplexity; a ratio weighs each sentence alike, as the drift does. Both may hide
each other's damage: a sharper model may have a better perplexity and yet another distribution.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div

from loci.model import Model, by_length
from loci.model.unembedding import finite, last_streams, unembedded


class Drifted(NamedTuple):
    """The drift of one edited model, sentence by sentence."""

    kl: tuple[float, ...]
    log_ratio: tuple[float, ...]
    """log of the ratio of perplexities."""


class Drift:
    """The base's next-token distributions on some sentences, kept to compare the model with later:
    its last streams, as no edit changes the unembedding.
    """

    def __init__(self, model: Model, sentences: Sequence[str]) -> None:
        self.model = model
        tokens = [model.tokenize(sentence) for sentence in sentences]
        self.batches = [
            model.ids([tokens[i].ids for i in batch]) for batch in by_length(tokens, len, 8192)
        ]
        self.before = [self._streams(ids) for ids in self.batches]

    def now(self) -> Drifted:
        """The drift of the model as it is now. Cost: a forward pass over the sentences."""
        kl, ratio = list[float](), list[float]()
        for ids, before in zip(self.batches, self.before, strict=True):
            each, gained = zip(*map(self._compared, ids, before, self._streams(ids)), strict=True)
            kl, ratio = [*kl, *each], [*ratio, *gained]
        return Drifted(tuple(kl), tuple(ratio))

    @torch.no_grad()
    def _streams(self, ids: Tensor) -> Float[Tensor, "sentence position d_model"]:
        return last_streams(self.model, ids)

    @torch.no_grad()
    def _compared(self, ids: Tensor, before: Tensor, after: Tensor) -> tuple[float, float]:
        """KL(before ‖ after) of a sentence, and the log of its perplexities' ratio: means over its
        positions.
        """
        kl, gained = [], [torch.empty(0, device=ids.device)]
        for some, logits in unembedded(self.model, before):
            old, new = (
                logits.log_softmax(-1),
                finite(self.model.unembed(after[some]).float(), self.model).log_softmax(-1),
            )
            kl.append(kl_div(new, old, log_target=True, reduction="none").sum(-1))
            following = ids[some.start + 1 : some.stop + 1, None]
            gained.append(
                (
                    old[: len(following)].gather(-1, following)
                    - new[: len(following)].gather(-1, following)
                )[:, 0]
            )
        return float(torch.cat(kl).mean()), float(torch.cat(gained).mean())
