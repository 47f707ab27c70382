"""Merging states: associative, commutative and idempotent to the bit, in whatever order and however
often they come.
"""

from random import Random

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loci.survey.accumulators import Accumulator, Extremes, FiringRate, Moments, Rows, SecondMoment
from loci.survey.histograms import Histogram
from loci.survey.states import State, add, checksum, restore, tensors_of
from loci.survey.tree import FAN, MergeNode, joined, missing, nodes, root, uncovered
from loci.survey.triggers import TopTriggers

COUNT = 2 * FAN + 3
"""Shards: three levels, the last nodes with fewer below them."""


def empty() -> dict[str, tuple[Accumulator, ...]]:
    return {
        "x": (SecondMoment(), Moments(), FiringRate(), Extremes(), Histogram(2), TopTriggers(k=3))
    }


def shard(number: int) -> State:
    gathered, generator = empty(), torch.Generator().manual_seed(number)
    values = torch.randn(2, 3, 4, generator=generator) * 10 ** (number % 5)
    for accumulator in gathered["x"]:
        accumulator.update(values, Rows(torch.arange(2) + 2 * number, torch.tensor([1, 1])))
    return State(gathered, 2, 6)


def copied(state: State) -> State:
    gathered = empty()
    restore(gathered, {name: tensor.clone() for name, tensor in tensors_of(state.gathered).items()})
    return State(gathered, state.texts, state.tokens, state.set_aside)


def join(states: list[State]) -> State:
    made = copied(states[0])
    for state in states[1:]:
        made = add(made, state)
    return made


SHARDS = {MergeNode(0, number): shard(number) for number in range(COUNT)}
States = dict[MergeNode, State]


def merged(*parts: States) -> States:
    return joined({node: state for part in parts for node, state in part.items()}, COUNT, join)


def sums(states: States) -> dict[MergeNode, tuple[str, int, int]]:
    return {
        node: (checksum(tensors_of(state.gathered)), state.texts, state.tokens)
        for node, state in states.items()
    }


WHOLE = sums(merged(SHARDS))
parts = st.sets(st.integers(0, COUNT - 1)).map(
    lambda numbers: {MergeNode(0, n): SHARDS[MergeNode(0, n)] for n in numbers}
)


def test_all_shards_make_the_root() -> None:
    assert set(WHOLE) == {root(COUNT)} == {MergeNode(2, 0)}
    [(_, texts, tokens)] = WHOLE.values()
    assert (texts, tokens) == (2 * COUNT, 6 * COUNT)
    values = torch.cat(
        [
            torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(n)) * 10 ** (n % 5)
            for n in range(COUNT)
        ]
    )
    moment = merged(SHARDS)[root(COUNT)].gathered["x"][0]
    wide = values.flatten(0, 1).double()
    torch.testing.assert_close(moment.mean, wide.T @ wide / len(wide), rtol=1e-12, atol=0)  # type: ignore[attr-defined]


@settings(max_examples=25)
@given(parts, parts, parts)
def test_merging_is_associative_commutative_and_idempotent(a: States, b: States, c: States) -> None:
    left, right = merged(merged(a, b), c), merged(a, merged(b, c))
    assert sums(left) == sums(right) == sums(merged(c, a, b))
    assert sums(merged(left, left)) == sums(merged(left, a)) == sums(left), (
        "late duplicates change nothing"
    )
    assert missing(left, COUNT) == [n for n in range(COUNT) if MergeNode(0, n) not in a | b | c]


@settings(max_examples=10)
@given(st.randoms(use_true_random=False))
def test_any_order_and_any_grouping_gives_the_same_bytes(random: Random) -> None:
    waiting = [{node: state} for node, state in SHARDS.items()]
    waiting += random.sample(waiting, 5)
    while len(waiting) > 1:
        random.shuffle(waiting)
        waiting.append(
            merged(waiting.pop(), waiting.pop(), *([waiting.pop()] if len(waiting) > 1 else []))
        )
    assert sums(waiting[0]) == WHOLE


@settings(max_examples=30)
@given(st.integers(1, 2000))
def test_every_shard_is_below_the_root_once(count: int) -> None:
    every = list(nodes(count))
    assert every[-1] == root(count) and list(root(count).shards(count)) == list(range(count))
    below = [child for node in every for child in node.children(count)]
    assert sorted(below) == sorted(set(every) - {root(count)})
    assert set(uncovered(dict.fromkeys(every), count)) == {root(count)}
