"""Cards against the model run text by text; the dictionaries that ship do what their notes say."""

import pytest
import torch

from loci.dictionaries import load_dictionary, open_dictionary, read_features
from loci.errors import DictionaryError
from loci.model import Model
from loci.text import corpus_texts, sample_text


@pytest.mark.parametrize("name", ["demo:mlp_out.3", "demo:mlp_out.1"])
def test_embedded_dictionaries(name: str, demo: Model) -> None:
    opened = open_dictionary(demo, name)
    said = opened.dictionary.notes
    assert opened.chosen == "as the file says"
    assert opened.fit.fvu == pytest.approx(said["fvu"], rel=0.3) and opened.fit.l0 == pytest.approx(
        said["l0"], rel=0.1
    )
    assert opened.fit.fvu < 0.05 and opened.fit.l0 <= 32


def test_embedded_names() -> None:
    with pytest.raises(DictionaryError, match=r"demo:mlp_out\.1"):
        load_dictionary("demo:mlp_out.7")


def test_card_is_what_a_run_gives(demo: Model) -> None:
    dictionary, texts = load_dictionary("demo:mlp_out.3"), corpus_texts()[:60]
    dense = [
        dictionary.encode(demo.read(demo.ids([demo.tokenize(t).ids]), "mlp_out.3")["mlp_out.3"])[
            0, 1:
        ]
        for t in texts
    ]
    rows = torch.cat(dense)
    feature = int((rows > 0).sum(0).argmax())
    [card] = read_features(demo, dictionary, [feature], texts, top=3)
    assert card.density == pytest.approx(float((rows[:, feature] > 0).float().mean()), abs=2e-3)
    assert card.tokens == len(rows)
    best = max(range(len(texts)), key=lambda i: float(dense[i][:, feature].max()))
    first = card.triggers[0]
    assert first.before + first.token + first.after == texts[best]
    assert first.activation == pytest.approx(float(dense[best][:, feature].max()), rel=1e-3)
    token = demo.tokenize(texts[best])
    start, end = token.offsets[1 + int(dense[best][:, feature].argmax())]
    assert first.token == texts[best][start:end]
    values = demo.W_down(3).T / demo.W_down(3).norm(dim=0)[:, None]
    along = values @ (dictionary.W_enc[feature] / dictionary.W_enc[feature].norm())
    assert card.writers[0] == (
        f"L3N{int(along.argmax())}",
        pytest.approx(float(along.max()), abs=1e-4),
    )
    assert len(card.promotes) == len(card.suppresses) == 3 and len(card.nearest) == 5


def test_no_such_feature(demo: Model) -> None:
    with pytest.raises(DictionaryError, match="no feature 2048: expected 0 … 2,047"):
        read_features(demo, load_dictionary("demo:mlp_out.3"), [2048], sample_text(demo, 100))
