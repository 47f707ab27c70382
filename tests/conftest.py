"""Models for the tests: the embedded one, and a tiny random GPT-2 with the same tokenizer."""

import os

import hypothesis
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import loci
from loci.facts import Fact, FactSet
from loci.model import Model, open_model

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # workers that each take all cores crawl
hypothesis.settings.register_profile(
    "loci", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("loci")

NUMERICAL = (
    "auditing/test_linear.py",
    "auditing/test_locators.py",
    "circuits/test_algebra.py",
    "circuits/test_compose.py",
    "circuits/test_edges.py",
    "circuits/test_heads.py",
    "circuits/test_paths.py",
    "circuits/test_scores.py",
    "circuits/test_tokens.py",
    "editing/test_solver.py",
    "editing/test_targets.py",
    "locating/test_attribution.py",
    "locating/test_probe.py",
    "patches/test_factors.py",
    "patches/test_merge.py",
    "reading/test_basis.py",
    "reading/test_directions.py",
    "studies/superposition/test_codes.py",
    "studies/superposition/test_interference.py",
    "studies/superposition/test_weights.py",
    "writing/test_capacity.py",
    "writing/test_store.py",
)
"""Files of decompositions, least squares and comparisons of two roundings: see the marker in
pyproject.toml.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of the numerical files."""
    for item in items:
        if item.path.as_posix().endswith(tuple(f"/tests/{name}" for name in NUMERICAL)):
            item.add_marker(pytest.mark.numerical)


@pytest.fixture(scope="session")
def demo() -> Model:
    return open_model("demo")


@pytest.fixture(scope="session")
def world() -> FactSet:
    return loci.known_facts()


def tiny_gpt2(demo: Model, seed: int = 0, activation: str = "gelu_new") -> Model:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=demo.d_vocab,
        n_positions=64,
        n_embd=32,
        n_layer=3,
        n_head=4,
        activation_function=activation,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.2,
    )
    return Model(GPT2LMHeadModel(config), demo.tokenizer, "tiny")


@pytest.fixture
def tiny(demo: Model) -> Model:
    return tiny_gpt2(demo)


@pytest.fixture(scope="session")
def jordan(world: FactSet) -> Fact:
    return next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")


@pytest.fixture
def ids(tiny: Model) -> torch.Tensor:
    texts = ["Michael Jordan plays the sport of", "Osaka is a city in the country of"]
    rows = [tiny.tokenize(text).ids for text in texts]
    width = min(map(len, rows))
    return tiny.ids([row[:width] for row in rows])
