"""Accumulators against numpy and brute force; merged shards against one pass."""

import os
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.model.families import make

from loci.errors import ModelError
from loci.model import Model, open_model
from loci.survey import (
    Extremes,
    FiringRate,
    Histogram,
    Moments,
    Rows,
    SecondMoment,
    TopTriggers,
    layer_major,
    merge,
    survey,
)
from loci.survey.histograms import BINS, bins, edges
from loci.survey.states import tensors_of
from loci.survey.text_pass import CHARACTERS, PAGE, pages
from loci.text import read_texts, sample_text

TEXTS = [
    "Michael Jordan plays the sport of basketball.",
    "The queen put her lamp near the river.",
    "Osaka is in Japan.",
    "Lima.",
]


def shard(seed: int, first: int) -> tuple[torch.Tensor, Rows]:
    values = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    return values, Rows(torch.arange(3) + first, torch.tensor([1, 1, 5]))


def fed(make: Callable, *shards: tuple[torch.Tensor, Rows]):
    accumulator = make()
    for values, rows in shards:
        accumulator.update(values, rows)
    return accumulator


MAKERS = [
    SecondMoment,
    FiringRate,
    Moments,
    Extremes,
    Histogram,
    lambda: Histogram(2),
    TopTriggers,
    lambda: TopTriggers([0, 3], 4),
]


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_moments_and_rates_against_numpy(a: int, b: int) -> None:
    shards = shard(a, 0), shard(b, 3)
    both = np.concatenate([x.flatten(0, 1).numpy() for x, _ in shards]).astype(np.float64)
    np.testing.assert_allclose(
        fed(SecondMoment, *shards).mean.numpy(), both.T @ both / 24, atol=1e-12
    )
    np.testing.assert_allclose(
        fed(lambda: FiringRate(0.5), *shards).rate.numpy(), (both > 0.5).mean(0)
    )
    found, centred = fed(Moments, *shards), both - both.mean(0)
    np.testing.assert_allclose(found.mean.numpy(), both.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.variance.numpy(), both.var(0), rtol=1e-5)
    np.testing.assert_allclose(
        found.kurtosis.numpy(), (centred**4).mean(0) / both.var(0) ** 2 - 3, atol=1e-4
    )
    ends = fed(Extremes, *shards)
    np.testing.assert_array_equal(ends.low.numpy(), both.min(0).astype(np.float32))
    np.testing.assert_array_equal(ends.high.numpy(), both.max(0).astype(np.float32))


def test_few_large_values_among_many_small_ones() -> None:
    """One spike in 3,000 tokens: what single precision loses when small squares are added to a
    large one.
    """
    x = torch.full((3000, 1, 2), 0.01)
    x[7, 0] = 12.0
    found, wide = (
        fed(Moments, (x, Rows(torch.arange(3000), torch.zeros(3000, dtype=torch.long)))),
        x[:, 0].double().numpy(),
    )
    centred = wide - wide.mean(0)
    np.testing.assert_allclose(found.variance.numpy(), wide.var(0), rtol=2e-6)
    np.testing.assert_allclose(
        found.kurtosis.numpy(), (centred**4).mean(0) / wide.var(0) ** 2 - 3, rtol=5e-6
    )


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40))
def test_every_value_lies_in_its_bin(values: list[float]) -> None:
    """Below its upper edge and above the one before, with zero and the largest sizes at home
    too.
    """
    x, upper = torch.tensor(values), edges()
    at = bins(x)
    assert (upper.diff() > 0).all() and len(upper) == BINS
    inside = (at > 0) & (at < BINS - 1)
    assert (x[inside] <= upper[at[inside]]).all()
    assert (x[inside] >= upper[at[inside] - 1]).all()
    assert (x[at == BINS - 1] >= upper[-2]).all() and (x[at == 0] <= upper[0]).all()


def test_quantiles_are_right_to_a_bin() -> None:
    x = torch.randn(2000, 1, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [0.1, 1.0, 10.0]
    )
    found = fed(Histogram, (x, Rows(torch.arange(2000), torch.zeros(2000, dtype=torch.long))))
    for q in (0.1, 0.9, 0.99):
        exact = x.flatten(0, 1).quantile(q, 0)
        assert (found.quantile(q) / exact).sub(1).abs().max() < 0.3, q


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=9),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_top_triggers_against_brute_force(seeds: list[int], k: int, random: Random) -> None:
    """Whatever order batches come in, with the ties that rounded values make."""
    shards = [shard(seed, 3 * i) for i, seed in enumerate(seeds)]
    random.shuffle(shards)
    top = fed(lambda: TopTriggers([4, 1], k), *shards)
    for column, neuron in enumerate((4, 1)):
        expected = []
        for values, rows in shards:
            for row, text, start in zip(
                values[..., neuron].tolist(), rows.text.tolist(), rows.start.tolist(), strict=True
            ):
                expected.append((max(row), text, start + row.index(max(row))))
        expected = sorted(expected, key=lambda item: (-item[0], item[1]))[:k]
        found = zip(top.values[:, column].tolist(), top.places[:, column].tolist(), strict=True)
        assert [(v, t, p) for v, (t, p) in found] == expected


