"""Background text: what a model reads and says when nothing in particular is asked, as a value that
says its source.

    "given"             the user's own text (`--text`)
    "embedded corpus"   for the embedded model, and for models made of it
    "own samples"       what any other model samples itself

Second moments of keys, retain terms, drift, triggers and prefixes of prompts are all taken from it.
"""

import hashlib
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, Literal

from loci.errors import ModelError
from loci.facts import controls
from loci.model import Model
from loci.progress import Progress, silent
from loci.text.corpus import corpus_texts, speaks_corpus
from loci.text.own import own_texts

Source = Literal["given", "embedded corpus", "own samples"]
OWN_TOKENS, LENGTH = 8_192, 64
"""Most tokens that a model samples as background, and the tokens of each text."""
HELD_OUT_SEED = 1
"""Of own samples that no edit is made with: an edit's background has 0."""
PAGE = 1024
"""Texts that are tokenised at once."""
PREFIX_SENTENCES = 15_000
"""Sentences among which openings are counted."""
SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True)
class BackgroundText:
    """Texts and where they come from."""

    source: Source
    texts: tuple[str, ...]
    seed: int = 0

    @cached_property
    def _counted(self) -> dict[tuple[Any, ...], int]:
        """How many texts hold so many tokens, by tokenizer, BOS, context and tokens."""
        return {}

    def first(self, model: Model, tokens: int) -> list[str]:
        """All of a given text; else as many of the texts as hold `tokens` tokens of this model."""
        if self.source == "given":
            return list(self.texts)
        key = (model.tokenizer, model.with_bos, model.n_ctx, tokens)
        if key not in self._counted:
            self._counted[key] = len(first_texts(model, self.texts, tokens))
        return list(self.texts[: self._counted[key]])

    @cached_property
    def split(self) -> tuple[str, ...]:
        """The sentences of the texts: of 3 to 40 words, where there are such; else the texts."""
        if self.source == "embedded corpus":
            return self.texts
        parts = [part.strip() for text in self.texts for part in SENTENCE.split(text)]
        whole = [part for part in parts if 3 <= len(part.split()) <= 40 and part[-1] in ".!?"]
        whole = whole or [part for part in parts if part] or ["."]
        return tuple(dict.fromkeys(whole))

    def sentences(self, count: int) -> list[str]:
        """The first `count` sentences; they come again where there are fewer."""
        return [self.split[i % len(self.split)] for i in range(count)]

    def beginnings(self, count: int, seed: int = 0) -> list[str]:
        """`count` different beginnings of sentences, of one to six words: what may stand before a
        subject.
        """
        rng, chosen = random.Random(seed), dict[str, None]()
        for sentence in self.split:
            if len(chosen) >= count:
                break
            chosen.setdefault(" ".join(sentence.split()[: rng.randint(1, 6)]))
        return [list(chosen)[i % len(chosen)] for i in range(count)]

    @cached_property
    def _openings(self) -> list[str]:
        """Beginnings of sentences, of at most eight words, by how many different words follow."""
        following: dict[str, set[str]] = defaultdict(set)
        for sentence in self.split[:PREFIX_SENTENCES]:
            words = sentence.split()
            for n in range(1, min(len(words), 9)):
                following[" ".join(words[:n])].add(words[n])
        return sorted(following, key=lambda opening: len(following[opening]), reverse=True)

    def openings(self, count: int) -> list[str]:
        """The beginnings of sentences that the most different words follow: what may stand before a
        name.
        """
        return self._openings[:count]

    def to_dict(self) -> dict[str, Any]:
        """The text as results and patches record it: its source, its size, and a hash of it."""
        digest = hashlib.sha256("\0".join(self.texts).encode()).hexdigest()[:16]
        return {"source": self.source, "texts": len(self.texts), "sha256": digest}


def first_texts(model: Model, texts: Sequence[str], tokens: int, page: int = PAGE) -> list[str]:
    """As many of the texts, from the first on, as hold `tokens` tokens; a `page` of them is
    tokenised at once.
    """
    count = 0
    for start in range(0, len(texts), page):
        for i, own in enumerate(model.tokenize_all(texts[start : start + page], model.n_ctx)):
            if count >= tokens:
                return list(texts[: start + i])
            count += len(own)
    return list(texts)


def background(
    model: Model,
    texts: Sequence[str] | None = None,
    *,
    tokens: int = OWN_TOKENS,
    seed: int = 0,
    progress: Progress = silent,
) -> BackgroundText:
    """The background text of a model: the user's `texts`, the embedded corpus where the model
    speaks it, else own samples.

    Args:
        texts: the user's own text, which is taken as it is.
        tokens: about how many tokens of own samples are wanted, at most `OWN_TOKENS`; the corpus is
            handed out whole.
        seed: of own samples.

    Raises `ModelError` for empty text. Cost: sampling, once; it is kept in the cache.
    """
    if texts is not None:
        if not any(text.strip() for text in texts):
            raise ModelError("the text to go by is empty")
        return BackgroundText("given", tuple(texts))
    if speaks_corpus(model):
        return _corpus_background()
    length = LENGTH if model.n_ctx is None else max(1, min(LENGTH, model.n_ctx // 4))
    count = -(-min(tokens, OWN_TOKENS) // length)
    sampled = own_texts(model, count, length=length, seed=seed, progress=progress)
    sampled = _fitting(model, [text for text in sampled if text.strip()])
    if not sampled:
        raise ModelError(f"{model.name!r} samples no text of its own: give a text (--text)")
    return BackgroundText("own samples", tuple(sampled), seed)


@cache
def _corpus_background() -> BackgroundText:
    """One value for all edits, so that what is found out about the text is found out once."""
    return BackgroundText("embedded corpus", corpus_texts())


def held_out_sentences(model: Model, count: int) -> list[str]:
    """Sentences on which the drift of an edited model is measured, and which no edit is made with.

    The embedded model's control sentences, where the model speaks its corpus; else own samples of
    another seed than the background's. Raises and costs as `background` does.
    """
    if speaks_corpus(model):
        return controls()[:count]
    own = background(model, tokens=16 * count, seed=HELD_OUT_SEED)
    return list(own.split[:count])


def _fitting(model: Model, texts: list[str]) -> list[str]:
    """The texts that leave half of the context free: what is sampled may be spelt with other, more
    tokens.
    """
    if model.n_ctx is None or not texts:
        return texts
    lengths = map(len, model.tokenize_all(texts))
    return [text for text, length in zip(texts, lengths, strict=True) if 2 * length <= model.n_ctx]


def sample_text(model: Model, tokens: int) -> list[str]:
    """Background text of about `tokens` tokens; always the same."""
    return background(model, tokens=tokens).first(model, tokens)
