"""Targets of many facts at once against one fact at a time with full forwards, the published
procedure.

    python -m benchmarks.targets [--edits 200] [--layer 0]

The plain loop is MEMIT's: for each fact its prompt, bare and behind five texts, and "{subject} is
a" for the KL term; Adam on δ, added to what the block leaves at the last subject token, at most 25
steps, stopped at a loss of 0.05; every step runs the whole model on all positions. All at once are
`BARE` (contexts alone, as there) and `LEAN` (with prompts sampled from the model, their sampling
included). All targets go through the same solver (MEMIT), and all edits are asked the same.
"""

import argparse
import time
from collections.abc import Sequence

import torch
from torch.nn.functional import kl_div

from loci.auditing import audit, counterfactuals
from loci.editing import (
    BARE,
    LEAN,
    Covariance,
    TargetSettings,
    find_targets,
    key_moments,
    response,
    solve,
    training_prompts,
)
from loci.editing.prompts import subject_reads
from loci.facts import Fact, known_facts
from loci.model import Model, open_model
from loci.model.answers import with_answer
from loci.patches import Patch
from loci.text import corpus_texts

SLACK = 0.03
"""MEMIT's: several facts of one subject share a key, which no exact solution can tell apart."""
STEPS, LR, STOP, CLAMP, DECAY, KL = 25, 0.5, 5e-2, 0.75, 0.5, 0.0625


def plain(model: Model, fact: Fact, layer: int, heads: Sequence[str]) -> torch.Tensor:
    """δ of one fact, as published."""
    rows = [with_answer(model, head + fact.text, fact.new_answer or "") for head in heads]
    places = [len(head) + fact.subject_span[0] for head in heads]
    essence = model.tokenize(f"{fact.subject} is a")
    subjects = [
        t.span((at, at + len(fact.subject)))[1] - 1 for (t, _), at in zip(rows, places, strict=True)
    ]
    subjects.append(essence.span((0, len(fact.subject)))[1] - 1)
    ids, mask = model.padded([*(t.ids for t, _ in rows), essence.ids])
    delta, everyone, before, size = (
        torch.zeros(model.d_model, requires_grad=True),
        torch.arange(len(subjects)),
        None,
        torch.zeros(()),
    )
    adam = torch.optim.Adam([delta], lr=LR)

    def add(out: torch.Tensor) -> torch.Tensor:
        nonlocal size
        size = out[0, subjects[0]].detach().norm() if before is None else size
        changed = out.clone()
        changed[everyone, subjects] += delta
        return changed

    for _ in range(STEPS):
        with model.patched({f"resid_post.{layer}": add}):
            logprobs = model(ids, mask).log_softmax(-1)
        essential = logprobs[-1, subjects[-1]]
        before = essential.detach() if before is None else before
        nll = torch.stack(
            [
                -logprobs[i, range(a - 1, b - 1), t.ids[a:b]].mean()
                for i, (t, (a, b)) in enumerate(rows)
            ]
        ).mean()
        kl = kl_div(before, essential, log_target=True, reduction="sum")
        loss = nll + KL * kl + DECAY * delta.norm() / size**2
        if loss < STOP:
            break
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            delta *= min(1.0, float(CLAMP * size / delta.norm().clamp(min=1e-9)))
    return delta.detach()


def scores(
    model: Model, facts: Sequence[Fact], layer: int, deltas: torch.Tensor, C: torch.Tensor
) -> str:
    """Efficacy and paraphrase of the edit with these targets."""
    prompts = [
        [prompt for prompt in own if prompt.answer]
        for own in training_prompts(model, facts, TargetSettings(essence=0))
    ]
    K, _ = subject_reads(model, prompts, layer, layer)
    metric = Covariance.of(C)
    factors = solve(metric, K, deltas.T, SLACK * response(metric, K)).factors
    patch = Patch(
        "targets", model.fingerprint, model.name, {f"W_down.{layer}": factors}, tuple(facts)
    )
    card = audit(model, patch, known_facts(), controls=(), neighbours=5)
    return " | ".join(
        f"{name} {card.metrics[name].value:.3f}"
        for name in ("efficacy", "paraphrase", "specificity", "same_subject")
    )


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--edits", type=int, default=200)
    asked.add_argument("--layer", type=int, default=0)
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    model = open_model("demo")
    facts, layer = counterfactuals(known_facts(), options.edits, options.seed), options.layer
    C = key_moments(model, [layer])[layer]
    heads = ["", *(f"{text} " for text in corpus_texts()[:5])]
    start = time.perf_counter()
    with model.frozen():
        published = torch.stack([plain(model, fact, layer, heads) for fact in facts])
    slow = time.perf_counter() - start
    print(
        f"one at a time       {slow / len(facts):.3f} s a fact |"
        f" {scores(model, facts, layer, published, C)}",
        flush=True,
    )
    for name, settings in (("BARE", BARE), ("LEAN", LEAN)):
        start = time.perf_counter()
        ours = torch.stack([target.delta for target in find_targets(model, facts, layer, settings)])
        fast = time.perf_counter() - start
        said = f"{fast / len(facts):.3f} s a fact | {scores(model, facts, layer, ours, C)}"
        print(f"all at once, {name}   {said} | × {slow / fast:.1f}", flush=True)


if __name__ == "__main__":
    main()
