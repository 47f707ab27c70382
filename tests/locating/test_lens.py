"""The lens against the model's own head, and parts that sum to the score, on families of every
kind.
"""

import pytest
import torch
from tests.model.families import MIXTURES, make

from loci.errors import FactError
from loci.locating import lens
from loci.model import Model, complete, next_tokens

PROMPT = "Michael Jordan plays the sport of"


@pytest.mark.parametrize(
    "name", ["gpt2", "pythia", "llama", "gemma2", "olmo2", "opt", "falcon-7b", "phi", "mixtral"]
)
def test_parts_sum_to_the_score(name: str, demo: Model) -> None:
    model = make(name, demo)
    if name not in MIXTURES:  # torch groups experts' products in no wider type
        model.hf.double()
    found = lens(model, PROMPT, "golf", against="chess", top=64 if name not in MIXTURES else 5)
    assert sum(found.contributions.values()) == pytest.approx(found.score, abs=1e-4)
    assert found.sum_error < 1e-4
    ids = model.ids([model.tokenize(PROMPT).ids])
    golf, chess = (
        model.tokenize(f"{PROMPT} {word}").ids[ids.shape[1]] for word in ("golf", "chess")
    )
    with (
        torch.no_grad(),
        model.watch(
            "resid_post.1", "z.1", "mlp_act.1" if name not in MIXTURES else "mlp_in.1"
        ) as at,
    ):
        logits = model(ids)[0, -1]
    if model.softcap is None:
        assert found.score == pytest.approx(float(logits[golf] - logits[chess]), abs=1e-4)
    else:
        uncapped = model.softcap * torch.atanh(logits / model.softcap)
        assert found.score == pytest.approx(float(uncapped[golf] - uncapped[chess]), abs=1e-4)
    rung = found.layers[1]
    with torch.no_grad():
        assert rung.prob == pytest.approx(
            float(model.unembed(at["resid_post.1"][0, -1]).softmax(-1)[golf]), abs=1e-6
        )
    if name not in MIXTURES:
        assert len(rung.neurons) == model.d_mlp
        if not model.b_down(1).any():
            assert sum(part.score for part in rung.neurons) == pytest.approx(rung.mlp, abs=1e-4)
    if not model.b_O(1).any():
        assert sum(rung.heads) == pytest.approx(rung.attn, abs=1e-4)


@torch.no_grad()
def test_taking_a_part_away_moves_the_score_by_what_it_adds(demo: Model) -> None:
    """With the final norm's scale held, as the attribution says:
    the score is linear in each part.
    """
    found = lens(demo, PROMPT, "basketball", against="golf")
    ids = demo.ids([demo.tokenize(PROMPT).ids])
    names = [f"{kind}.{layer}" for kind in ("attn_out", "mlp_out") for layer in range(6)]
    with demo.watch(*names, "resid_post.5") as at:
        demo(ids)
    norm, last = demo.module("final_norm"), at["resid_post.5"][0, -1]
    scale = (last.var(unbiased=False) + norm.eps).sqrt()
    direction = (
        demo.W_U[demo.tokenize(f"{PROMPT} basketball").ids[-1]]
        - demo.W_U[demo.tokenize(f"{PROMPT} golf").ids[-1]]
    )
    score = lambda x: float(direction @ (norm.weight * (x - x.mean()) / scale + norm.bias))  # noqa: E731
    assert score(last) == pytest.approx(found.score, abs=1e-3)
    for rung in found.layers:
        for kind in ("attn", "mlp"):
            part = at[f"{kind}_out.{rung.layer}"][0, -1]
            assert score(last) - score(last - part) == pytest.approx(getattr(rung, kind), abs=1e-3)


def test_the_last_rung_is_what_the_model_says(demo: Model) -> None:
    found = lens(demo, PROMPT, "basketball", top=3)
    words = next_tokens(demo, PROMPT, 3)
    assert [word.token for word in found.layers[-1].top] == [token for token, _ in words]
    assert complete(demo, [PROMPT], 1)[0] == found.layers[-1].top[0].token
    assert found.layers[-1].prob == pytest.approx(words[0][1], abs=1e-5)
    document = found.to_dict()
    assert document["schema"] == "loci.lens/1"
    assert {"token", "prob"} == set(document["layers"][0]["top"][0])
    assert {"attn", "mlp", "heads", "neurons", "updates"} == set(
        document["layers"][0]["contributions"]
    )


def test_answers_that_begin_alike(demo: Model) -> None:
    with pytest.raises(FactError, match="begin with the same token"):
        lens(demo, PROMPT, "basketball", against="basketball player")