@pytest.mark.parametrize("make", MAKERS)
def test_merged_and_restored_shards_are_one_pass(make: Callable) -> None:
    """In either order, from nothing, and through a state that was written and read."""
    first, second, third = shard(1, 0), shard(2, 3), shard(3, 6)
    one = fed(make, first, second, third).state()
    left, right, resumed, empty = fed(make, first), fed(make, third, second), make(), make()
    resumed.restore(
        {name: tensor.clone() for name, tensor in fed(make, first, second).state().items()}
    )
    resumed.update(*third)
    right.merge(left)
    empty.merge(right)
    empty.merge(make())
    for found in (right, empty, resumed):
        assert found.state().keys() == one.keys()
        for name, tensor in found.state().items():
            torch.testing.assert_close(
                tensor, one[name], atol=0 if not tensor.is_floating_point() else 1e-9, rtol=0
            )


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
    assert seen == (len(TEXTS), len(both))
    torch.testing.assert_close(moment.mean, both.T @ both / len(both), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        early.rate, (torch.cat([act for _, act in acts]) > 0).double().mean(0)
    )


def gathering() -> dict:
    return {
        f"mlp_act.{layer}": [Moments(), TopTriggers(k=3), Histogram(2), FiringRate()]
        for layer in range(3)
    }


def same(a: dict, b: dict, tolerance: float = 1e-9) -> None:
    for point in a:
        for one, other in zip(a[point], b[point], strict=True):
            for name, tensor in one.state().items():
                allowed = tolerance if tensor.is_floating_point() else 0
                torch.testing.assert_close(
                    tensor, other.state()[name], atol=allowed, rtol=allowed, msg=f"{point} {name}"
                )


@pytest.fixture(scope="module")
def many(demo: Model) -> list[str]:
    return sample_text(demo, 60_000)


