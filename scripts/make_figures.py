"""Draw the pictures of docs/locating.md from the embedded model: python scripts/make_figures.py (about four minutes, needs Chromium)."""

from pathlib import Path

import loci
from loci.auditing import counterfactuals, score_locators, sweep
from loci.figures import save
from loci.locating import attribute, knowledge_neurons, lens, locate, lookup, probe, routes, trace, trace_neurons
from loci.writing import Curve, capacity, case, gate, planted

IMAGES = Path(__file__).parents[1] / "docs" / "images"
KINDS = ("state", "state-without-mlp", "state-without-attn")


def main() -> None:
    model, world = loci.open("demo"), loci.known_facts()
    fact = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
    pictures = {
        "locate": lambda: locate(model, fact),
        "severed": lambda: trace(model, fact, kinds=KINDS, corruption="resample"),
        "single-neurons": lambda: trace_neurons(model, fact, 0),
        "estimate": lambda: attribute(model, fact),
        "lens": lambda: lens(model, fact.text, fact.answer),
        "knowledge": lambda: knowledge_neurons(model, fact),
        "probe": lambda: probe(model, [f for f in world if f.relation == "athlete_sport"]),
        "lookup": lambda: lookup(model, world, "athlete_sport"),
        "routes": lambda: routes(model, world.sample(50, seed=0)),
        "gate": gate,
        "capacity": lambda: Curve(tuple(capacity(case(32, facts)) for facts in (128, 256, 512))),
        "ground-truth": lambda: score_locators(planted("superposed")),
        "sweep": lambda: sweep(model, counterfactuals(world, 10, 0)),
    }
    for name, make in pictures.items():
        save(make(), IMAGES / f"{name}.png")
        print(f"written: docs/images/{name}.png")


if __name__ == "__main__":
    main()
