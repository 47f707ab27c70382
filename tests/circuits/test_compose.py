"""Composition against dense products, its null against random rotations, and the erratum's wrong
numerator.
"""

import pytest
import torch
from torch import Tensor

from loci.circuits import (
    CompositionGraph,
    compose,
    head_neurons,
    layer_heads,
    mlp_pairs,
    neuron_links,
)
from loci.circuits.composition import keys, roots, scored, values
from loci.errors import CircuitError, ModelError
from loci.model import Model
from tests.circuits.built import induction_model
from tests.model.families import make

FORMS = ("gpt2", "pythia", "llama", "gemma")


def ratio(left: Tensor, right: Tensor) -> float:
    return float((left @ right).norm() / (left.norm() * right.norm()))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("offset", [None, 2])
def test_scores_are_those_of_dense_products(demo: Model, name: str, offset: int | None) -> None:
    model = make(name, demo)
    found = compose(model, offset=offset, mlps=True)
    heads = {
        one.name: one
        for layer in range(model.n_layers)
        for one in layer_heads(model, layer, offset=offset)
    }
    for later, earlier in (("L1H0", "L0H3"), ("L2H3", "L0H1"), ("L2H1", "L1H2")):
        qk, ov, before = (
            matrix.dense.double()
            for matrix in (heads[later].qk, heads[later].ov, heads[earlier].ov)
        )
        assert found.score("q", later, earlier) == pytest.approx(ratio(qk.T, before), abs=1e-5)
        assert found.score("k", later, earlier) == pytest.approx(ratio(qk, before), abs=1e-5)
        assert found.score("v", later, earlier) == pytest.approx(ratio(ov, before), abs=1e-5)
    key, value, ov = (
        keys(model, 2, "gain").double(),
        values(model, 0, "gain").double(),
        heads["L1H2"].ov.dense.double(),
    )
    assert found.score("mlp", "L2MLP", "L1H2") == pytest.approx(ratio(key, ov), abs=1e-5)
    assert found.score("mlp", "L2MLP", "L0MLP") == pytest.approx(ratio(key, value), abs=1e-5)
    assert found.score("k", "L1H2", "L0MLP") == pytest.approx(
        ratio(heads["L1H2"].qk.dense.double(), value), abs=1e-5
    )


def test_the_numerator_is_not_cycled() -> None:
    """The published diagram first took ‖W_K W_O W_V W_Qᵀ‖: a cyclic permutation, which traces allow
    and norms do not.
    """
    g = torch.Generator().manual_seed(0)
    W_Q, W_K, W_V = (torch.randn(8, 64, generator=g, dtype=torch.float64) for _ in range(3))
    W_O = torch.randn(64, 8, generator=g, dtype=torch.float64)
    right = (W_Q.T @ W_K @ W_O @ W_V).norm()
    wrong = (W_K @ W_O @ W_V @ W_Q.T).norm()
    read, write = (roots(W_Q[None]) @ W_K), W_O @ roots(W_V[None]).mT
    found = float(scored(read, write)) * float(read.norm() * write.norm())
    assert found == pytest.approx(float(right), rel=1e-9)
    assert abs(float(wrong / right) - 1) > 0.3
    assert float((W_Q.T @ W_K @ W_O @ W_V).trace()) == pytest.approx(
        float((W_K @ W_O @ W_V @ W_Q.T).trace())
    )


@pytest.mark.parametrize(("d", "r"), [(64, 8), (128, 16), (96, 96)])
def test_the_null_is_what_random_rotations_give(d: int, r: int) -> None:
    """Root mean square over rotations between two fixed matrices with uneven spectra: 1/√d exactly,
    whatever the rank.
    """
    g = torch.Generator().manual_seed(d)
    spectrum = torch.logspace(0, -2, r, dtype=torch.float64)
    A = torch.randn(r, d, generator=g, dtype=torch.float64) * spectrum[:, None]
    B = torch.randn(d, r, generator=g, dtype=torch.float64) * spectrum
    turns = torch.linalg.qr(torch.randn(400, d, d, generator=g, dtype=torch.float64)).Q
    squares = torch.tensor([ratio(A, turn @ B) ** 2 for turn in turns])
    error = float(squares.std() / len(squares) ** 0.5)
    assert abs(float(squares.mean()) - 1 / d) < 4 * error


