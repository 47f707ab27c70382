"""Edges: estimates are the slopes of patching, all edges into one part are the part's whole change,
what leads nowhere does nothing.
"""

import pytest
import torch

from loci.circuits import edges
from loci.circuits.edge_attribution import PromptPair
from loci.circuits.nodes import before, parse_node, senders_and_receivers
from loci.errors import CircuitError
from loci.model import Model
from tests.model.families import make

CLEAN, OTHER = "Osaka is a city in the country of", "Lyon is a city in the country of"
FORMS = ("gpt2", "pythia", "llama", "gemma", "gemma2")


@pytest.fixture(scope="module")
def found(demo: Model) -> PromptPair:
    return PromptPair(demo, CLEAN, OTHER, "Japan", "France")


@pytest.mark.parametrize("name", FORMS)
@torch.no_grad()
def test_estimates_are_slopes(demo: Model, name: str) -> None:
    """Patching a small part of δ changes the score by that part of the estimate."""
    model = make(name, demo)
    pair = PromptPair(model, CLEAN, OTHER, "Japan")
    senders, receivers = senders_and_receivers(model)
    estimates = pair.attribution(senders, receivers)
    step = 1e-2
    for sender, receiver in (
        ("L0H1", "L1H2.q"),
        ("embed", "L1H0.k"),
        ("L0MLP", "L2H0.v"),
        ("L0H2", "L2MLP"),
        ("L1H3", "logits"),
    ):
        s = next(i for i, part in enumerate(senders) if part.name == sender)
        r = next(i for i, part in enumerate(receivers) if part.name == receiver)
        delta = pair.deltas[sender][None]
        up, down = pair.patched(receivers[r], torch.cat([step * delta, -step * delta])).tolist()
        assert (up - down) / (2 * step) == pytest.approx(
            float(estimates[s, r]), abs=3e-3, rel=3e-2
        ), (sender, receiver)


@torch.no_grad()
def test_all_direct_paths_to_the_logits_are_the_corrupted_run(
    demo: Model, found: PromptPair
) -> None:
    """All senders at once into `logits` put the corrupted stream there."""
    total = sum(found.deltas.values())
    logits = parse_node("logits", demo)
    assert float(found.patched(logits, total[None])) == pytest.approx(found.corrupt_score, abs=1e-3)


@torch.no_grad()
def test_nothing_sent_changes_nothing(demo: Model, found: PromptPair) -> None:
    for receiver in senders_and_receivers(demo)[1][::7]:
        assert float(
            found.patched(receiver, torch.zeros(1, *found.reads(receiver).shape))
        ) == pytest.approx(found.clean_score, abs=1e-4)


@torch.no_grad()
def test_a_path_into_values_is_a_patch_of_values(demo: Model, found: PromptPair) -> None:
    """embed → L0H3.v against a run whose values of that head come from the other prompt."""
    other = demo.read(found.corrupted_ids, "v.0")["v.0"]

    def put(v: torch.Tensor) -> torch.Tensor:
        v = v.clone()
        v[:, :, 3] = other[:, :, 3]
        return v

    with demo.patched({"v.0": put}):
        expected = float(found.score(demo(found.ids))) - found.clean_score
    assert found.patch("embed", "L0H3.v") == pytest.approx(expected, abs=1e-4)


def test_edges_of_a_fact(demo: Model) -> None:
    result = edges(demo, CLEAN, OTHER, "Japan", against="France", top=8)
    assert result.clean > result.corrupt
    assert len(result.top) == 8 and all(edge.patched is not None for edge in result.top)
    document = result.to_dict()
    assert document["schema"] == "loci.edges/1" and "L0H0" not in document["estimates"]["L0H1.q"]
    assert "L5MLP" in document["estimates"]["logits"]


def test_what_no_path_joins(demo: Model, found: PromptPair) -> None:
    with pytest.raises(CircuitError, match="does not stand before"):
        found.patch("L2H0", "L1H0.q")
    with pytest.raises(CircuitError, match=r"say L1H0\.q, \.k or \.v"):
        found.patch("L0H1", "L1H0")
    with pytest.raises(CircuitError, match="equally many tokens"):
        PromptPair(demo, CLEAN, "Michael Jordan plays the sport of", "Japan")
    with pytest.raises(CircuitError, match="is no part"):
        parse_node("L1H3.x", demo)
    heads, mlp = parse_node("L1H3", demo), parse_node("L1MLP", demo)
    assert before(demo, heads, mlp) and not before(make("pythia", demo), heads, mlp)