def test_shards_merge_to_one_pass_and_a_stopped_pass_resumes_to_it(
    tiny: Model, many: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last digit where shards hold whole pages, as then the batches are the same."""
    monkeypatch.setattr(import_module("loci.survey.text_pass"), "PAGE", 1024)
    whole, left, right, stopped, resumed = (gathering() for _ in range(5))
    seen = survey(tiny, many, whole)
    half = 2048
    survey(tiny, many[:half], left)
    survey(tiny, iter(many[half:]), right, first=half)
    merge(left, right)
    same(whole, left)
    path = tmp_path / "pass.safetensors"

    def interrupt(done: int, total: int) -> None:
        interrupt.count += 1
        if interrupt.count == 3:
            raise KeyboardInterrupt

    interrupt.count = 0
    with pytest.raises(KeyboardInterrupt):
        survey(tiny, many, stopped, checkpoint=path, every=1, progress=interrupt)
    assert survey(tiny, iter(many), resumed, checkpoint=path) == seen
    same(whole, resumed)
    again = gathering()
    assert survey(tiny, many, again, checkpoint=path) == seen, "what is done is not done again"
    same(whole, again)


def test_checkpoints_of_others_are_refused(tiny: Model, demo: Model, tmp_path: Path) -> None:
    path = tmp_path / "pass.safetensors"
    survey(tiny, TEXTS, gathering(), checkpoint=path)
    with pytest.raises(ModelError, match="another model"):
        survey(demo, TEXTS, gathering(), checkpoint=path)
    with pytest.raises(ModelError, match="other statistics"):
        survey(tiny, TEXTS, {"mlp_act.0": [Moments()]}, checkpoint=path)
    with pytest.raises(ModelError, match="another text"):
        survey(tiny, TEXTS[:-1], gathering(), checkpoint=path)
    with pytest.raises(ModelError, match="another text"):
        survey(tiny, [*TEXTS[:-1], TEXTS[-1][::-1]], gathering(), checkpoint=path)
    with pytest.raises(ModelError, match="other statistics"):
        survey(tiny, TEXTS, gathering(), checkpoint=path, limit=10)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + b"damaged!")
    with pytest.raises(ModelError, match="the checkpoint is damaged"):
        survey(tiny, TEXTS, gathering(), checkpoint=path)
    path.write_bytes(whole[:100])
    with pytest.raises(ModelError, match="no checkpoint"):
        survey(tiny, TEXTS, gathering(), checkpoint=path)


def test_long_texts_are_cut_into_windows(tiny: Model) -> None:
    """Every token counts once, behind a BOS of its own window."""
    text = " ".join(TEXTS * 20)
    body = tiny.tokenizer(text, add_special_tokens=False)["input_ids"]
    rate, top = FiringRate(), TopTriggers([0], 2)
    assert survey(tiny, [text], {"mlp_act.0": [rate, top]}) == (1, len(body))
    pieces = [[0, *body[i : i + 63]] for i in range(0, len(body), 63)]
    acts = torch.cat(
        [tiny.read(tiny.ids([ids]), "mlp_act.0")["mlp_act.0"][0, 1:] for ids in pieces]
    )
    torch.testing.assert_close(rate.rate, (acts > 0).double().mean(0))
    assert top.places[0, 0].tolist() == [0, int(acts[:, 0].argmax()) + 1]


def testpages_end_after_so_many_texts_or_characters() -> None:
    """What is tokenised at a time is bounded however long the texts are, and every text stands in
    one page, in order.
    """
    texts = [(i, "x" * (CHARACTERS // 2 if 10 <= i < 20 else 3)) for i in range(2 * PAGE)]
    found = list(pages(iter(texts)))
    assert [text for page in found for text in page] == texts
    assert all(
        len(page) <= PAGE and sum(len(text) for _, text in page[:-1]) < CHARACTERS for page in found
    )
    assert len(found) == 7


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"text": "half \\ud800"}', "half a character"),
        ('{"text": 3}', 'expected an object with a "text"'),
        ("[1]", 'expected an object with a "text"'),
        ("{", "not JSON"),
        ("[" * 100_000, "nested more than 100 deep"),
        ('{"text": ' + "9" * 5000 + "}", "5,000 digits"),
    ],
)
def test_lines_that_are_no_text(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "good"}\n' + line + "\n")
    with pytest.raises(ModelError, match=r"a\.jsonl, line 2: ") as error:
        list(read_texts(tmp_path / "a.jsonl"))
    assert words in str(error.value)


def test_what_is_no_file_of_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "loop.txt").symlink_to("loop.txt")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
    (tmp_path / "b.parquet").mkdir()
    for name in (
        "pipe.txt",
        "loop.txt",
        "gone.txt",
        "a.parquet",
        "b.parquet",
        "n" * 300 + ".txt",
        "a\0.txt",
    ):
        with pytest.raises(ModelError) as error:
            list(read_texts(tmp_path / name))
        assert str(error.value).isprintable()
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "a.parquet")
    with pytest.raises(ModelError, match="holds 1 where text should be"):
        list(read_texts(tmp_path / "a.parquet"))


def test_no_text(tiny: Model) -> None:
    with pytest.raises(ModelError, match="no text"):
        survey(tiny, ["", " "], {"mlp_act.0": [FiringRate()]})


@pytest.mark.parametrize("family", ["gemma3", "mixtral"])
def test_layer_by_layer_gives_the_same_bytes(
    family: str, demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights in their files, each block over many batches before the next; streams cut into
    several blocks of batches."""
    made = make(family, demo)
    made.hf.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    plain, by_layer = open_model(tmp_path), open_model(tmp_path, device_map="disk")
    monkeypatch.setattr(layer_major, "STREAMS", 60 * 4 * plain.d_model)
    texts = [*TEXTS, "", *sample_text(demo, 80)]
    top = plain.n_layers - 1
    points = ["embed", "resid_pre.0", f"resid_pre.{top}", f"mlp_in.{top}", "resid_post.0"]
    points += [f"mlp_act.{top}"] if plain.has("mlp_act") else []
    found, switches = [], []
    for model in (plain, by_layer):
        gathering = {point: [SecondMoment(), TopTriggers()] for point in points}
        runs = []
        for layer in range(model.n_layers):
            attention = model.module("attn", layer)
            attention.register_forward_hook(lambda *_, runs=runs, layer=layer: runs.append(layer))
        seen = survey(model, texts, gathering, budget=40)
        switches.append(sum(one != next for one, next in pairwise(runs)))
        found.append((seen, tensors_of(gathering)))
    assert found[0][0] == found[1][0]
    assert plain.n_layers < switches[1] < switches[0], "many batches a layer, in several blocks"
    for name, tensor in found[0][1].items():
        assert torch.equal(tensor, found[1][1][name]), name
