"""Draw the pictures of the docs: python scripts/make_figures.py [NAME …] (about half an hour for
all, needs Chromium).
"""

import atexit
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from random import Random

import loci
from loci.auditing import counterfactuals, score_locators, sweep
from loci.circuits import (
    HeadScatter,
    compose,
    edges,
    extraction,
    fact_circuit,
    head_scores,
    neuron_links,
    order_losses,
    paths,
    token_circuit,
)
from loci.dictionaries import fact_sparsity, load_dictionary
from loci.facts import corpus
from loci.figures import save
from loci.locating import (
    attribute,
    knowledge_neurons,
    lens,
    locate,
    lookup,
    probe,
    routes,
    trace,
    trace_neurons,
)
from loci.reading import Atlas, build_atlas, clusters, memories, open_atlas, sub_updates
from loci.reading.activation_sparsity import sparsity
from loci.reading.concept_directions import directions
from loci.reading.concepts import concept
from loci.reading.privileged_basis import bases
from loci.studies.attention_only import PHENOMENA, phenomenon
from loci.studies.superposition import (
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
from loci.text import sample_text
from loci.writing import CapacityCurve, capacity, case, fullness, gate, planted

IMAGES = Path(__file__).parents[1] / "docs" / "images"
KINDS = ("state", "state-without-mlp", "state-without-attn")


def main() -> None:
    model, world = loci.open("demo"), loci.known_facts()
    fact = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
    small = folder()
    languages = list(
        dict.fromkeys(
            (f.answer, f.subject) for f in world.of("country_language") if f.answer != f.subject
        )
    )
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
        "fact-features": lambda: fact_sparsity(
            model, load_dictionary("demo:mlp_out.0"), Random(0).sample(list(world), 100), samples=3
        ),
        "gate": gate,
        "capacity": lambda: CapacityCurve(
            tuple(capacity(case(32, facts)) for facts in (128, 256, 512))
        ),
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
            model,
            ["Michael", "Jordan"],
            ["Michael Jordan", "Michael Jackson", "Barack Obama"],
            "resid_post.0",
        ),
        "circuits-heads": lambda: head_scores(model),
        "circuits-scatter": lambda: HeadScatter(head_scores(model)),
        "circuits-compose": lambda: compose(model),
        "circuits-links": lambda: neuron_links(model, "L0N37"),
        "circuits-tokens": lambda: token_circuit(model, "L0H5"),
        "circuits-paths": lambda: paths(model, fact.text, fact.answer, against="baseball", top=16),
        "circuits-orders": lambda: order_losses(model),
        "circuits-edges": lambda: edges(
            model,
            fact.text,
            "Babe Ruth plays the sport of",
            fact.answer,
            against="baseball",
            top=12,
        ),
        "circuits-fact": lambda: fact_circuit(model, fact),
        "circuits-extraction": lambda: extraction(model, world.sample(50, seed=0)),
        **{f"small-{name}": partial(phenomenon, name, small) for name in PHENOMENA},
        "superposition-bounds": lambda: bounds_table(12288, (89, 88, 87, 86, 85, 82, 80)),
        "superposition-rules": lambda: bounds(12288, 87),
        "superposition-reach": lambda: reach(100, 10_000),
        "superposition-packing": lambda: pack(50, 1000),
        "superposition-video": lambda: video(2000),
        "superposition-toy": lambda: toy(steps=3000, batch=512),
        "superposition-pentagon": lambda: toy(
            5, 2, (1.0, 0.3, 0.05), importance=1.0, runs=8, steps=2000, batch=256
        ),
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
    """Over the whole embedded text."""
    return open_atlas(build_atlas(model, corpus, folder() / "atlas", source="the embedded text"))


def folder() -> Path:
    """One that is deleted as the script ends."""
    made = tempfile.mkdtemp(prefix="loci-figures-")
    atexit.register(shutil.rmtree, made)
    return Path(made)


if __name__ == "__main__":
    main()
