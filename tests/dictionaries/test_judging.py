"""Labels against counting by hand, known units, and controls that find nothing."""

import random
from dataclasses import replace

import pytest
import torch

from loci.dictionaries import Dictionary, judge, open_dictionary
from loci.dictionaries.fact_labels import (
    POSITIONS,
    LabelledFacts,
    auc_of,
    best_threshold,
    f1_of,
    label_facts,
    score_units,
)
from loci.errors import DictionaryError
from loci.facts import Fact
from loci.model import Model
from loci.text import sample_text
from tests.dictionaries.test_conventions import mirror


def test_auc_is_the_share_of_pairs() -> None:
    rng = random.Random(0)
    values = torch.tensor([[rng.choice([0.0, 0.0, 1.0, 2.0]) for _ in range(3)] for _ in range(30)])
    marks = torch.tensor([[rng.random() < p for p in (0.3, 0.7, -1)] for _ in range(30)])
    found = auc_of(values, marks)
    for unit in range(3):
        for label in range(2):
            pairs = [
                (a > b) + 0.5 * (a == b)
                for a, on in zip(values[:, unit].tolist(), marks[:, label].tolist(),
                    strict=True) if on
                for b, off in zip(values[:, unit].tolist(), marks[:, label].tolist(),
                    strict=True) if not off
            ]  # fmt: skip
            assert float(found[unit, label]) == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    assert found[:, 2].tolist() == [0.5] * 3


def test_threshold_is_the_best_of_all() -> None:
    torch.manual_seed(0)
    values = torch.randn(40).round(decimals=1)
    marks = values + torch.randn(40) > 0.5
    best = max(f1_of(values > t, marks) for t in torch.cat([values, values - 0.05]).tolist())
    assert f1_of(values > best_threshold(values, marks), marks) == pytest.approx(best)
    assert f1_of(
        torch.tensor([True, True, False]), torch.tensor([True, False, True])
    ) == pytest.approx(0.5)
    assert f1_of(torch.tensor([True]), torch.tensor([False])) == 0


def test_known_units_get_their_labels_and_noise_none() -> None:
    generator = torch.Generator().manual_seed(0)
    facts = tuple(Fact(f"s{i}", "{} is", f"a{i % 4}", relation=f"r{i % 2}") for i in range(200))
    labels = tuple((at, f"answer a{j}") for at in POSITIONS for j in range(4))
    answers = torch.tensor([[i % 4 == j for j in range(4)] for i in range(200)])
    train = torch.rand(200, generator=generator) < 0.5
    known = LabelledFacts(facts, {}, labels, torch.cat([answers, answers], 1), train)
    noise = torch.randn(200, 30, generator=generator)
    units = {
        "subject": torch.cat([answers.float() + 0.1 * noise[:, :4], noise[:, 4:]], 1),
        "end": noise,
    }
    found = score_units(known, units)
    assert {unit: label for unit, label, _, _ in found.best} == {
        j: f"answer a{j} @ subject" for j in range(4)
    }
    assert found.clean.value == pytest.approx(4 / 30)
    assert found.covered.value == pytest.approx(
        0.5
    )  # of the labels at the end, no unit knows anything
    assert found.shuffled_clean.value == 0 and found.shuffled_covered.value == 0
    assert all(auc > 0.99 and f1 > 0.95 for _, _, auc, f1 in found.best)


def test_facts_are_read_where_they_say(demo: Model) -> None:
    facts = [Fact("Michael Jordan", "{} plays the sport of", "basketball", relation="sport")] * 11
    facts += [Fact("Osaka", "{} is a city in the country of", "Japan", relation="country")] * 11
    known = label_facts(demo, facts, ["resid_post.2"])
    for fact, row in ((facts[0], 0), (facts[-1], 21)):
        tokens = demo.tokenize(fact.text)
        states = demo.read(demo.ids([tokens.ids]), "resid_post.2")["resid_post.2"][0]
        last = len(demo.tokenize(fact.subject).ids) - 1
        torch.testing.assert_close(
            known.values["resid_post.2"]["end"][row], states[-1], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(
            known.values["resid_post.2"]["subject"][row], states[last], atol=1e-4, rtol=1e-4
        )
    with pytest.raises(DictionaryError, match="no relation and no answer stands in"):
        label_facts(demo, facts[:3], ["resid_post.2"])


def test_judge(tiny: Model) -> None:
    opened = open_dictionary(tiny, mirror(32), tokens=200)
    facts = [
        Fact(f"Person {i}", "{} plays", f"{'ab'[i % 2]}", relation="ab"[i % 2]) for i in range(60)
    ]
    found = judge(tiny, opened, texts=sample_text(tiny, 500), facts=facts)
    document = found.to_dict()
    assert (
        document["fvu"] < 1e-6 and document["labels"]["n"] == found.labels["features"].labels == 8
    )
    assert set(found.labels) == {"features", "neurons", "random directions", "principal components"}
    core = document["saebench"]
    assert core["reconstruction_quality"]["explained_variance"] == pytest.approx(1)
    assert core["misc_metrics"]["average_max_decoder_cosine_sim"] == pytest.approx(0)
    assert core["model_behavior_preservation"]["kl_div_score"] == pytest.approx(1, abs=1e-3)
    assert core["shrinkage"]["l2_ratio"] == pytest.approx(1, abs=1e-5)
    half = judge(
        tiny,
        replace(opened.dictionary, W_dec=0.5 * opened.dictionary.W_dec),
        texts=sample_text(tiny, 500),
        facts=[],
    )
    assert half.labels == {} and half.to_dict()["saebench"]["shrinkage"][
        "l2_ratio"
    ] == pytest.approx(0.5, abs=1e-5)
    assert isinstance(opened.dictionary, Dictionary)
