"""Background text: whose it is, that it is said, and that a model's own samples are the same each
time.
"""

import json
from pathlib import Path

import pytest
import torch
from tests.conftest import tiny_gpt2

import loci.text.own
from loci.errors import ModelError
from loci.facts import corpus
from loci.model import Model
from loci.text import (
    BackgroundText,
    background,
    corpus_texts,
    own_texts,
    sample_text,
    speaks_corpus,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path / "cache"))


def test_the_embedded_corpus_is_for_the_embedded_model_alone(demo: Model, tiny: Model) -> None:
    """The tiny model has the same tokenizer, but has never read a sentence."""
    assert speaks_corpus(demo) and not speaks_corpus(tiny)
    own, theirs = background(demo), background(tiny, tokens=128)
    assert (own.source, len(own.texts)) == ("embedded corpus", len(corpus()))
    assert theirs.source == "own samples"
    assert not set(theirs.texts) & set(corpus())


def test_a_text_that_is_given_is_taken_as_it_is(demo: Model) -> None:
    text = background(demo, ["One sentence.", "Another one."])
    assert (text.source, text.texts) == ("given", ("One sentence.", "Another one."))
    with pytest.raises(ModelError, match="empty"):
        background(demo, ["", " "])


def test_what_is_said_of_a_text_tells_texts_apart(demo: Model) -> None:
    one, other = (background(demo, texts).to_dict() for texts in (["a b"], ["a", "b"]))
    assert one.keys() == {"source", "texts", "sha256"} and json.dumps(one)
    assert one["sha256"] != other["sha256"]


def test_sample_text_is_the_same_each_time_and_sentences_are_its_first(demo: Model) -> None:
    texts = sample_text(demo, 2000)
    assert texts == sample_text(demo, 2000) == sample_text(demo, 4000)[: len(texts)]
    assert 2000 <= sum(len(demo.tokenize(text)) for text in texts) < 2100
    assert list(corpus_texts()[:3]) == background(demo).sentences(3) == sample_text(demo, 100)[:3]
    assert [len(set(background(demo).beginnings(n))) for n in (0, 1, 50)] == [0, 1, 50]


def test_openings_are_what_many_words_follow(demo: Model) -> None:
    """Counted again over the same sentences; none stands for a whole sentence."""
    found = background(demo).openings(200)
    text = [sentence.split() for sentence in corpus_texts()[:15_000]]
    followed = [
        len({words[len(own)] for words in text if words[: len(own)] == own < words})
        for own in map(str.split, found)
    ]
    assert followed == sorted(followed, reverse=True)
    assert followed[-1] > 5
    assert {"The capital of", "The person who invented the"} <= set(found)


def test_sentences_beginnings_and_openings_are_of_the_text() -> None:
    text = BackgroundText(
        "own samples",
        (
            "Rain fell on the hill. The hill was green. A b",
            "The hill sang a song.\nThe cat sat down.",
        ),
    )
    assert text.sentences(2) == ["Rain fell on the hill.", "The hill was green."]
    assert len(text.sentences(9)) == 9
    assert all(any(s.startswith(begun) for s in text.split) for begun in text.beginnings(3, seed=1))
    assert text.openings(1) == ["The hill"] or text.openings(1) == ["The"]


def test_samples_are_kept_by_content_and_more_begin_with_the_fewer(
    demo: Model, tmp_path: Path, monkeypatch
) -> None:
    few = own_texts(demo, 3, length=4, seed=1)
    first = own_texts(demo, 64, length=4, seed=1)
    assert first[:3] == few
    assert own_texts(demo, 70, length=4, seed=1)[:64] == first
    assert own_texts(demo, 64, length=4, seed=2) != first
    monkeypatch.setattr(loci.text.own, "_sampled", None)
    assert own_texts(demo, 64, length=4, seed=1) == first, "the second time nothing is sampled"
    assert own_texts(demo, 5, length=4, seed=1) == first[:5]
    other = tiny_gpt2(demo)
    with pytest.raises(TypeError):
        own_texts(other, 64, length=4, seed=1)


def test_a_broken_cache_is_sampled_again(demo: Model, tmp_path: Path) -> None:
    first = own_texts(demo, 64, length=4, seed=1)
    (kept,) = (tmp_path / "cache" / "texts").iterdir()
    kept.write_text("[1, 2")
    assert own_texts(demo, 64, length=4, seed=1) == first


def test_sampling_leaves_the_callers_random_numbers_alone(demo: Model) -> None:
    torch.manual_seed(5)
    alone = torch.rand(1)
    torch.manual_seed(5)
    own_texts(demo, 2, length=3)
    assert torch.equal(torch.rand(1), alone)


def test_a_model_without_a_bos_begins_with_words(tiny: Model) -> None:
    tiny.bos = False
    texts = own_texts(tiny, 9, length=3)
    assert len(texts) == 9 and all(text.strip().startswith(loci.text.own.OPENERS) for text in texts)
