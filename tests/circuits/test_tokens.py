"""Heads from token to token, against vocabulary × vocabulary of a small one; patterns; induction of
the built model.
"""

import pytest
import torch

from loci.circuits import embed, head, induction, patterns, token_circuit, token_pair, unembed
from loci.circuits.token_circuits import token_id
from loci.errors import CircuitError, ModelError
from loci.model import Model
from tests.circuits.built import induction_model
from tests.model.families import make


@pytest.fixture(scope="module")
def built() -> Model:
    return induction_model()


@torch.no_grad()
@pytest.mark.parametrize("name", ["gpt2", "gemma"])
def test_blocks_are_the_whole_circuits(demo: Model, name: str) -> None:
    """QK and OV of all pairs of tokens at once, which blocks never build."""
    model = make(name, demo)
    found = token_circuit(model, "L0H1", sources=["#77", "#5"], top=5)
    one, E, U = head(model, "L0H1"), embed(model), unembed(model)
    keys = E.matrix.T @ one.key_bias
    QK = (E.matrix.T @ one.qk.dense @ E.matrix + keys) * model.d_head**-0.5
    QK = QK - QK.mean(1, keepdim=True)
    OV = U.matrix @ one.ov.dense @ E.matrix
    OV = OV - OV.mean(0)
    for source, token in zip(found.sources, (77, 5), strict=True):
        seen, raised = QK[:, token].topk(5), OV[:, token].topk(5)
        torch.testing.assert_close(
            torch.tensor([w.score for w in source.seen_by]), seen.values, atol=1e-3, rtol=1e-3
        )
        torch.testing.assert_close(
            torch.tensor([w.score for w in source.raises]), raised.values, atol=1e-3, rtol=1e-3
        )
        assert source.raises[0].token == model.token_text(int(raised.indices[0]))
        assert source.rank == int((OV[:, token] > OV[token, token]).sum())
    pair = token_pair(model, "L0H1", "#77", "#5", top=5)
    assert pair.qk == pytest.approx(float(QK[5, 77]), abs=1e-3)
    assert abs(pair.rank - int((QK[5] > QK[5, 77]).sum())) <= 2, "ties may fall either way"
    assert pair.own == pytest.approx(float(OV[77, 77]), abs=1e-3, rel=1e-3)
    assert [word.token for word in pair.raises] == [w.token for w in found.sources[0].raises]
    usable = [t for t in range(model.d_vocab) if t not in model.tokenizer.all_special_ids]
    strongest = (QK[:, usable].clamp(min=0).amax(0) * OV[:, usable].clamp(min=0).amax(0)).topk(5)
    assert found.trigrams[0].strength == pytest.approx(float(strongest.values[0]), rel=1e-3)
    assert found.trigrams[0].source == model.token_text(usable[int(strongest.indices[0])])
    copies = (OV.argmax(0) == torch.arange(model.d_vocab))[usable].float().mean()
    assert found.copies.value == pytest.approx(float(copies), abs=2e-3) and found.tokens == len(
        usable
    )


def test_the_built_induction_head_copies_every_token(built: Model) -> None:
    found = token_circuit(built, "L1H0", top=3)
    assert found.copies.value == 1.0 and found.copying_positivity == pytest.approx(1.0, abs=1e-3)
    assert all(source.rank == 0 for source in found.sources)
    assert found.to_dict()["schema"] == "loci.tokens/1"


def test_tokens_that_are_none(demo: Model) -> None:
    assert token_id(demo, "#4095") == 4095
    with pytest.raises(CircuitError, match="#0 … #4095"):
        token_id(demo, "#4096")
    with pytest.raises(CircuitError, match="tokens"):
        token_id(demo, " basketball court of dreams")
    with pytest.raises(CircuitError, match="is no token"):
        token_id(demo, "")
    with pytest.raises(ModelError, match="no layer 6"):
        token_circuit(demo, "L6H0")
    for top in (0, -3):
        with pytest.raises(CircuitError, match="at least one is shown"):
            token_circuit(demo, "L0H0", top=top)


@torch.no_grad()
def test_patterns_plain_and_weighted(demo: Model) -> None:
    found = patterns(demo, "Michael Jordan plays the sport of", ["L0H3", "L4H6"])
    assert list(found.plain) == ["L0H3", "L4H6"]
    torch.testing.assert_close(found.plain["L4H6"].sum(-1), torch.ones(len(found.tokens)))
    reads = demo.read(
        demo.ids([demo.tokenize("Michael Jordan plays the sport of").ids]), "v.4", "attn_probs.4"
    )
    sizes = (reads["v.4"][0, :, 6] @ demo.W_O(4)[6].T).norm(dim=-1)
    torch.testing.assert_close(found.weighted["L4H6"], reads["attn_probs.4"][0, 6] * sizes)
    assert len(patterns(demo, "Michael Jordan").plain) == 48
    with pytest.raises(ModelError, match="names no head"):
        patterns(demo, "Michael Jordan", ["head 3"])


def test_induction_of_the_built_model(built: Model) -> None:
    found = induction(built, length=12, repeats=4, samples=4)
    assert found.greedy.value == 1.0 and found.losses[1].value < 0.01 < found.losses[0].value
    best = found.heads[0]
    assert best.head == "L1H0" and best.induction.value == pytest.approx(1.0, abs=1e-6)
    assert best.partners[0].head == "L0H0" and best.partners[0].previous_token == pytest.approx(
        1.0, abs=1e-6
    )
    assert best.partners[0].k_composition > 1.9 * found.null
    assert found.patterns is not None and list(found.patterns.plain)[:2] == ["L1H0", "L0H0"]
    assert found.to_dict()["heads"][0]["partners"][0]["head"] == "L0H0"


def test_induction_on_a_text(built: Model) -> None:
    found = induction(built, "w3 w9 w4 w17 w8 w2", repeats=3)
    assert found.samples == 1 and found.length == 6 and found.greedy.value == 1.0 and found.fall > 0
    for text in ("w3", "a"):
        with pytest.raises(CircuitError, match="too short to repeat"):
            induction(built, text)
