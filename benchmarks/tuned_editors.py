"""Fine-tuning as an editor, for comparison: breadth-first, by an adapter; and prompts that say the
edits. Plain implementations, for comparison alone.

    ft-bf     W_down of one layer, Adam: every step is over a batch of facts, and passes over all
              facts follow each other (breadth-first), with a KL term on text that the model samples
    lora      an adapter of rank 8 on the queries and values of all layers, by PEFT, merged
    retrieval the sentence of the edit that shares most words with a prompt is put in front of it,
              where it names the edit's subject

Sources: LocFT-BF (ICLR 2026: mini-batches, passes over all facts, one down projection), and the
settings of EasyEdit's LoRA (rank 8, α 32, 70 steps, Adam at 5e-3).
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from benchmarks.published_editors import Prompt, answers_in, bare_prompts, logits, padded, run
from loci.facts import Fact
from loci.model import Model, open_model
from loci.patches import Factors, Patch
from loci.text import background

DEPTH, RATE, PASSES, BATCH, ENOUGH = 0.5, 1e-3, 60, 16, 1e-2
TEXTS, TEXT_TOKENS = 8, 32
RANK, ALPHA, LORA_RATE, LORA_STEPS = 8, 32, 5e-3, 70


def told(fact: Fact) -> str:
    """The edit as a sentence."""
    return f"{fact.text} {fact.new_answer}. "


def retrieved(facts: Sequence[Fact]) -> Callable[[str], str]:
    """What is put in front of a prompt."""
    words = [set(re.findall(r"\w+", told(fact).lower())) for fact in facts]

    def prefix(prompt: str) -> str:
        asked = set(re.findall(r"\w+", prompt.lower()))
        named = [i for i, fact in enumerate(facts) if fact.subject in prompt]
        best = max(named, key=lambda i: len(words[i] & asked), default=None)
        return "" if best is None else told(facts[best])

    return prefix


def breadth_first(model: Model, facts: Sequence[Fact], seed: int) -> Patch:
    """ft-bf: stops when a pass over all facts has a mean loss below `ENOUGH`."""
    layer, rng = round(DEPTH * model.n_layers), random.Random(seed)
    prompts, name = bare_prompts(model, facts), f"W_down.{layer}"
    texts = [list(model.tokenize(t).ids)[:TEXT_TOKENS] for t in background(model).sentences(400)]
    change = torch.zeros(model.weight(name).shape, requires_grad=True)
    optimiser, module = torch.optim.Adam([change], lr=RATE), model.module("down", layer)

    def add(_: torch.nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        return out + args[0] @ change.T

    def same(_: torch.nn.Module, __: tuple[Tensor, ...], ___: Tensor) -> None:
        return None

    with model.frozen():
        for _ in range(PASSES):
            losses = list[float]()
            order = rng.sample(prompts, len(prompts))
            for start in range(0, len(order), BATCH):
                some, near = order[start : start + BATCH], rng.sample(texts, TEXTS)
                row, column, target = answers_in(some)
                states = run(model, padded(model, [[*p.ids, *p.answer] for p in some]), module, add)
                loss = cross_entropy(logits(model, states[row, column]), target)
                losses.append(float(loss.detach()))
                (loss + drift(model, near, module, same, add)).backward()
                optimiser.step()
                optimiser.zero_grad()
            if sum(losses) / len(losses) < ENOUGH:
                break
    factors = {name: Factors(torch.eye(len(change)), change.detach())}
    return Patch("ft-bf", model.fingerprint, model.name, factors, tuple(facts), {"layers": [layer]})


def drift(
    model: Model,
    texts: Sequence[Sequence[int]],
    module: torch.nn.Module,
    same: Callable[..., Tensor | None],
    changed: Callable[..., Tensor | None],
) -> Tensor:
    """Mean KL(before ‖ after) at the last tokens of texts."""
    ids, last = padded(model, texts), torch.tensor([len(text) - 1 for text in texts])
    rows = torch.arange(len(texts))
    with torch.no_grad():
        before = logits(model, run(model, ids, module, same)[rows, last]).log_softmax(-1)
    after = logits(model, run(model, ids, module, changed)[rows, last]).log_softmax(-1)
    return kl_div(after, before, log_target=True, reduction="batchmean")


def adapted(source: Path, facts: Sequence[Fact], seed: int, folder: Path) -> None:
    """lora: write the merged model to a folder."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = open_model(str(source))
    prompts = bare_prompts(model, facts)
    kind = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
    )
    tuned = get_peft_model(model.hf, kind)
    optimiser = torch.optim.Adam([p for p in tuned.parameters() if p.requires_grad], lr=LORA_RATE)
    for some in islice(passes(prompts, seed), LORA_STEPS):
        ids = padded(model, [[*p.ids, *p.answer] for p in some])
        row, column, target = answers_in(some)
        loss = cross_entropy(tuned(input_ids=ids).logits[row, column], target)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    tuned.merge_and_unload().save_pretrained(folder)


def passes(prompts: Sequence[Prompt], seed: int) -> Iterator[list[Prompt]]:
    """Batches of prompts, in passes over all of them."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(prompts, len(prompts))
        yield from (order[i : i + BATCH] for i in range(0, len(order), BATCH))
