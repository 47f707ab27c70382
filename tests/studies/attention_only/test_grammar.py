"""The chain's own statistics against a chain worked out by hand, and against what it draws."""

import math

import pytest
import torch

from loci.studies.attention_only.grammar import Grammar
from loci.studies.attention_only.synthetic_text import (
    NOUNS,
    PREPOSITIONS,
    VERBS,
    frames,
    made_text,
    noun,
    syllables,
)


@pytest.fixture(scope="module")
def grammar() -> Grammar:
    return made_text()


def by_hand() -> Grammar:
    """a → a or b, each half; b → a. So π = 2/3, 1/3."""
    T = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    return Grammar(("<s>", "a", "b", "name"), 1, torch.tensor([1, 2]), torch.tensor([-1, -1]), T, 1)


def test_a_chain_by_hand() -> None:
    small = by_hand()
    assert torch.allclose(small.stationary, torch.tensor([2 / 3, 1 / 3], dtype=torch.float64))
    expected = torch.tensor(
        [[0, 2 / 3, 1 / 3, 0], [0, 0.5, 0.5, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.float64
    )
    assert torch.allclose(small.bigrams, expected)
    assert small.bigram_entropy == pytest.approx(2 / 3 * math.log(2))


def test_the_table_is_what_is_drawn(grammar: Grammar) -> None:
    """Counted pairs lie within five standard errors of the exact ones, at early and late positions
    alike.
    """
    ids = grammar.draw(12_000, 33, torch.Generator().manual_seed(1))
    size = grammar.d_vocab
    for some in (ids[:, 1:17], ids[:, 17:]):
        pairs = (
            torch.bincount((some[:, :-1] * size + some[:, 1:]).flatten(), minlength=size**2)
            .view(size, size)
            .double()
        )
        total = pairs.sum()
        frequent = grammar.pairs > 1e-4
        error = (pairs / total - grammar.pairs)[frequent].abs() / (
            grammar.pairs[frequent] / total
        ).sqrt()
        assert float(error.max()) < 5
        assert float(pairs[grammar.pairs < 1e-12].sum()) == 0
    assert (ids[:, 0] == 0).all()
    assert (ids[:, 1:] > 0).all()


def test_probabilities_add_up(grammar: Grammar) -> None:
    ones = torch.ones(len(grammar.moves), dtype=torch.float64)
    assert torch.allclose(grammar.moves.sum(1), ones)
    assert torch.allclose(grammar.stationary @ grammar.moves, grammar.stationary)
    assert float(grammar.pairs.sum()) == pytest.approx(1)
    assert torch.allclose(grammar.pairs.sum(0), grammar.pairs.sum(1))


def test_a_name_goes_on_as_it_did(grammar: Grammar) -> None:
    """Within a text few words of names occur, and three in a row that begin alike go on alike;
    between texts they do not.
    """
    ids = grammar.draw(200, 64, torch.Generator().manual_seed(2))
    first = grammar.d_vocab - grammar.names
    going_on: list[set[tuple[int, ...]]] = []
    for row in ids:
        named = row >= first
        assert len(row[named].unique()) <= 3 * grammar.cast
        starts = [i for i in range(2, 61) if not named[i - 1] and named[i : i + 3].all()]
        going_on.append({tuple(row[i : i + 3].tolist()) for i in starts})
        assert len(going_on[-1]) <= grammar.cast
    assert len(set.union(*going_on)) > 300


def test_every_noun_follows_both_prepositions(grammar: Grammar) -> None:
    """So that neither verb nor preposition alone tells the noun."""
    assert noun("keep", "in") == "mind"
    assert noun("keep", "at") == noun("hold", "in") == "bay"
    for preposition in PREPOSITIONS:
        assert {found for _, p, found in frames() if p == preposition} == set(NOUNS)
        row = grammar.bigrams[grammar.vocabulary.index(preposition)]
        assert torch.allclose(
            row[row > 0], torch.full((len(NOUNS),), 1 / len(NOUNS), dtype=torch.float64)
        )
    assert all(noun(verb, "in") != noun(verb, "at") for verb in VERBS)


def test_words_differ() -> None:
    """ "take", a verb here, would be a word of two syllables too."""
    words = made_text(400).vocabulary
    assert len(set(words)) == len(words)
    assert len(set(syllables())) == len(list(syllables()))


def test_draws_are_seeded(grammar: Grammar) -> None:
    first, again, other = (
        grammar.draw(4, 20, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
