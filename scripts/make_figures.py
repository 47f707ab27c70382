"""Draw the pictures of the docs: python scripts/make_figures.py [NAME …] (about twenty minutes for all, needs Chromium)."""

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

import loci
from loci.auditing import counterfactuals, score_locators, sweep
from loci.facts import corpus
from loci.figures import save
from loci.locating import attribute, knowledge_neurons, lens, locate, lookup, probe, routes, trace, trace_neurons
from loci.reading import Atlas, build_atlas, clusters, memories, open_atlas, sub_updates
from loci.reading.basis import bases
from loci.reading.concepts import concept
from loci.reading.directions import directions
from loci.reading.sparsity import sparsity
from loci.superposition import (
    attack,
    bounds,
    bounds_table,
    computation,
    correlated,
    geometry,
    interference,
    pack,
    phase,
    reach,
    toy,
    video,
    weight_angles,
)
from loci.survey import sample_text
from loci.writing import Curve, capacity, case, fullness, gate, planted

IMAGES = Path(__file__).parents[1] / "docs" / "images"
KINDS = ("state", "state-without-mlp", "state-without-attn")


def main() -> None:
    model, world = loci.open("demo"), loci.known_facts()
    fact = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
    languages = list(dict.fromkeys((f.answer, f.subject) for f in world.of("country_language") if f.answer != f.subject))
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
        "fullness": lambda: fullness(model),
        "sweep": lambda: sweep(model, counterfactuals(world, 10, 0)),
        "atlas": lambda: atlas(model),
        "memories": lambda: memories(model, sample_text(model, 50_000)),
        "updates": lambda: sub_updates(model, fact.text),
        "clusters": lambda: clusters(model, 64),
        "sparsity": lambda: sparsity(model),
        "basis": lambda: bases(model),
        "directions": lambda: directions(model, languages, point="embed"),
        "concepts": lambda: concept(
            model, ["Michael", "Jordan"], ["Michael Jordan", "Michael Jackson", "Barack Obama"], "resid_post.0"
        ),
        "superposition-bounds": lambda: bounds_table(12288, (89, 88, 87, 86, 85, 82, 80)),
        "superposition-rules": lambda: bounds(12288, 87),
        "superposition-reach": lambda: reach(100, 10_000),
        "superposition-packing": lambda: pack(50, 1000),
        "superposition-video": lambda: video(2000),
        "superposition-toy": lambda: toy(steps=3000, batch=512),
        "superposition-pentagon": lambda: toy(5, 2, (1.0, 0.3, 0.05), importance=1.0, runs=8, steps=2000, batch=256),
        "superposition-geometry": lambda: geometry(80, 10, steps=3000),
        "superposition-phase": lambda: phase(),
        "superposition-correlated": lambda: correlated(),
        "superposition-computation": lambda: computation(steps=4000, batch=512),
        "superposition-attack": lambda: attack(steps=3000),
        "superposition-interference": lambda: interference(),
        "superposition-weights": lambda: weight_angles(model),
    }
    for name in sys.argv[1:] or pictures:
        save(pictures[name](), IMAGES / f"{name}.png")
        print(f"written: docs/images/{name}.png")


def atlas(model: loci.Model) -> Atlas:
    """Over the whole embedded text; its folder is deleted as the script ends."""
    folder = tempfile.mkdtemp(prefix="loci-atlas-")
    atexit.register(shutil.rmtree, folder)
    return open_atlas(build_atlas(model, corpus, folder, source="the embedded text"))


if __name__ == "__main__":
    main()
