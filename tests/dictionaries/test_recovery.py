"""Matching against all permutations; what is perfect is found so,
and what is wrong has its name.
"""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.recovery import SyntheticWorld, assignment, recovery


def test_assignment_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for rows, columns in ((1, 1), (3, 3), (4, 6), (5, 5)):
        for _ in range(10):
            cost = rng.normal(size=(rows, columns)).round(1)
            found = assignment(cost)
            assert len(set(found.tolist())) == rows
            best = min(
                sum(cost[i, c] for i, c in enumerate(p))
                for p in itertools.permutations(range(columns), rows)
            )
            assert cost[range(rows), found].sum() == pytest.approx(best)
    with pytest.raises(ValueError, match="3 rows"):
        assignment(np.zeros((3, 2)))


@pytest.fixture
def world() -> SyntheticWorld:
    """As many dimensions as features: each can be read off exactly."""
    drawn = SyntheticWorld.drawn(16, 16)
    return replace(drawn, directions=torch.linalg.qr(drawn.directions).Q)


def perfect(world: SyntheticWorld) -> Dictionary:
    directions, n = world.directions, len(world.directions)
    return Dictionary(directions, torch.full((n,), -0.01), directions.clone(), torch.zeros(16))


def test_perfect_dictionary(world: SyntheticWorld) -> None:
    found = recovery(perfect(world), world)
    assert (
        found.best_cosine == pytest.approx(1)
        and found.matched_cosine == pytest.approx(1)
        and found.found == 1
    )
    assert found.split == 0 and found.absorbed == 0 and found.hedged == pytest.approx(0, abs=1e-6)


def test_hierarchy_and_correlation_of_the_world(world: SyntheticWorld) -> None:
    _, on = world.sample(20_000)
    for parent, child in world.children:
        assert not bool((on[:, child] & ~on[:, parent]).any())
    leader, follower = world.pairs[0]
    assert float(on[on[:, leader], follower].float().mean()) > 0.5
    assert float(on[~on[:, leader], follower].float().mean()) < 0.4


def test_faults_have_their_names(world: SyntheticWorld) -> None:
    good = perfect(world)
    twice = replace(
        good,
        W_enc=torch.cat([good.W_enc] * 2),
        W_dec=torch.cat([good.W_dec] * 2),
        b_enc=torch.cat([good.b_enc] * 2),
    )
    assert recovery(twice, world).split == 1
    parent, child = world.children[0]
    W_enc = good.W_enc.clone()
    W_enc[parent] -= 5 * W_enc[child]  # off wherever the child is on
    assert recovery(replace(good, W_enc=W_enc), world).absorbed == pytest.approx(
        1 / len(world.children)
    )
    leader, follower = world.pairs[0]
    W_dec = good.W_dec.clone()
    W_dec[leader] += W_dec[follower]
    assert recovery(replace(good, W_dec=W_dec), world).hedged == pytest.approx(
        0.5**0.5 / len(world.pairs), abs=1e-4
    )
    noise = replace(good, W_dec=torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))
    assert recovery(noise, world).found == 0
