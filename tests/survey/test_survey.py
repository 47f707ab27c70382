"""Accumulators against numpy and brute force; merged shards against one pass."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from loci.errors import ModelError
from loci.model import Model
from loci.survey import FiringRate, SecondMoment, TopTriggers, prefixes, sample_text, survey

TEXTS = ["Michael Jordan plays the sport of basketball.", "The queen put her lamp near the river.", "Osaka is in Japan.", "Lima."]


def shard(seed: int, first: int) -> tuple[torch.Tensor, torch.Tensor]:
    values = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    where = torch.stack([torch.arange(3).repeat_interleave(4) + first, torch.arange(4).repeat(3)], 1)
    return values, where


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_moments_and_rates_against_numpy(a: int, b: int) -> None:
    (x, wx), (y, wy) = shard(a, 0), shard(b, 3)
    moment, rate = SecondMoment(), FiringRate(0.5)
    for values, where in ((x, wx), (y, wy)):
        moment.update(values, where)
        rate.update(values, where)
    both = np.concatenate([x.numpy(), y.numpy()]).astype(np.float64)
    np.testing.assert_allclose(moment.mean.numpy(), both.T @ both / 24, atol=1e-12)
    np.testing.assert_allclose(rate.rate.numpy(), (both > 0.5).mean(0))


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 8))
def test_top_triggers_against_brute_force(a: int, b: int, k: int) -> None:
    shards = [shard(a, 0), shard(b, 3)]
    top = TopTriggers([4, 1], k)
    for values, where in shards:
        top.update(values, where)
    values, where = (torch.cat(parts) for parts in zip(*shards, strict=True))
    for column, neuron in enumerate((4, 1)):
        best = {}
        for value, (text, position) in zip(values[:, neuron].tolist(), where.tolist(), strict=True):
            if text not in best or value > best[text][0]:
                best[text] = (value, position)
        expected = sorted(((v, t, p) for t, (v, p) in best.items()), key=lambda item: (-item[0], item[1]))[:k]
        found = zip(top.values[:, column].tolist(), top.places[:, column].tolist(), strict=True)
        assert [(v, t, p) for v, (t, p) in found] == expected


@pytest.mark.parametrize("make", [SecondMoment, FiringRate, lambda: TopTriggers([0, 3], 4)])
def test_merged_shards_are_one_pass(make) -> None:
    (x, wx), (y, wy) = shard(1, 0), shard(2, 3)
    one, left, right = make(), make(), make()
    for accumulator, shards in ((one, [(x, wx), (y, wy)]), (left, [(x, wx)]), (right, [(y, wy)])):
        for values, where in shards:
            accumulator.update(values, where)
    left.merge(right)
    empty = make()
    empty.merge(left)
    for state in (left.state(), empty.state()):
        assert {k: torch.equal(v, one.state()[k]) for k, v in state.items()} == dict.fromkeys(state, True)


@torch.no_grad()
def test_survey_reads_every_token_but_bos_once(tiny: Model) -> None:
    moment, early = SecondMoment(), FiringRate()
    seen = survey(tiny, TEXTS, {"mlp_act.2": [moment], "mlp_act.0": [early]}, budget=20)
    acts = []
    for text in TEXTS:
        with tiny.watch("mlp_act.2", "mlp_act.0") as at:
            tiny(tiny.ids([tiny.tokenize(text).ids]))
        acts.append((at["mlp_act.2"][0, 1:].double(), at["mlp_act.0"][0, 1:]))
    both = torch.cat([act for act, _ in acts])
    assert seen == len(both)
    torch.testing.assert_close(moment.mean, both.T @ both / len(both), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(early.rate, (torch.cat([act for _, act in acts]) > 0).double().mean(0))


def test_no_text(tiny: Model) -> None:
    with pytest.raises(ModelError, match="no text"):
        survey(tiny, ["", " "], {"mlp_act.0": [FiringRate()]})


def test_sample_text_is_the_same_each_time_and_prefixes_fit_one_batch(demo: Model) -> None:
    texts = sample_text(demo, 2000)
    assert texts == sample_text(demo, 2000) == sample_text(demo, 4000)[: len(texts)]
    assert 2000 <= sum(len(demo.tokenize(text)) for text in texts) < 2100
    assert len({len(demo.tokenize(text)) for text in prefixes(demo, 8)}) == 1
