"""Small models: what they are made of, that they learn what can be learnt, and that they come back
whole.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

import loci
from loci.errors import CircuitError, LociError, OutputError
from loci.model import Model
from loci.studies.attention_only import Recipe, SmallModel, bigrams, load, train
from loci.studies.attention_only.grammar import Grammar
from loci.studies.attention_only.init_model import untrained_gpt2
from loci.studies.attention_only.measures import in_context, losses
from loci.studies.attention_only.synthetic_text import made_text
from loci.studies.attention_only.training import TrainingRun, checkpoints
from loci.studies.attention_only.training_text import (
    SyntheticText,
    byte_tokenizer,
    cut,
    word_tokenizer,
)

TINY = Recipe(layers=2, heads=2, d_head=4, steps=3, batch=4, context=24)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SmallModel:
    return train(TINY, tmp_path_factory.mktemp("small") / "two")


def wheel() -> Grammar:
    """Four words, of which each leads to two."""
    T = torch.zeros(4, 4, dtype=torch.float64)
    for i, p in enumerate((0.9, 0.7, 0.5, 0.2)):
        T[i, (i + 1) % 4] += p
        T[i, (i + 2) % 4] += 1 - p
    return Grammar(
        ("<s>", "a", "b", "c", "d", "name"), 1, torch.arange(1, 5), torch.full((4,), -1), T, 1
    )


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_no_layers_become_the_table(optimizer: str) -> None:
    """The loss comes to the chain's own entropy, and the table to the chain's."""
    recipe = Recipe(
        layers=0,
        heads=1,
        d_head=8,
        optimizer=optimizer,
        steps=250,
        batch=32,
        context=24,
        rate=None if optimizer == "sgd" else 0.02,
    )
    grammar = wheel()
    learning = TrainingRun(recipe, _text(grammar, recipe.context), "zero")
    for _ in learning.steps():
        pass
    with torch.no_grad():
        found = learning.model(torch.tensor([[0, word] for word in range(1, 5)]))[:, 1].softmax(-1)[
            :, 1:5
        ]
    assert torch.allclose(found.double(), grammar.bigrams[1:5, 1:5], atol=0.04)
    loss = -float((grammar.pairs[1:5, 1:5] * found.double().log()).sum())
    assert grammar.bigram_entropy - 1e-9 <= loss < grammar.bigram_entropy + 0.01


def _text(grammar: Grammar, context: int) -> SyntheticText:
    """Room for repeated tokens is made with words that never come."""
    words = (*grammar.vocabulary, *(f"w{i}" for i in range(20)))
    held_out = grammar.draw(32, context, torch.Generator().manual_seed(0))
    wide = replace(grammar, vocabulary=words, names=20)
    return SyntheticText(wide, word_tokenizer(words), held_out)


def test_attention_only() -> None:
    """The MLP adds nothing, no bias is anything, and only matrices learn."""
    hf = untrained_gpt2(50, 32, 2, 2, 8, seed=1)
    model = Model(hf, word_tokenizer(["<s>", *map(str, range(48))]), "untrained_gpt2")
    reads = model.read(torch.arange(10)[None], "mlp_out.0", "mlp_out.1")
    assert all(float(out.abs().max()) == 0 for out in reads.values())
    assert {name.split(".")[-2] for name, p in hf.named_parameters() if p.requires_grad} == {
        "wte",
        "wpe",
        "c_attn",
        "c_proj",
        "lm_head",
    }
    assert not any(p.any() for name, p in hf.named_parameters() if name.endswith("bias"))
    with_mlp = untrained_gpt2(50, 32, 1, 2, 8, mlp=5)
    assert any(
        p.requires_grad and p.shape == (16, 5)
        for name, p in with_mlp.named_parameters()
        if ".mlp." in name
    )
    assert not any(p.any() for p in untrained_gpt2(50, 32, 0, 2, 8).transformer.wpe.parameters())


def test_training_moves_only_what_learns(trained: SmallModel) -> None:
    fresh = dict(untrained_gpt2(made_text().d_vocab + 1, 24, 2, 2, 4).named_parameters())
    for name, parameter in trained.model.hf.named_parameters():
        assert torch.equal(parameter, fresh[name]) is not parameter.requires_grad, name


def test_saved_in_hugging_face_form(trained: SmallModel) -> None:
    folder, text = trained.model.name, "keep the lamp in"
    plain, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    assert tokenizer.convert_ids_to_tokens(ids[0]) == ["<s>", *text.split()]
    opened = loci.open(folder)
    assert torch.equal(opened(ids), plain(ids).logits)
    assert torch.allclose(trained.model(ids), opened(ids), atol=1e-6)
    again = load(folder)
    assert again.recipe == TINY
    assert again.to_dict() == trained.to_dict()
    assert json.loads((Path(folder) / "training.json").read_text())["schema"] == "loci.small/1"


@pytest.mark.parametrize("layers", [0, 1, 2])
def test_any_depth_opens(layers: int, tmp_path: Path) -> None:
    small = train(replace(TINY, layers=layers, steps=1, optimizer="sgd"), tmp_path / "m")
    opened = loci.open(tmp_path / "m")
    assert opened.n_layers == layers
    assert len(small.last.induction) == layers
    assert load(tmp_path / "m").last == small.last or layers == 0


def test_no_layers_say_so(tmp_path: Path) -> None:
    train(replace(TINY, layers=0, steps=1), tmp_path / "zero")
    with pytest.raises(LociError, match="has no layers"):
        loci.open(tmp_path / "zero").W_Q(0)


def test_the_same_seed_the_same_model(trained: SmallModel, tmp_path: Path) -> None:
    again = train(TINY, tmp_path / "again")
    assert again.model.fingerprint == trained.model.fingerprint
    assert again.last.loss == trained.last.loss


def test_stopped_it_keeps_what_it_has(tmp_path: Path) -> None:
    calls = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(replace(TINY, steps=50), tmp_path / "part", progress=stop)
    part = load(tmp_path / "part")
    assert not part.finished
    assert part.last.step == 2


def test_losses_are_cross_entropy(trained: SmallModel) -> None:
    ids = made_text().draw(6, 24, torch.Generator().manual_seed(3))
    found, stream = losses(trained.model, ids)
    expected = cross_entropy(
        trained.model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    assert torch.allclose(found.flatten(), expected, atol=1e-5)
    assert stream.shape == (6, 24, 8)


def test_in_context_is_late_minus_early() -> None:
    """A loss that falls by 1 a position: early positions of 64 are 4 … 15, late 48 … 63."""
    loss = -torch.arange(64.0).expand(5, 64)
    assert in_context(loss).value == pytest.approx(-(55.5 - 9.5))


def test_rates_and_checkpoints() -> None:
    recipe = Recipe(steps=1000, rate=1.0)
    rates = [recipe.rate_at(step) for step in range(1000)]
    assert rates[0] < 0.05
    assert rates[100] == rates[499] == 1
    assert rates[-1] == pytest.approx(0.002)
    assert checkpoints(100) == [0, 1, 2, *range(4, 100, 4)]
    assert checkpoints(3) == [0, 1, 2]


def test_a_file_of_text(tmp_path: Path) -> None:
    text = tmp_path / "book.txt"
    text.write_text(
        "\n".join(
            f"the {a} sat on the {b} and the {b} on the {a}"
            for a in "cat dog hen fox".split()
            for b in "mat log bed sky".split()
        )
        * 60
    )
    small = train(replace(TINY, layers=1), tmp_path / "book", text)
    assert small.text == str(text)
    assert (
        loci.open(tmp_path / "book")
        .decode(loci.open(tmp_path / "book").tokenize("the cat sat").ids[1:])
        .strip()
        == "the cat sat"
    )
    with pytest.raises(CircuitError, match="statistics are not known"):
        bigrams(small)


def test_windows_of_a_file() -> None:
    windows = cut([[0, 1, 2], [0, 3, 4, 5], [0, 6]], 5)
    assert windows.tolist() == [[0, 0, 1, 2, 0], [0, 3, 4, 5, 0]]
    assert byte_tokenizer(["hello"])("hello")["input_ids"][0] == 0


def test_bad_input(tmp_path: Path) -> None:
    short = tmp_path / "short.txt"
    short.write_text("too short to learn from\n")
    with pytest.raises(CircuitError, match="too short"):
        train(TINY, tmp_path / "m", short)
    assert not (tmp_path / "m").exists()
    for wrong, said in (
        ({"layers": 3}, "0, 1 or 2"),
        ({"heads": 0}, "0 heads"),
        ({"context": 8}, "context"),
        ({"mlp": -1}, "MLP"),
    ):
        with pytest.raises(CircuitError, match=said):
            train(replace(TINY, **wrong), tmp_path / "m")
    for wrong, said in (
        ({"optimizer": "lion"}, "no optimizer"),
        ({"steps": 0}, "0 steps"),
        ({"rate": -1.0}, "above 0"),
    ):
        with pytest.raises(CircuitError, match=said):
            Recipe(**wrong)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    with pytest.raises(OutputError):
        train(TINY, tmp_path / "full")
    with pytest.raises(CircuitError, match=r"training\.json"):
        load("demo")
