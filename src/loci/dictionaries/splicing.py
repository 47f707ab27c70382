"""The loss of a model whose activations are replaced by a dictionary's reconstructions.

    CE recovered = (CE_ablated − CE_spliced) / (CE_ablated − CE)
        ablated: the same place holds 0, or its mean
    KL recovered = 1 − KL(clean ‖ spliced) / KL(clean ‖ ablated)

The tokens before a text (BOS) are left as they are. The two ablations differ a lot, so the number
goes with the name of its ablation; several dictionaries spliced at once are another, harder
question than one.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from loci.dictionaries.dictionary import Dictionary
from loci.errors import DictionaryError
from loci.model import Model, by_length
from loci.model.hooks import Edit
from loci.progress import Progress, silent
from loci.survey import windows


@dataclass(frozen=True)
class Recovered:
    """Losses in nats a token, over all tokens that have one before them."""

    tokens: int
    ce: float
    ce_spliced: float
    ce_zero: float
    ce_mean: float
    kl_spliced: float
    kl_zero: float
    kl_mean: float

    @property
    def ce_recovered(self) -> dict[str, float]:
        """By the ablation: 1 where nothing is lost, 0 where it is as bad as the ablation; NaN where
        ablation does no harm.
        """
        return {
            name: _share(
                getattr(self, f"ce_{name}") - self.ce_spliced, getattr(self, f"ce_{name}") - self.ce
            )
            for name in ABLATIONS
        }

    @property
    def kl_recovered(self) -> dict[str, float]:
        return {
            name: 1 - _share(self.kl_spliced, getattr(self, f"kl_{name}")) for name in ABLATIONS
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "ce_recovered": self.ce_recovered,
            "kl_recovered": self.kl_recovered,
        }


ABLATIONS = ("zero", "mean")


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")


def splice(
    model: Model, dictionaries: Sequence[Dictionary], before: int
) -> AbstractContextManager[None]:
    """Inside the block, the model runs on what the dictionaries give back, at all positions from
    `before` on.
    """
    edits: dict[str, Edit] = {}
    for dictionary in dictionaries:
        edits |= _edits(dictionary, before)
    return model.patched(edits)


def _edits(dictionary: Dictionary, before: int) -> dict[str, Edit]:
    point, target = dictionary.point, dictionary.target or dictionary.point
    if point is None or target is None:
        raise DictionaryError("a dictionary that does not say its point cannot be spliced in")
    seen: list[Tensor] = []

    def keep(x: Tensor) -> None:
        seen[:] = [x]

    def put(old: Tensor) -> Tensor:
        x = (seen.pop() if dictionary.transcoder else old)[:, before:]
        made = dictionary(x.flatten(2).float()).to(old.dtype)
        return torch.cat([old[:, :before], made.reshape(made.shape[:2] + old.shape[2:])], 1)

    return {point: keep, target: put} if dictionary.transcoder else {target: put}


@torch.no_grad()
def recovered(
    model: Model,
    dictionaries: Sequence[Dictionary],
    texts: Sequence[str],
    means: Mapping[str, Float[Tensor, " width"]],
    *,
    progress: Progress = silent,
) -> Recovered:
    """Losses of the model as it is, with the dictionaries spliced in, and with their places
    ablated. `means` are by target.

    Cost: four forward passes over the texts. Raises `DictionaryError` where no text has two tokens.
    """
    cut = [window for window in windows(model, list(enumerate(texts))) if len(window.ids) > 1]
    if not cut:
        raise DictionaryError("no text has two tokens: there is no next token to predict")
    before = model.special
    targets = [str(d.target or d.point) for d in dictionaries]
    sums = dict.fromkeys(
        ("ce", *(f"{m}_{v}" for m in ("ce", "kl") for v in ("spliced", *ABLATIONS))), 0.0
    )
    tokens, budget = 0, max(1, model.rows_at_once)
    for batch in by_length(cut, lambda window: len(window.ids), min(4096, budget)):
        ids = model.ids([cut[i].ids for i in batch])
        clean = model(ids).float().log_softmax(-1)[:, :-1]
        sums["ce"] += _ce(clean, ids)
        for name in ("spliced", *ABLATIONS):
            with (
                splice(model, dictionaries, before)
                if name == "spliced"
                else _ablated(model, targets, name, means, before)
            ):
                other = model(ids).float().log_softmax(-1)[:, :-1]
            sums[f"ce_{name}"] += _ce(other, ids)
            sums[f"kl_{name}"] += float((clean.exp() * (clean - other)).sum())
        tokens += ids.numel() - len(ids)
        progress(len(batch), len(cut))
    return Recovered(tokens, **{name: total / tokens for name, total in sums.items()})


def _ablated(
    model: Model, targets: Sequence[str], kind: str, means: Mapping[str, Tensor], before: int
) -> AbstractContextManager[None]:
    def ablate(target: str) -> Edit:
        def put(old: Tensor) -> Tensor:
            new = (
                torch.zeros_like(old)
                if kind == "zero"
                else means[target].to(old).reshape(old.shape[2:]).expand_as(old)
            )
            return torch.cat([old[:, :before], new[:, before:]], 1)

        return put

    return model.patched({target: ablate(target) for target in targets})


def _ce(logprobs: Float[Tensor, "row position d_vocab"], ids: Tensor) -> float:
    return -float(logprobs.gather(-1, ids[:, 1:, None].to(logprobs.device)).sum())
