"""What is left of edits after a little fine-tuning on unrelated text.

    python -m benchmarks.decay --quick                          the embedded model, 4 edits
    python -m benchmarks.decay --model FOLDER --facts known.jsonl --edits 10 --methods rome memit

Every method edits the same facts; then the edited model is tuned on sentences that no edit was made
with, and asked on the way:

    full   AdamW on all matrices of all blocks, lr 2e-5
    lora   AdamW on B A beside q, v, up, gate and down, rank 8, scale 2, lr 2e-4

    said   share of the edits whose new answer is said        back   whose old answer is
    drop   mean change of −log P a token on the sentences tuned on: that the tuning did something

Published methods are those of `published_editors`. Source of the question: "Edits decay"
(2511.05852).
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.published_editors import PREFIXES, PUBLISHED, published
from loci.auditing import counterfactuals
from loci.editing.edit import edit
from loci.facts import Fact, FactSet, known_facts, load_facts
from loci.model import Model, by_length, open_model, score_answers
from loci.patches import Patch
from loci.stats import share
from loci.text import background, held_out_sentences

METHODS = ("joint", *PUBLISHED)
WAYS = {"full": 2e-5, "lora": 2e-4}
RANK, SCALE, BATCH, LONGEST = 8, 2.0, 8, 40
PARTS = ("q", "v", "up", "gate", "down")


def patch_by(model: Model, facts: Sequence[Fact], method: str, seed: int) -> Patch:
    if method in PUBLISHED:
        return published(model, facts, method, background(model).beginnings(PREFIXES, seed))
    return edit(model, facts, method=method, seed=seed, report=False)


@contextmanager
def as_before(model: Model) -> Iterator[None]:
    """After the block every weight has the bits that it had before it."""
    before = {name: weight.clone() for name, weight in model.hf.state_dict().items()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, weight in model.hf.state_dict().items():
                weight.copy_(before[name])


@contextmanager
def trainable(model: Model, way: str, seed: int) -> Iterator[list[Tensor]]:
    """The variables of one way to fine-tune, at work inside the block."""
    model.hf.requires_grad_(requires_grad=False)
    if way == "full":
        weights = [w for block in model.blocks for w in block.parameters() if w.ndim > 1]
        for weight in weights:
            weight.requires_grad_(True)
        yield weights
        model.hf.requires_grad_(requires_grad=False)
        return
    noise = torch.Generator().manual_seed(seed)
    variables, handles = list[Tensor](), []
    for module in adapted(model):
        wide, out = sides(module)
        A = torch.randn(RANK, wide, generator=noise) / wide**0.5
        A.requires_grad_(True)
        B = torch.zeros(out, RANK, requires_grad=True)
        variables += [A, B]
        handles.append(module.register_forward_hook(adding(A, B)))
    try:
        yield variables
    finally:
        for handle in handles:
            handle.remove()


def adapted(model: Model) -> list[nn.Module]:
    """The modules that LoRA stands beside; a fused one once."""
    found = [
        model.module(part, layer)
        for layer in range(model.n_layers)
        for part in PARTS
        if getattr(model.layout, part)
    ]
    return list({id(module): module for module in found}.values())


def sides(module: Any) -> tuple[int, int]:
    """Width of what a linear module takes, and of what it gives."""
    out, wide = module.weight.shape
    return (wide, out) if isinstance(module, nn.Linear) else (out, wide)


def adding(A: Tensor, B: Tensor) -> Callable[..., Tensor]:
    return lambda _, args, out: out + SCALE * (args[0] @ A.T) @ B.T


def surprise(model: Model, rows: Sequence[Sequence[int]]) -> Tensor:
    """Mean −log P a token."""
    losses = []
    for batch in by_length(rows, len, 4096):
        ids = model.ids([rows[i] for i in batch])
        logits = model(ids)[:, :-1].flatten(0, 1)
        losses.append(nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="sum"))
    return torch.stack(losses).sum() / sum(len(row) - 1 for row in rows)


def asked(model: Model, facts: Sequence[Fact]) -> dict[str, Any]:
    """Of the edits, how many new answers are said, and how many old ones."""
    pairs = [(f.text, f.new_answer or "") for f in facts] + [(f.text, f.answer) for f in facts]
    said = [float(score.said) for score in score_answers(model, pairs)]
    half = len(facts)
    return {"said": share(said[:half]).to_dict(), "back": share(said[half:]).to_dict()}


def decayed(
    model: Model,
    facts: Sequence[Fact],
    way: str,
    rows: Sequence[Sequence[int]],
    steps: Sequence[int],
    seed: int,
) -> list[dict[str, Any]]:
    """The edited model after so many steps, each time asked."""
    found = []
    with torch.no_grad():
        start = float(surprise(model, rows))
    with trainable(model, way, seed) as variables:
        adam, draw = torch.optim.AdamW(variables, lr=WAYS[way]), random.Random(seed)
        for step in range(max(steps) + 1):
            if step in steps:
                with torch.no_grad():
                    drop = float(surprise(model, rows)) - start
                found.append({"steps": step, "drop": drop, **asked(model, facts)})
            if step < max(steps):
                surprise(model, draw.sample(list(rows), min(BATCH, len(rows)))).backward()
                adam.step()
                adam.zero_grad()
    return found


def facts_of(model: Model, path: Path | None, count: int, seed: int) -> list[Fact]:
    """Counterfactuals of different subjects which the model answers."""
    world = known_facts() if path is None else load_facts(path)
    known = FactSet({f.subject: f for f in world if f.new_answer or f.relation}.values())
    if all(fact.new_answer for fact in known):
        return list(known.sample(count, seed))
    return counterfactuals(known, count, seed)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--facts", type=Path, help="a fact file, with new answers or relations")
    parser.add_argument("--edits", type=int, default=10)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--steps", nargs="+", type=int, default=[0, 10, 30, 100])
    parser.add_argument("--sentences", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="4 edits, two methods, 10 steps")
    parser.add_argument("--json", action="store_true", help="one document on stdout")
    given = parser.parse_args(words)
    if given.quick:
        given.edits, given.methods, given.steps = 4, ["rome", "memit"], [0, 10]
        given.sentences = 16
    torch.set_num_threads(1)
    model = open_model(given.model)
    facts = facts_of(model, given.facts, given.edits, given.seed)
    texts = held_out_sentences(model, given.sentences)
    rows = [tokens.ids[:LONGEST] for tokens in model.tokenize_all(texts, model.n_ctx)]
    rows = [row for row in rows if len(row) > 2]
    found: dict[str, Any] = {}
    for method in given.methods:
        started = time.process_time()
        patch = patch_by(model, facts, method, given.seed)
        seconds = time.process_time() - started
        for way in given.ways:
            with as_before(model):
                patch.add_to(model)
                curve = decayed(model, facts, way, rows, given.steps, given.seed)
            found.setdefault(method, {"seconds": seconds})[way] = curve
            for point in curve:
                told = "  ".join(
                    f"{name} {point[name]['value']:.2f}"
                    f" [{point[name]['low']:.2f}, {point[name]['high']:.2f}]"
                    for name in ("said", "back")
                )
                line = f"{method:10} {way:5} {point['steps']:4} steps  {told}"
                print(f"{line}  drop {point['drop']:+.3f}", file=sys.stderr, flush=True)
    if given.json:
        head = {"schema": "loci.decay/1", "model": model.name, "edits": len(facts)}
        print(json.dumps({**head, "seed": given.seed, "rows": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
