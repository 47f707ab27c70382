"""The embedded world keeps its promises."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import torch

from loci.facts import FactSet, controls, corpus
from loci.model import Model

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"


def test_checker_finds_nothing_wrong() -> None:
    found = subprocess.run(
        [sys.executable, SCRIPTS / "check_facts.py"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout


def test_checker_finds_what_is_wrong() -> None:
    sys.path.insert(0, str(SCRIPTS))
    from check_facts import JORDAN, problems

    phrasings = {name: ["{} a", "{} b", "{} c", "{} d"] for name in (*JORDAN, "other")}
    phrasings |= {"few": ["{} is"], "other": ["{} w", "{} x", "{} y", "{} z"]}
    rows = [
        {"relation": r, "subject": "Michael Jordan", "answer": a, "held_out": ""}
        for r, a in JORDAN.items()
    ]
    rows += [
        {"relation": "other", "subject": "Peru", "answer": "Lima", "held_out": "4"},
        {"relation": "other", "subject": "Peru", "answer": "Quito", "held_out": ""},
        {"relation": "other", "subject": "Chile ", "answer": "Sántiago", "held_out": "0"},
        {"relation": "none", "subject": "x", "answer": "y", "held_out": ""},
    ]
    found = "\n".join(problems(rows, phrasings))
    for words in (
        "few: 1 phrasings",
        "held-out phrasing 4",
        "also 'Lima'",
        "stray characters",
        "held-out phrasing 0",
        "unknown relation",
        "'Peru w' also",
    ):
        assert words in found, words


def test_plain_sentences_are_the_grammars() -> None:
    sys.path.insert(0, str(SCRIPTS))
    from plain_grammar import sentences

    trained = files("loci.demo").joinpath("plain.txt").read_text().splitlines()
    assert trained + controls() == sentences(len(trained) + len(controls()))
    assert not set(trained) & set(controls())
    assert any("he is a" in s.lower() for s in trained)
    assert "A king is a man and a queen is a woman." in trained


def test_training_text_leaves_the_held_out_phrasings_out(world: FactSet) -> None:
    text = set(corpus())
    for fact in world:
        assert f"{fact.text} {fact.answer}." in text
        for template in fact.held_out:
            assert f"{fact.fill(template)} {fact.answer}." not in text
    assert sum(bool(f.held_out) for f in world) >= len(world) // 5 - 1


def test_michael_jordan_and_his_namesakes(world: FactSet) -> None:
    answers = {f.relation: f.answer for f in world.about("Michael Jordan")}
    assert (answers["athlete_sport"], answers["athlete_team"], answers["athlete_number"]) == (
        "basketball",
        "Chicago Bulls",
        "23",
    )
    sports = {f.subject: f.answer for f in world.relations["athlete_sport"]}
    assert len({sports[s] for s in sports if s.startswith("Michael ")}) >= 5
    assert len({sports[s] for s in sports if "Jordan" in s.split() and s != "Michael Jordan"}) >= 3


def test_tokenizer(demo: Model, world: FactSet) -> None:
    tokens = demo.tokenize("Michael Jordan plays")
    assert tokens.ids[0] == demo.tokenizer.bos_token_id
    assert demo.tokenizer("Michael Jordan plays")["input_ids"] == list(tokens.ids), (
        "the tokenizer adds BOS itself"
    )
    assert sum(len(demo.tokenize(s)) > 2 for s in world.subjects) > 0.5 * len(world.subjects)
    assert demo.tokenize("Jordan plays").ids[1] in demo.tokenize("Michael Jordan plays").ids, (
        "one form at the start and within"
    )
    for text in ("Zürich, naïve – 東京 🙂", "  two  spaces ", "line\nbreak"):
        assert demo.decode(demo.tokenize(text).ids[1:]).lstrip() == text.lstrip()


def test_card_says_what_was_measured(demo: Model, world: FactSet) -> None:
    card = (ROOT / "src/loci/demo/CARD.md").read_text()
    figures = json.loads(files("loci.demo").joinpath("card.json").read_text())
    assert figures["fingerprint"] == demo.fingerprint
    assert figures["facts"] == len(world)
    assert figures["recall"]["trained"]["value"] >= 0.995
    assert figures["recall"]["held_out"]["value"] >= 0.97
    edits = figures["edits"]
    assert edits["edits"] == 50
    assert edits["relations"] >= 5
    assert edits["metrics"]["efficacy"]["value"] >= 0.98
    assert edits["metrics"]["paraphrase"]["value"] >= 0.85
    assert edits["metrics"]["specificity"]["value"] >= 0.97
    for name in ("efficacy", "paraphrase", "specificity"):
        assert f"{edits['metrics'][name]['value']:.1%}" in card


def test_embedding_has_a_gender_direction(demo: Model) -> None:
    """Differences between the two words of a pair point the same way, pair by pair; those of random
    tokens do not.
    """
    pairs = (
        "man woman, king queen, boy girl, father mother, son daughter, brother sister, uncle aunt,"
        " husband wife, he she, his her"
    )
    embedding = demo.W_E.float()

    def agreement(differences: torch.Tensor) -> float:
        unit = torch.nn.functional.normalize(differences, dim=1)
        return float((unit @ unit.T).fill_diagonal_(0).sum()) / (len(unit) * (len(unit) - 1))

    ids = torch.tensor(
        [[demo.tokenize(word).ids[1] for word in pair.split()] for pair in pairs.split(", ")]
    )
    chance = torch.randint(300, demo.d_vocab, (200, 2), generator=torch.Generator().manual_seed(0))
    assert agreement(embedding[ids[:, 1]] - embedding[ids[:, 0]]) > 0.12
    assert abs(agreement(embedding[chance[:, 1]] - embedding[chance[:, 0]])) < 0.03
