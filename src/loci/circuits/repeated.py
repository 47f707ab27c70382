"""Random tokens, again and again: a text in which nothing but its own repetition tells what
comes next.

    BOS  r₁ r₂ … r_L  r₁ r₂ … r_L  …        all r differ, drawn uniformly, special tokens left out

Source: Olsson et al. 2022, 25 tokens four times.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from loci.errors import CircuitError
from loci.model import Model

LENGTH, REPEATS, SAMPLES = 25, 4, 16


@dataclass(frozen=True)
class RepeatedTokens:
    """A batch of such texts."""

    ids: Int[Tensor, "sample position"]
    start: int
    """Positions before the first block."""
    length: int
    repeats: int

    @property
    def width(self) -> int:
        return self.ids.shape[1]

    @property
    def again(self) -> range:
        """Positions of the second block and those after it, where what comes next has been seen."""
        return range(self.start + self.length, self.width)


def repeated_tokens(
    model: Model,
    *,
    length: int | None = None,
    repeats: int = REPEATS,
    samples: int = SAMPLES,
    seed: int = 0,
) -> RepeatedTokens:
    """Blocks of different random tokens, each repeated.

    Args:
        model: an open model; it is left as it was.
        length: tokens of a block; None: 25, or what the context has room for.
        repeats: how often each block stands.
        samples: number of blocks.
        seed: seed of every random draw.

    Returns: `RepeatedTokens`, ids [sample, BOS + repeats · length].
    Raises: `CircuitError` where none fits.
    Source: Olsson et al. 2022.
    """
    if samples < 1:
        raise CircuitError(f"there is at least one sample, not {samples}")
    special = set(model.tokenizer.all_special_ids)
    usable = torch.tensor([token for token in range(model.d_vocab) if token not in special])
    if length is None:
        room = LENGTH if model.n_ctx is None else (model.n_ctx - model.special) // max(repeats, 1)
        length = min(LENGTH, room, len(usable))
    if length > len(usable):
        raise CircuitError(
            f"{length} different tokens cannot be drawn from a vocabulary of {len(usable)}: say a "
            "shorter length"
        )
    generator = torch.Generator().manual_seed(seed)
    blocks = [
        usable[torch.randperm(len(usable), generator=generator)[:length]].tolist()
        for _ in range(samples)
    ]
    return repeat(model, blocks, repeats)


def repeat(model: Model, blocks: Sequence[Sequence[int]], repeats: int = REPEATS) -> RepeatedTokens:
    """Repeat given blocks behind the tokens that stand before every text.

    Args:
        model: an open model; it is left as it was.
        blocks: token ids, all of one length.
        repeats: how often each block stands.

    Returns: `RepeatedTokens`.
    Raises: `CircuitError` for blocks too short to repeat, or longer than the context has room for.
    """
    length, before = len(blocks[0]), list(model.tokenize("a").ids[: model.special])
    if repeats < 2:
        raise CircuitError(f"a text that repeats does so at least twice, not {repeats} times")
    if length < 2:
        raise CircuitError(
            f"a text of {length} token{'s' * (length != 1)} is too short to repeat: at least 2 are "
            "needed"
        )
    width = len(before) + repeats * length
    if model.n_ctx is not None and width > model.n_ctx:
        raise CircuitError(
            f"{length} tokens {repeats} times make {width} positions, and {model.name!r} has "
            f"{model.n_ctx}: at most "
            f"{(model.n_ctx - len(before)) // repeats} tokens, or fewer repeats"
        )
    return RepeatedTokens(
        model.ids([before + list(block) * repeats for block in blocks]),
        len(before),
        length,
        repeats,
    )
