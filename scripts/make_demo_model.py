"""Make the embedded model again: facts → text → tokenizer → GPT-2 with ReLU → weights in half
precision.

    python scripts/make_demo_model.py            # about half an hour on 2 cores; overwrites src/loci/demo/model

1. Text: every fact in every phrasing but the one it holds out, and the plain sentences.
2. Tokenizer: byte-level BPE on that text; it puts BOS in front itself.
3. Training: documents of one to three sentences, next-token loss, AdamW, warm-up and cosine decay,
   bf16 autocast. In most batches the lower half of the layers sees only BOS and the last few
   tokens. A model this small can otherwise fetch a name from the far end of the prompt in its first
   layer; so it must gather and look up a name where it stands, as large ones do. Same seed, machine
   and thread count give the same weights.
4. Card: `scripts/make_demo_card.py` measures the result and writes src/loci/demo/CARD.md.
"""

import argparse
import ctypes
import json
import math
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel, PreTrainedTokenizerFast

from loci.facts import corpus

OUT = Path(__file__).parents[1] / "src" / "loci" / "demo" / "model"
BOS = "<|endoftext|>"


def make_tokenizer(sentences: list[str], vocab: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE; a word has one form, at the start of a text and within it (prefix space)."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        sentences,
        trainers.BpeTrainer(vocab_size=vocab, special_tokens=[BOS], initial_alphabet=alphabet),
    )
    bpe.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True, add_prefix_space=True),
            processors.TemplateProcessing(
                single=f"{BOS} $A", special_tokens=[(BOS, bpe.token_to_id(BOS))]
            ),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token=BOS, eos_token=BOS, pad_token=BOS
    )


def documents(sentences: list[list[int]], eos: int, rng: random.Random) -> list[list[int]]:
    """One epoch: all sentences in random order; three documents of five are one sentence, the
    others two or three.
    """
    order, docs = rng.sample(sentences, len(sentences)), []
    while order:
        size = rng.choice((1, 1, 1, 2, 3))
        taken, order = order[:size], order[size:]
        docs.append([eos, *(token for sentence in taken for token in sentence), eos])
    return docs


def batches(
    docs: list[list[int]], tokens: int, rng: random.Random
) -> Iterator[tuple[Tensor, Tensor]]:
    """Documents of similar length together, about `tokens` a batch, right-padded; padding has no
    label.
    """
    docs = sorted(docs, key=lambda doc: (len(doc), rng.random()))
    groups: list[list[list[int]]] = [[]]
    for doc in docs:
        if groups[-1] and (len(groups[-1]) + 1) * len(doc) > tokens:
            groups.append([])
        groups[-1].append(doc)
    for group in rng.sample(groups, len(groups)):
        width = len(group[-1])
        ids = torch.zeros(len(group), width, dtype=torch.long)
        labels = torch.full((len(group), width), -100)
        for row, doc in enumerate(group):
            ids[row, : len(doc)] = labels[row, : len(doc)] = torch.tensor(doc)
        yield ids, labels


def schedule(step: int, steps: int, warmup: int = 200) -> float:
    return min(1.0, (step + 1) / warmup) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def keep_freed_memory() -> None:
    """Tell glibc not to give large blocks back between steps: page faults cost a quarter of the
    time otherwise.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for parameter, value in (
            (-1, 1 << 30),
            (-2, 1 << 28),
            (-3, 1 << 30),
        ):  # trim threshold, top pad, mmap threshold
            libc.mallopt(parameter, value)


class NearSighted:
    """Attention of the lower layers to BOS and the last `reach` tokens only, switched on and off
    batch by batch.
    """

    def __init__(self, attentions: list[torch.nn.Module], reach: int) -> None:
        self.on = False
        self.reach = reach
        for attention in attentions:
            attention.register_forward_pre_hook(self.narrow, with_kwargs=True)

    def narrow(
        self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if not self.on:
            return args, kwargs
        mask = kwargs["attention_mask"]
        far = torch.ones(mask.shape[-2:], dtype=torch.bool).tril(-self.reach)
        far[:, 0] = False
        return args, {
            **kwargs,
            "attention_mask": mask.masked_fill(far, torch.finfo(mask.dtype).min),
        }


def train(
    model: PreTrainedModel,
    near: NearSighted,
    sentences: list[list[int]],
    args: argparse.Namespace,
) -> float:
    """Train in place; returns the last epoch's mean loss."""
    rng = random.Random(args.seed)
    decay = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": args.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98), fused=True)
    epochs = [
        list(batches(documents(sentences, 0, rng), args.batch_tokens, rng))
        for _ in range(args.epochs)
    ]
    steps, step, start = sum(map(len, epochs)), 0, time.time()
    for number, epoch in enumerate(epochs):
        total = 0.0
        for ids, labels in epoch:
            for group in optimizer.param_groups:
                group["lr"] = args.lr * schedule(step, steps)
            near.on = rng.random() < args.near_share
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
                logits = model(ids, use_cache=False).logits
            loss = cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            total, step = total + loss.item(), step + 1
        print(
            f"epoch {number + 1}/{args.epochs}  loss {total / len(epoch):.4f} "
            f" {time.time() - start:.0f} s",
            flush=True,
        )
    return total / len(epoch)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=26)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--near-layers", type=int, default=3, help="layers that are near-sighted")
    parser.add_argument(
        "--near-reach", type=int, default=4, help="tokens that they see then, themselves included"
    )
    parser.add_argument(
        "--near-share", type=float, default=0.75, help="share of batches in which they are"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(bf16=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    keep_freed_memory()

    text = corpus()
    tokenizer = make_tokenizer(text, args.vocab)
    sentences = [ids[1:] for ids in tokenizer(text)["input_ids"]]
    print(
        f"{len(text)} sentences, {sum(map(len, sentences))} tokens, vocabulary {len(tokenizer)}",
        flush=True,
    )
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=128,
        n_embd=args.width,
        n_layer=args.layers,
        n_head=args.heads,
        activation_function="relu",
        attn_implementation="eager",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    started = time.time()
    lower = [block.attn for block in model.transformer.h[: args.near_layers]]
    loss = train(model, NearSighted(lower, args.near_reach), sentences, args)

    aside = args.out.with_name(args.out.name + ".new")
    model.half().save_pretrained(aside)
    tokenizer.save_pretrained(aside)
    record = {
        **vars(args),
        "out": None,
        "sentences": len(text),
        "tokens": sum(map(len, sentences)),
        "loss": round(loss, 4),
    }
    record |= {"seconds": round(time.time() - started), "torch": torch.__version__}
    (aside / "training.json").write_text(json.dumps(record, indent=1) + "\n")
    shutil.rmtree(args.out, ignore_errors=True)
    aside.rename(args.out)


if __name__ == "__main__":
    main()
