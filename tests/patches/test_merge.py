"""Merging: sums, conflicts, losers taken out, interaction; against dense products and the model's
own keys.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import PatchError
from loci.facts import Fact
from loci.model import Model
from loci.patches import Factors, Patch, compress, diff_patches, load_patch, merge, strongest
from loci.patches.merging import keys_of, silenced
from tests.patches.making import BIRD, JORDAN, OSAKA, patch_of, random_factors


def edit_like(model: Model, facts: list[Fact], name: str = "W_down.1", seed: int = 0) -> Patch:
    """A patch that gives each fact's key a random value of its own: Δ K = R, least in ‖Δ‖."""
    K = keys_of(model, facts, [name])[name]
    R = torch.randn(
        model.weight(name).shape[0], len(facts), generator=torch.Generator().manual_seed(seed)
    ).double()
    factors = Factors(R.float(), torch.linalg.pinv(K).float())
    return Patch("rome", model.fingerprint, model.name, {name: factors}, tuple(facts), {"layer": 1})


def test_a_merge_is_the_sum(tiny: Model, tmp_path: Path) -> None:
    a, b = (
        patch_of(tiny, ["W_down.1", "W_up.0"]),
        patch_of(tiny, ["W_down.1", "W_down.2"], [BIRD], rank=3, seed=9),
    )
    merged = merge([a, b])
    torch.testing.assert_close(
        merged.factors["W_down.1"].delta, a.factors["W_down.1"].delta + b.factors["W_down.1"].delta
    )
    assert {name: f.rank for name, f in merged.factors.items()} == {
        "W_down.1": 5,
        "W_down.2": 3,
        "W_up.0": 2,
    }
    assert (merged.method, merged.base, merged.facts) == ("merge", a.base, (JORDAN, BIRD))
    A, B = a.factors["W_down.1"].delta, b.factors["W_down.1"].delta
    (one, cosine), (again, _) = merged.numbers["interaction"]["W_down.1"]["cosine"]
    assert (one, cosine) == pytest.approx((1.0, float((A * B).sum() / A.norm() / B.norm())))
    assert again == pytest.approx(cosine)
    merged.save(tmp_path / "m.safetensors")
    read = load_patch(tmp_path / "m.safetensors")
    assert read.id == merged.id
    assert read.parents == [
        {"id": p.id, "method": "test", "numbers": {"seconds": 1.5}} for p in (a, b)
    ]
    assert merge([a, b]).id == merged.id


def test_lineage_survives_one_operation_after_another(tiny: Model) -> None:
    a, b = patch_of(tiny, ["W_down.1"]), patch_of(tiny, ["W_down.1"], [BIRD], seed=3)
    last = compress(merge([a, b]), 1)
    assert last.method == "compress"
    assert [p["id"] for p in last.parents[0]["numbers"]["parents"]] == [a.id, b.id]


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (JORDAN.to("golf"), "'baseball' and 'golf'"),
        (replace(JORDAN, prompt="The sport of {} is"), "'baseball', twice"),
        (replace(JORDAN, relation=None), "'baseball', twice"),
    ],
)
def test_conflicts_are_listed(tiny: Model, second: Fact, says: str) -> None:
    a, b = patch_of(tiny, ["W_down.1"]), patch_of(tiny, ["W_down.1"], [second], seed=3)
    with pytest.raises(PatchError, match=f"1 edit ask.*{says}.*--keep"):
        merge([a, b])
    first, last = merge([a, b], keep="first"), merge([a, b], keep="last")
    torch.testing.assert_close(first.factors["W_down.1"].delta, a.factors["W_down.1"].delta)
    torch.testing.assert_close(last.factors["W_down.1"].delta, b.factors["W_down.1"].delta)
    assert (first.facts, last.facts) == ((JORDAN,), (second,))
    assert [fact["new_answer"] for fact in last.numbers["dropped"]] == ["baseball"]


