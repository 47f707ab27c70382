"""Does the model still speak, or does it repeat itself? The n-gram entropy of free generations
from the edited subjects' prompts.

    fluency = ½ (⅔ H₂ + 4⁄3 H₃)        Hₙ: entropy in bits of the n-grams of the words of one
                                       generation, uniform weights

Meng et al. 2022, section 3.4, from Zhang et al. 2018; published figures are 100 times this. Texts
are sampled from the five likeliest tokens with a seed, do not end before their length, and are
counted without the prompt. At most log₂ of the number of words, so figures of different lengths do
not compare; the base's own, on the same prompts, stands beside each.
"""

import re
from collections import Counter
from collections.abc import Sequence
from math import log2

import torch

from loci.facts import Fact
from loci.model import Model, by_length
from loci.model.answers import BUDGET
from loci.model.generation import generate

TOKENS = 50
LIKELIEST = 5
WEIGHTS = {2: 2 / 3, 3: 4 / 3}
WORD = re.compile(r"\w+|[^\w\s]")


def fluency(text: str) -> float:
    """The weighted n-gram entropy of a text, in bits; 0 where it has fewer than two words."""
    words = WORD.findall(text)
    return (
        sum(
            weight * _entropy([tuple(words[i : i + n]) for i in range(len(words) - n + 1)])
            for n, weight in WEIGHTS.items()
        )
        / 2
    )


def _entropy(grams: Sequence[tuple[str, ...]]) -> float:
    return (
        sum(-count / len(grams) * log2(count / len(grams)) for count in Counter(grams).values())
        + 0.0
    )


def openings(fact: Fact) -> list[str]:
    """How texts about the fact's subject begin: its own questions of the kind `generation`, else
    the edit prompt."""
    return [question.prompt for question in fact.questions if question.kind == "generation"] or [
        fact.text
    ]


def generations(
    model: Model, prompts: Sequence[str], tokens: int = TOKENS, seed: int = 0
) -> list[str]:
    """Seeded samples of `tokens` tokens after each prompt (fewer where the context is full),
    without the prompt.

    Torch's own randomness is left alone.
    """
    asked = [model.tokenize(prompt) for prompt in prompts]
    texts: dict[int, str] = {}
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for batch in by_length(asked, len, BUDGET, model.rows_at_once):
            ids = model.ids([asked[i].ids for i in batch])
            room = max(1, min(tokens, (model.n_ctx or ids.shape[1] + tokens) - ids.shape[1]))
            made = generate(model, ids, room, least=room, sample=True, likeliest=LIKELIEST)
            for index, row in zip(batch, made, strict=True):
                texts[index] = model.decode(row)
    return [texts[i] for i in range(len(prompts))]
