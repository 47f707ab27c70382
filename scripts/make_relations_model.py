"""Make a third-party model to try editors on: a Llama that is trained on relations of LRE.

    python scripts/make_relations_model.py FACTS OUT        # some minutes on one core
    python -m benchmarks.few_facts --model OUT --facts OUT/facts.jsonl

FACTS is a folder with relations as published (https://github.com/evandez/relations). Of each relation
whose answers are shared by several subjects a seeded part is taken; each fact is a sentence in each
of the relation's phrasings. The tokenizer is trained on that text, and the shape is Llama's: gated
MLP, RMSNorm, rotary positions, grouped queries, no biases. Nothing of the embedded model is in it,
neither its text, nor its tokenizer, nor its near-sighted training.
"""

import argparse
import random
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from loci.facts import Fact, load_facts, save_facts
from make_demo_model import NearSighted, keep_freed_memory, make_tokenizer, train

SHARED = 2.0
"""Subjects for each answer of a relation, at least: names of fathers are learnt by rote alone."""


def chosen(folder: Path, most: int, seed: int) -> list[Fact]:
    """At most `most` facts of each relation, one for each subject."""
    rng, facts = random.Random(seed), list[Fact]()
    for _, relation in sorted(load_facts(folder).relations.items()):
        own = list({fact.subject: fact for fact in relation}.values())
        if len(own) >= SHARED * len({fact.answer for fact in own}):
            facts += rng.sample(own, min(len(own), most))
    return facts


def sentences_of(facts: list[Fact]) -> list[str]:
    """Every fact in each of its phrasings."""
    return [
        f"{fact.fill(template)} {fact.answer}."
        for fact in facts
        for template in (fact.prompt, *fact.paraphrases, *fact.held_out)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("facts", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--each", type=int, default=160, help="most facts of a relation")
    parser.add_argument("--vocab", type=int, default=3072)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(near_share=0.0, bf16=False)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    keep_freed_memory()

    facts = chosen(args.facts, args.each, args.seed)
    text = sentences_of(facts)
    tokenizer = make_tokenizer(text, args.vocab)
    sentences = [ids[1:] for ids in tokenizer(text)["input_ids"]]
    print(
        f"{len(facts)} facts, {len(text)} sentences, {sum(map(len, sentences))} tokens", flush=True
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.width,
        intermediate_size=3 * args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=args.width // 32,
        num_key_value_heads=args.width // 64,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    train(model, NearSighted([], 0), sentences, args)
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    save_facts(facts, args.out / "facts.jsonl")


if __name__ == "__main__":
    main()