def test_the_built_model_composes_by_keys_alone() -> None:
    found = compose(induction_model())
    scores = {kind: found.score(kind, "L1H0", "L0H0") for kind in ("q", "k", "v")}
    assert scores["k"] > 1.9 * found.null and max(scores["q"], scores["v"]) < 0.3 * found.null
    assert found.edges(0.0)[0][:3] == ("k", "L1H0", "L0H0")
    assert found.score("k", "L1H1", "L0H0") == 0  # a head of zeros reads nothing


def test_document(demo: Model) -> None:
    document = compose(demo).to_dict()
    assert document["schema"] == "loci.compose/1" and document["null"] == 1 / 16
    assert set(document) >= {"q", "k", "v"} and "mlp" not in document
    assert (
        len(document["k"]) == 40
        and len(document["k"]["L5H7"]) == 40
        and set(document["k"]["L1H3"]) == {f"L0H{h}" for h in range(8)}
    )
    with pytest.raises(CircuitError, match="does not read"):
        compose(demo).score("q", "L0H1", "L1H0")


@torch.no_grad()
def test_links_of_a_neuron(demo: Model) -> None:
    found = neuron_links(demo, "L2N37", top=2000)
    key, value = keys(demo, 2, "gain")[37].double(), values(demo, 2, "gain")[:, 37].double()
    heads = {one.name: one for layer in (1, 4) for one in layer_heads(demo, layer)}
    before, after = (
        {kind: dict(links) for kind, links in side.items()} for side in (found.before, found.after)
    )
    assert before["heads"]["L1H3"] == pytest.approx(
        ratio(key[None], heads["L1H3"].ov.dense.double()), abs=1e-5
    )
    assert after["q"]["L4H2"] == pytest.approx(
        ratio(heads["L4H2"].qk.dense.double().T, value[:, None]), abs=1e-5
    )
    assert after["k"]["L4H2"] == pytest.approx(
        ratio(heads["L4H2"].qk.dense.double(), value[:, None]), abs=1e-5
    )
    assert after["v"]["L4H2"] == pytest.approx(
        ratio(heads["L4H2"].ov.dense.double(), value[:, None]), abs=1e-5
    )
    cosines = torch.nn.functional.cosine_similarity(keys(demo, 3, "gain").double(), value[None])
    name, score = next(link for link in found.after["neurons"] if link.part.startswith("L3N"))
    assert score == pytest.approx(float(cosines[int(name[3:])]), abs=1e-5) and abs(
        score
    ) == pytest.approx(float(cosines.abs().max()), abs=1e-5)
    other = dict(head_neurons(demo, "L1H3", top=20000).after["neurons"])["L2N37"]
    assert other == pytest.approx(before["heads"]["L1H3"], abs=1e-6)
    assert found.to_dict()["schema"] == "loci.links/1"


@torch.no_grad()
def test_pairs_of_neurons_in_blocks(demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loci.circuits.virtual_weights.BLOCK", 100)
    found = mlp_pairs(demo, 0, 2, top=30)
    writes = torch.nn.functional.normalize(values(demo, 0, "gain"), dim=0)
    cosines = torch.nn.functional.normalize(keys(demo, 2, "gain"), dim=1) @ writes
    expected = cosines.abs().flatten().topk(30).values
    torch.testing.assert_close(torch.tensor([abs(pair.cosine) for pair in found]), expected)
    assert cosines[int(found[0].later[3:]), int(found[0].earlier[3:])] == pytest.approx(
        found[0].cosine
    )


def test_a_threshold_of_ones_own(demo: Model) -> None:
    found = compose(demo)
    graph = CompositionGraph(found, 0.2)
    above = (
        torch.cat([scores.flatten() for scores in found.scores.values()]).nan_to_num() - found.null
    )
    assert 0 < len(graph.edges) == int((above >= 0.2).sum())
    assert graph.to_dict() == found.to_dict()
    for threshold in (0.99, float("nan")):
        with pytest.raises(CircuitError, match=r"the highest is \+0\.3"):
            CompositionGraph(found, threshold)


def test_what_cannot_compose(demo: Model) -> None:
    with pytest.raises(CircuitError, match="does not come before"):
        mlp_pairs(demo, 2, 2)
    for links, name in ((neuron_links, "L0N1"), (head_neurons, "L3H1")):
        with pytest.raises(CircuitError, match="at least one is shown"):
            links(demo, name, top=-1)
    with pytest.raises(ModelError, match="no layer 9"):
        mlp_pairs(demo, 2, 9)
    mixture = make("mixtral", demo)
    with pytest.raises(CircuitError, match="mixtures of experts"):
        compose(mixture, mlps=True)
    assert compose(mixture).readers["q"][-1] == "L2H3"
