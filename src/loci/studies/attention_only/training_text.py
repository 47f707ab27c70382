"""Where a small model's text comes from: made on the spot, or a user's files.

Both give a tokenizer and windows of token ids, [window, context], each behind BOS. Made text is
drawn afresh at every step and never comes twice; a file's is cut into windows that lie end to end,
the last tenth of which is held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Int
from torch import Tensor

from loci.errors import CircuitError
from loci.studies.attention_only.grammar import BOS, Grammar
from loci.text import read_texts

Windows = Int[Tensor, "window context"]
UNKNOWN = "<unk>"
VOCABULARY = 1024
"""Tokens of a byte-level tokenizer trained on a user's text, at most."""
HELD_OUT = 512
"""Windows of made text to measure on."""
LEAST = 64
"""Windows that a user's text must have."""


class TrainingText(Protocol):
    """The interface of a text to train on."""

    @property
    def source(self) -> str:
        """In words, for records."""
        ...

    @property
    def tokenizer(self) -> Any: ...

    @property
    def held_out(self) -> Windows:
        """Windows to measure on."""
        ...

    def page(self, windows: int, generator: torch.Generator) -> Windows:
        """So many windows to train on."""
        ...


@dataclass(frozen=True, eq=False)
class SyntheticText:
    """Windows drawn from a grammar."""

    grammar: Grammar
    tokenizer: Any
    held_out: Windows
    source: str = "made"

    @classmethod
    def of(cls, grammar: Grammar, context: int, seed: int = 0) -> "SyntheticText":
        """The held-out windows are drawn with a seed of their own."""
        held_out = grammar.draw(HELD_OUT, context, torch.Generator().manual_seed(2**31 + seed))
        return cls(grammar, word_tokenizer(grammar.vocabulary), held_out)

    def page(self, windows: int, generator: torch.Generator) -> Windows:
        return self.grammar.draw(windows, self.held_out.shape[1], generator)


@dataclass(frozen=True, eq=False)
class FileText:
    """Windows of a user's text."""

    tokenizer: Any
    windows: Windows
    held_out: Windows
    source: str

    @classmethod
    def of(cls, path: str | Path, context: int) -> "FileText":
        """Read .txt, .jsonl, .parquet or a dataset's folder.

        Raises `ModelError` for what cannot be read, `CircuitError` for too short a text.
        """
        texts = list(read_texts(path))
        tokenizer = byte_tokenizer(texts)
        windows = cut(tokenizer(texts)["input_ids"], context)
        if len(windows) < LEAST:
            raise CircuitError(
                f"{path}: {len(windows)} windows of {context} tokens are too short a text to learn "
                f"from: at least {LEAST} are needed, "
                f"about {5 * LEAST * context:,} characters; or a shorter --context"
            )
        tenth = max(1, len(windows) // 10)
        return cls(tokenizer, windows[:-tenth], windows[-tenth:][:HELD_OUT], str(path))

    def page(self, windows: int, generator: torch.Generator) -> Windows:
        return self.windows[torch.randint(len(self.windows), (windows,), generator=generator)]


def cut(texts: Sequence[Sequence[int]], context: int) -> Windows:
    """All texts, each behind its BOS, in one line, and that in windows; a BOS is put before
    each, and what is left at the end is dropped."""
    line = torch.tensor([token for text in texts for token in text], dtype=torch.long)
    whole = line[: len(line) // (context - 1) * (context - 1)].view(-1, context - 1)
    return torch.cat([torch.zeros(len(whole), 1, dtype=torch.long), whole], 1)


def word_tokenizer(vocabulary: Sequence[str]) -> Any:
    """One token a word, in the vocabulary's order, with an unknown one behind; BOS before every
    text."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(
        models.WordLevel(
            {word: i for i, word in enumerate((*vocabulary, UNKNOWN))}, unk_token=UNKNOWN
        )
    )
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return _wrapped(words, unk_token=UNKNOWN)


def byte_tokenizer(texts: Sequence[str], size: int = VOCABULARY) -> Any:
    """Byte-level pairs learnt from the texts: BOS is token 0, and nothing is unknown."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    pairs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[BOS], initial_alphabet=alphabet, show_progress=False
    )
    pairs.train_from_iterator(texts, trainer)
    return _wrapped(pairs)


def _wrapped(tokenizer: Any, **special: str) -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=BOS, pad_token=BOS, **special
    )
