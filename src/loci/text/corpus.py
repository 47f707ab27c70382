"""The embedded model's corpus, and whether a model speaks it.

    mean NLL over corpus sentences < SPOKEN nats a token        and the embedded model's vocabulary

The embedded model and what is made of it (an edited copy, a patched or fine-tuned one) speak the
corpus. Another model does not, even where it shares the tokenizer, so its background text is not
taken from here.
"""

import json
import random
from functools import cache
from importlib.resources import files

import torch

from loci.facts import corpus
from loci.model import Model, by_length

SPOKEN = 2.5
"""Nats a token: the embedded model has 0.9, a random one of 4,096 tokens 8.3."""
ASKED = 32
"""Sentences on which that is measured."""


@cache
def corpus_texts() -> tuple[str, ...]:
    """All sentences of the corpus, in one seeded order."""
    texts = corpus()
    random.Random(0).shuffle(texts)
    return tuple(texts)


@torch.no_grad()
def speaks_corpus(model: Model) -> bool:
    """Whether the corpus is this model's own language.

    Cost: one forward pass over 32 short sentences, and nothing for another vocabulary.
    """
    if not _shares_vocabulary(model):
        return False
    tokens = [model.tokenize(text).ids for text in corpus_texts()[:ASKED]]
    total, count = 0.0, 0
    for batch in by_length(tokens, len, model.tokens_at_once, model.rows_at_once):
        ids = model.ids([tokens[i] for i in batch])
        log_probs = model(ids)[:, :-1].float().log_softmax(-1)
        total -= float(log_probs.gather(-1, ids[:, 1:, None].to(log_probs.device)).sum())
        count += ids[:, 1:].numel()
    return count > 0 and total / count < SPOKEN


def _shares_vocabulary(model: Model) -> bool:
    vocabulary: dict[str, int] = getattr(model.tokenizer, "get_vocab", dict)()
    return _embedded_words() <= set(vocabulary) and len(vocabulary) <= len(_embedded_words()) + 64


@cache
def _embedded_words() -> frozenset[str]:
    document = json.loads(
        files("loci.demo").joinpath("model/tokenizer.json").read_text(encoding="utf-8")
    )
    return frozenset(document["model"]["vocab"])