def test_one_of_several_facts_loses(tiny: Model) -> None:
    a, b = edit_like(tiny, [JORDAN, OSAKA, BIRD]), edit_like(tiny, [JORDAN.to("golf")], seed=4)
    with pytest.raises(PatchError, match="the base is needed"):
        merge([a, b], keep="last")
    merged = merge([a, b], keep="last", model=tiny)
    assert [fact.new_answer for fact in merged.facts] == ["Peru", "golf", "golf"]
    K = keys_of(tiny, [JORDAN, OSAKA, BIRD], ["W_down.1"])["W_down.1"]
    kept, new = a.factors["W_down.1"].delta @ K[:, 1:], b.factors["W_down.1"].delta
    found = merged.factors["W_down.1"].delta
    torch.testing.assert_close(found @ K[:, :1], new @ K[:, :1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found @ K[:, 1:], kept + new @ K[:, 1:], rtol=1e-4, atol=1e-4)


@given(seed=st.integers(0, 50), n=st.integers(1, 3), m=st.integers(0, 3))
def test_silenced_at_some_keys_and_as_before_at_others(seed: int, n: int, m: int) -> None:
    change = random_factors(5, 12, 7, seed)
    made = torch.Generator().manual_seed(seed)
    lost, kept = (torch.randn(12, k, generator=made, dtype=torch.float64) for k in (n, m))
    found = silenced(change, lost, kept)
    torch.testing.assert_close(
        found.delta @ lost, torch.zeros(5, n, dtype=torch.float64), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(found.delta @ kept, change.delta @ kept, atol=1e-5, rtol=1e-5)


def test_a_key_that_is_also_anothers(tiny: Model) -> None:
    key = torch.randn(12, 1, dtype=torch.float64)
    with pytest.raises(PatchError, match="share their keys"):
        silenced(random_factors(5, 12, 3), key, key)


def test_interaction_is_what_one_change_adds_at_the_others_keys(tiny: Model) -> None:
    a, b = edit_like(tiny, [JORDAN]), edit_like(tiny, [OSAKA, BIRD], seed=4)
    merged = merge([a, b], model=tiny)
    response = merged.numbers["interaction"]["W_down.1"]["response"]
    with torch.no_grad():
        ids = [tiny.tokenize(f.text) for f in (JORDAN,)]
        act = tiny.read(tiny.ids([ids[0].ids]), "mlp_act.1")["mlp_act.1"]
    subject_end = 1 + max(
        i for i, (s, e) in enumerate(ids[0].offsets) if s < len("Michael Jordan") and e > s
    )
    key = act[0, subject_end - 1].double()
    there, here = (float((p.factors["W_down.1"].delta @ key).norm()) for p in (b, a))
    assert response[1][0] == pytest.approx(there / here, rel=1e-6)
    assert (response[0][0], response[1][1]) == pytest.approx((1.0, 1.0))
    assert strongest(merged.numbers["interaction"]) == (
        "W_down.1",
        "response",
        max(response[0][1], response[1][0]),
    )


def test_what_does_not_merge(tiny: Model, demo: Model) -> None:
    a = patch_of(tiny, ["W_down.1"])
    with pytest.raises(PatchError, match="different bases"):
        merge([a, patch_of(demo, ["W_down.1"], [BIRD])])
    with pytest.raises(PatchError, match="stands twice"):
        merge([a, a])
    with pytest.raises(PatchError, match="two patches or more"):
        merge([a])
    with pytest.raises(PatchError, match="not the same base"):
        merge([a, patch_of(tiny, ["W_down.1"], [BIRD], seed=3)], model=demo)


def test_compressed_to_what_is_there_loses_nothing(tiny: Model) -> None:
    patch = patch_of(tiny, ["W_down.1", "W_up.2"], rank=4)
    whole, cut = compress(patch, 4), compress(patch, 2)
    assert max(whole.numbers["error"].values()) < 1e-6
    assert cut.numbers["rank"] == {"W_down.1": 2, "W_up.2": 2}
    for name, error in cut.numbers["error"].items():
        S = torch.linalg.svdvals(patch.factors[name].delta)
        assert error == pytest.approx(float(S[2:].norm() / S.norm()), rel=1e-4)
    with cut.applied(tiny):
        assert tiny.fingerprint != cut.base
    with pytest.raises(PatchError, match="1 or more"):
        compress(patch, 0)


def test_the_difference_of_two_patches(tiny: Model) -> None:
    a, b = (
        patch_of(tiny, ["W_down.1", "W_up.0"]),
        patch_of(tiny, ["W_down.1"], [BIRD], rank=3, seed=3),
    )
    found = diff_patches(a, b)
    down, up = found.changes
    A, B = a.factors["W_down.1"].delta, b.factors["W_down.1"].delta
    assert (down.norm, down.share) == pytest.approx(
        (float((B - A).norm()), float((B - A).norm() / A.norm()))
    )
    assert (down.rank, up.rank, up.share, up.cosine) == (5, 2, pytest.approx(1.0), 0.0)
    assert found.facts == ((f"{JORDAN.text} → baseball",), (f"{BIRD.text} → golf",))
    assert diff_patches(a, a).changes == ()
