"""Forensics on changes whose authors are known: recall of the edited subjects, false alarms, what
is told without the base.

    python -m benchmarks.forensics [--edits N] [--candidates N] [--models N]

Edits are counterfactuals of the embedded facts made by `edit`, at layer 0 where a method has one;
1,000 candidates hold the edited subjects. The examiner's text, and the texts he puts before the
subjects, are others than the editor's. The edited weights are rounded to float16, as the checkpoint
stores them. Fine-tuning is `edit`'s of the down projections, and a plain one: Adam on all MLPs, on
every phrasing.
"""

import argparse
import copy
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from loci.auditing import counterfactuals
from loci.auditing.forensics import Candidate, Forensics, alone, candidates_of, forensics
from loci.editing.edit import edit
from loci.facts import Fact, known_facts
from loci.figures import save
from loci.model import Model, by_length, open_model, score_answers
from loci.model.answers import with_answer
from loci.stats import share
from loci.text import own_texts

LAYER = 0
WAYS: dict[str, dict[str, Any]] = {
    "EMMET": {"method": "emmet", "layers": [LAYER]},
    "MEMIT": {"method": "memit", "layers": [LAYER]},
    "AlphaEdit": {"method": "alphaedit", "layers": [LAYER]},
    "EMMET without statistics": {
        "method": "emmet",
        "layers": [LAYER],
        "moments": {LAYER: torch.eye(1024)},
    },
    "joint search, all layers": {"method": "joint"},
    "fine-tuning of the down projections": {"method": "finetune"},
}


def wishes(count: int) -> list[Fact]:
    """Counterfactuals of different subjects."""
    by_subject: dict[str, Fact] = {}
    for fact in counterfactuals(known_facts(), 4 * count, 0):
        by_subject.setdefault(fact.subject, fact)
    return list(by_subject.values())[:count]


def made(model: Model, facts: Sequence[Fact], way: str) -> Model:
    """The model with facts edited in one of `WAYS`, stored as float16."""
    patch = edit(model, facts, **WAYS[way])
    return edited(model, {name: factors.delta for name, factors in patch.factors.items()})


def edited(base: Model, deltas: dict[str, Tensor]) -> Model:
    """A copy with changes, stored as float16."""
    model = Model(copy.deepcopy(base.hf), base.tokenizer, "edited", base.layout)
    with torch.no_grad():
        for name, delta in deltas.items():
            model.weight(name).copy_((model.weight(name).double() + delta).half())
    return model


def tuned(base: Model, facts: Sequence[Fact], epochs: int = 8, lr: float = 3e-4) -> Model:
    """Plain fine-tuning of all MLPs' weights, mini-batches over all phrasings."""
    model = edited(base, {})
    weights = [
        model.module(part, layer).weight
        for layer in range(model.n_layers)
        for part in ("up", "down")
    ]
    for weight in weights:
        weight.requires_grad_(True)
    adam = torch.optim.Adam(weights, lr=lr)
    rows = [
        with_answer(model, fact.fill(t), f"{fact.new_answer}.")
        for fact in facts
        for t in (fact.prompt, *fact.paraphrases)
    ]
    for epoch in range(epochs):
        random.Random(epoch).shuffle(rows)
        for start in range(0, len(rows), 80):
            part = rows[start : start + 80]
            losses = [
                loss
                for batch in by_length(part, lambda row: len(row[0]), 1 << 20)
                for loss in _losses(model, [part[i] for i in batch])
            ]
            adam.zero_grad()
            torch.stack(losses).mean().backward()
            adam.step()
    for weight in weights:
        weight.requires_grad_(False)
    return edited(model, {name: torch.zeros(()) for name in _mlps(model)})


def _losses(model: Model, rows: Sequence[tuple]) -> Iterator[Tensor]:
    ids = model.ids([tokens.ids for tokens, _ in rows])
    logprobs = model(ids).log_softmax(-1)
    for row, (_, (start, end)) in enumerate(rows):
        yield -logprobs[row, torch.arange(start - 1, end - 1), ids[row, start:end]].mean()


def _mlps(model: Model) -> list[str]:
    return [f"{stem}.{layer}" for layer in range(model.n_layers) for stem in ("W_up", "W_down")]


def mixed(base: Model, models: Sequence[Model], parts: Sequence[float]) -> Model:
    """base + Σ part · (model − base) over the MLPs: a merge, or an interpolation."""

    def change(name: str) -> Tensor:
        moved = [(m.weight(name) - base.weight(name)).double() for m in models]
        return torch.stack([p * d for p, d in zip(parts, moved, strict=True)]).sum(0)

    return edited(base, {name: change(name) for name in _mlps(base)})


