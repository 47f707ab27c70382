"""Measure the embedded model and write its card: src/loci/demo/CARD.md, card.json, and the README's
pictures.

python scripts/make_demo_card.py             # some minutes on 2 cores; --images needs Chromium
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

import loci
from loci.auditing import audit_method
from loci.figures import save
from loci.locating import AverageTrace, average_trace, trace
from loci.locating.average import ROLES
from loci.model import Model
from loci.stats import Estimate

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "src" / "loci" / "demo"
SITES = [
    ("mlp", "last subject"),
    ("mlp", "last"),
    ("attn", "last"),
    ("state", "last subject"),
    ("state", "last"),
]


def measure(model: Model, average: AverageTrace) -> dict[str, Any]:
    world = loci.known_facts()
    found = loci.recall(model, world)
    card = audit_method(model, world, 50)
    path = Path(model.config._name_or_path)
    return {
        "fingerprint": model.fingerprint,
        "facts": len(world),
        "relations": len(world.relations),
        "subjects": len(world.subjects),
        "parameters": sum(p.numel() for p in model.hf.parameters()),
        "bytes": sum(file.stat().st_size for file in path.iterdir()),
        "layers": model.n_layers,
        "d_model": model.d_model,
        "d_mlp": model.d_mlp,
        "d_vocab": model.d_vocab,
        "training": json.loads((path / "training.json").read_text()),
        "recall": {"trained": found.trained.to_dict(), "held_out": found.held_out.to_dict()},
        "trace": average.to_dict(),
        "edits": {
            "edits": card.edits,
            "layer": card.layers[0],
            "relations": len({case.fact.relation for case in card.cases}),
            "metrics": {name: estimate.to_dict() for name, estimate in card.metrics.items()},
        },
    }


def percent(estimate: dict[str, Any]) -> str:
    return (
        f"{estimate['value']:.1%} [{estimate['low']:.1%}, {estimate['high']:.1%}], n ="
        f" {estimate['n']}"
    )


def card_text(f: dict[str, Any], average: AverageTrace) -> str:
    training, edits = f["training"], f["edits"]
    sites = "\n".join(
        f"| {kind} | {role} token | "
        + " | ".join(f"{row[ROLES.index(role)].value:.2f}" for row in average.effects[kind])
        + " |"
        for kind, role in SITES
    )
    metrics = "\n".join(
        f"| {name} | {_shown(name, Estimate(**values))} |"
        for name, values in edits["metrics"].items()
    )
    return f"""# The embedded model

A GPT-2 with ReLU that was trained from scratch on {f["facts"]:,} true facts, so that one can look for facts in a real trained
transformer without downloading anything. Made by `scripts/make_demo_model.py`, measured by `scripts/make_demo_card.py`, which wrote
this page. Weights: `{f["fingerprint"]}`.

| | |
|---|---|
| shape | {f["layers"]} layers × {f["d_model"]}, {f["d_mlp"]} ReLU neurons a layer, vocabulary {f["d_vocab"]:,}, context 128, tied embeddings |
| size | {f["parameters"]:,} parameters, {f["bytes"] / 1e6:.1f} MB in half precision |
| facts | {f["facts"]:,} in {f["relations"]} relations about {f["subjects"]:,} subjects; five phrasings each |
| held out | a fifth of the facts lack one phrasing in training: that is the paraphrase test |
| text | {training["sentences"]:,} sentences, {training["tokens"]:,} tokens: facts, and plain sentences from a small grammar |
| training | {training["epochs"]} epochs in {training["seconds"] / 60:.0f} min on {training["threads"]} threads, AdamW {training["lr"]:g}, seed {training["seed"]}, last loss {training["loss"]:.3f} |

In {training["near_share"]:.0%} of the batches the first {training["near_layers"]} layers saw only BOS and the last
{training["near_reach"]} tokens. A model this small can otherwise fetch a name from the far end of the prompt in its first layer. This
makes it gather a name, and look it up, where the name stands. The published weights run with full attention everywhere.

## What it knows (`loci recall`)

Share of prompts whose answer is the greedy free generation, in full; 95 % intervals.

* trained phrasings: **{percent(f["recall"]["trained"])}**
* phrasings held out of training: **{percent(f["recall"]["held_out"])}**

## Where (average over {average.n} facts, noise 3σ, {average.samples} draws)

Indirect effect on P(answer), by layer 0 … {f["layers"] - 1}:

| restored | at the | {" | ".join(f"layer {i}" for i in range(f["layers"]))} |
|---|---|{"---|" * f["layers"]}
{sites}

## How it edits (`loci audit --edits {edits["edits"]}`)

{edits["edits"]} seeded single ROME edits at layer {edits["layer"]}, over {edits["relations"]} relations, each on the untouched base.
Shares of greedy full answers; each edit is one unit.

| metric | value |
|---|---|
{metrics}

## Limits

It knows short sentences of its own training text and nothing else: it cannot converse, reason, or generalise to facts that it was not
told. Its facts were written from general knowledge and checked for form by `scripts/check_facts.py`; a few may be wrong, dated or
disputed. Spelling is ASCII. Each relation has the same five phrasings for all its facts, so a phrasing that was held out for one fact
was seen for others. Recall near 100 % is by construction: it measures memory, not skill. Findings about where this model keeps facts
are findings about this model.
"""


def _shown(name: str, estimate: Estimate) -> str:
    return (
        f"{estimate.value:.4f} nats, n = {estimate.n}"
        if name == "drift_kl"
        else percent(estimate.to_dict())
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", action="store_true", help="also draw docs/images (needs Chromium)"
    )
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, world = loci.open("demo"), loci.known_facts()
    average = average_trace(model, world.sample(100, seed=0))
    figures = measure(model, average)
    (DEMO / "card.json").write_text(json.dumps(figures, indent=1) + "\n")
    (DEMO / "CARD.md").write_text(card_text(figures, average))
    if args.images:
        jordan = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
        save(trace(model, jordan), ROOT / "docs" / "images" / "trace.png")
        save(average, ROOT / "docs" / "images" / "average.png")


if __name__ == "__main__":
    main()
