"""What an edited model says, asked in plain transformers: nothing of Loci's is in here."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

Prefix = Callable[[str], str]
"""What is put in front of a prompt."""

T = TypeVar("T")


def no_prefix(prompt: str) -> str:
    return ""


class Judge:
    """A model in plain transformers."""

    def __init__(self, hf: Any, tokenizer: Any) -> None:
        self.hf, self.tokenizer = hf, tokenizer
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    @classmethod
    def of(cls, folder: Path, tokenizer: Path) -> "Judge":
        return cls(
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval(),
            AutoTokenizer.from_pretrained(tokenizer),
        )

    @torch.no_grad()
    def gives(self, asked: Sequence[tuple[str, str]], prefix: Prefix = no_prefix) -> list[bool]:
        """Whether the greedy continuation of each prompt, behind its prefix, begins with the
        answer, at a word's end.

        Greedy decoding gives the answer if and only if each of its tokens is the likeliest where it
        stands, so all are read in one pass. Pairs are asked once.
        """
        rows = {}
        for prompt, answer in dict.fromkeys(asked):
            text = prefix(prompt) + prompt.rstrip()
            before = self.tokenizer(text).input_ids
            whole = self.tokenizer(f"{text} {answer.strip()}").input_ids
            same = next(
                (i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b),
                len(before),
            )
            rows[prompt, answer] = whole, len(whole) - same
        order = sorted(rows, key=lambda pair: (rows[pair][1], len(rows[pair][0])))
        found: dict[tuple[str, str], bool] = {}
        for some in batches(order, 32):
            ids = self.tokenizer.pad(
                {"input_ids": [rows[pair][0] for pair in some]},
                padding_side="left",
                return_tensors="pt",
            )
            most = max(rows[pair][1] for pair in some)
            places = (ids["attention_mask"].cumsum(-1) - 1).clamp(min=0)
            best = self.hf(**ids, position_ids=places, logits_to_keep=most + 1).logits.argmax(-1)
            for pair, row in zip(some, best.tolist(), strict=True):
                whole, count = rows[pair]
                behind = self.tokenizer.decode(row[-1:])
                begins = row[-count - 1 : -1] == whole[-count:]
                found[pair] = begins and not behind[:1].isalnum()
        return [found[pair] for pair in asked]

    @torch.no_grad()
    def drift(self, base: "Judge", texts: Sequence[str]) -> tuple[list[float], list[float]]:
        """Of each text: the mean change of −log P a token, and the mean KL(base ‖ self)."""
        gained, divergence = list[float](), list[float]()
        for text in texts:
            ids = self.tokenizer(text, return_tensors="pt").input_ids
            after, before = (judge.hf(ids).logits[0, :-1].log_softmax(-1) for judge in (self, base))
            changes = (before - after).gather(-1, ids[0, 1:, None])
            gained.append(float(changes.mean()))
            divergence.append(float((before.exp() * (before - after)).sum(-1).mean()))
        return gained, divergence

    @torch.no_grad()
    def fluency(self, beginnings: Sequence[str], length: int = 40) -> list[float]:
        """Entropy of pairs and triples of words in greedy continuations, in bits: two thirds of
        the one's and four thirds of the other's, halved.
        """
        found = []
        for text in beginnings:
            ids = self.tokenizer(text, return_tensors="pt").input_ids
            made = self.hf.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=length,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            words = self.tokenizer.decode(made[0], skip_special_tokens=True).split()
            found.append((2 / 3 * entropy(words, 2) + 4 / 3 * entropy(words, 3)) / 2)
        return found

    @torch.no_grad()
    def samples(self, count: int, seed: int) -> list[str]:
        torch.manual_seed(seed)
        begin = self.tokenizer("The", return_tensors="pt").input_ids.expand(count, -1)
        made = self.hf.generate(
            begin,
            attention_mask=torch.ones_like(begin),
            max_new_tokens=24,
            do_sample=True,
            top_k=0,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return [
            text
            for text in self.tokenizer.batch_decode(made, skip_special_tokens=True)
            if len(text.split()) > 4
        ]


def entropy(words: Sequence[str], size: int) -> float:
    """Of the runs of `size` words, in bits."""
    counts = Counter(zip(*(words[i:] for i in range(size)), strict=False))
    total = sum(counts.values())
    return -sum(n / total * math.log2(n / total) for n in counts.values())


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