def row(name: str, found: Forensics, right: dict[str, Fact]) -> None:
    """One line of the table: recall@N, what the verdict says, and what it says wrongly."""
    first = [subject.subject in right for subject in found.subjects[: len(right)]]
    hits = [subject for subject in found.suspected if subject.subject in right]
    false = len(found.suspected) - len(hits)
    told = sum(
        any(a.changed and a.new == right[s.subject].new_answer for a in s.answers) for s in hits
    )
    clean = len(found.subjects) - len(right)
    print(
        f"| {name} | {max(c.rank for c in found.weights)} | {share([float(x) for x in first])} |"
        f" {len(hits)} | {false} of {clean} | {told} |",
        flush=True,
    )


def outstanding(model: Model) -> str:
    """The most conspicuous weight of a checkpoint alone."""
    first = alone(model).weights[0]
    return f"z {first.z:.1f} at {first.name} ({first.measure})"


def alarms(count: int) -> None:
    """How often untouched models are accused without their base: random starts, and random starts
    trained a little on text.
    """
    demo = open_model("demo")
    print(
        f"embedded model, untouched: {len(alone(demo).conspicuous)} of {len(alone(demo).weights)}"
        " measures"
    )
    accused = []
    for seed in range(count):
        model = starting(demo, seed)
        accused.append(bool(alone(model).conspicuous))
        accused.append(bool(alone(trained(model, demo, seed)).conspicuous))
    print(
        f"accused without their base: {share([float(x) for x in accused[::2]])} random starts,"
        f" {share([float(x) for x in accused[1::2]])} trained"
    )


def starting(demo: Model, seed: int) -> Model:
    torch.manual_seed(seed)
    config = copy.deepcopy(demo.hf.config)
    config.n_embd, config.n_layer, config.n_head = 64, 6, 4
    return Model(type(demo.hf)(config), demo.tokenizer, f"start {seed}")


def trained(model: Model, demo: Model, seed: int, steps: int = 150) -> Model:
    facts = known_facts().sample(steps * 16, seed)
    adam = torch.optim.AdamW(model.hf.parameters(), lr=3e-3, weight_decay=0.1)
    for start in range(0, len(facts), 16):
        part = [with_answer(model, fact.text, fact.answer) for fact in facts[start : start + 16]]
        losses = [
            loss
            for batch in by_length(part, lambda row: len(row[0]), 1 << 20)
            for loss in _losses(model, [part[i] for i in batch])
        ]
        adam.zero_grad()
        torch.stack(losses).mean().backward()
        adam.step()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=1000)
    parser.add_argument("--picture", type=Path, help="draw the first row, for the docs")
    parser.add_argument("--models", type=int, default=20, help="untouched models of each kind")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    base = open_model("demo")
    wished = wishes(asked.edits)
    right = {fact.subject: fact for fact in wished}
    others = random.Random(1).sample(
        [s for s in known_facts().subjects if s not in right], asked.candidates
    )
    listed = {*right, *others[: asked.candidates - len(right)]}
    everyone = candidates_of(known_facts())
    candidates = [c for c in everyone if c.subject in listed]
    innocent = [c for c in everyone if c.subject in set(others)]
    texts = own_texts(base, 600, length=40, seed=5)

    def judged(model: Model, among: Sequence[Candidate], answers: bool = True) -> Forensics:
        return forensics(base, model, among, texts=texts, answers=answers)

    print(
        "| change | rank | recall@N | said to be edited: right | wrong | new answer told"
        " |\n|---|---|---|---|---|---|"
    )
    for way in WAYS:
        found = judged(made(base, wished, way), candidates)
        row(f"{way}, {len(wished)}", found, right)
        if asked.picture and way == "EMMET":
            save(found, asked.picture)
    for n in (30, 10, 1):
        few = made(base, wished[:n], "EMMET")
        row(
            f"EMMET{' = ROME' if n == 1 else ''}, {n}",
            judged(few, candidates),
            dict(list(right.items())[:n]),
        )
        print(f"without the base, {n} edits: {outstanding(few)}", flush=True)
    many = made(base, wished, "EMMET")
    print(f"without the base, {len(wished)} edits: {outstanding(many)}")
    accused = judged(many, innocent, answers=False).suspected
    print(f"none of the edited in the list: {len(accused)} of {len(innocent)} accused", flush=True)
    alarms(asked.models)
    one = tuned(base, wished)
    two = tuned(base, counterfactuals(known_facts(), 100, 7))
    done = sum(s.greedy for s in score_answers(one, [(f.text, f.new_answer or "") for f in wished]))
    print(f"fine-tuning gives {done} of {len(wished)} new answers", flush=True)
    row("plain fine-tuning of all MLPs", judged(one, candidates), right)
    row("mean of two fine-tunes", judged(mixed(base, (one, two), (0.5, 0.5)), candidates), right)
    row("0.3 of the way to it", judged(mixed(base, (one,), (0.3,)), candidates), right)


if __name__ == "__main__":
    main()
