"""Which states a merge joins, and in which order: a fixed tree over the shards' numbers.

    level 0        0 … 15   16 … 31   32 … 47        shards
    level 1           0        1         2           each joins up to `FAN` below it, from the left
    level 2                    0

Sums of floats depend on their order in the last bits. Here the order is that of the tree, whatever
order the states come in and whoever joins them; so a merge is associative, commutative and
idempotent to the bit: a set of states becomes the largest nodes that it covers, and what a node
above covers already is left out.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypeVar

FAN = 16
"""States that are joined into one: a merge of n reads n and writes n / 15 more."""
T = TypeVar("T")


class MergeNode(NamedTuple):
    """All shards with numbers from number · FAN^level on, FAN^level of them,
    as far as there are.
    """

    level: int
    number: int

    def children(self, count: int) -> list["MergeNode"]:
        """The nodes that it joins, of a tree of `count` shards; none for a shard."""
        if not self.level:
            return []
        there = _nodes_at(self.level - 1, count)
        first = self.number * FAN
        return [MergeNode(self.level - 1, i) for i in range(first, min(first + FAN, there))]

    def shards(self, count: int) -> range:
        size = FAN**self.level
        return range(self.number * size, min((self.number + 1) * size, count))

    def above(self) -> "MergeNode":
        return MergeNode(self.level + 1, self.number // FAN)


def _nodes_at(level: int, count: int) -> int:
    size: int = FAN**level
    return -(-count // size)


def root(count: int) -> MergeNode:
    """The node of all shards."""
    level = 0
    while _nodes_at(level, count) > 1:
        level += 1
    return MergeNode(level, 0)


def nodes(count: int) -> Iterator[MergeNode]:
    """All nodes, shards first, the root last."""
    for level in range(root(count).level + 1):
        yield from (MergeNode(level, i) for i in range(_nodes_at(level, count)))


def joined(
    states: Mapping[MergeNode, T], count: int, join: Callable[[list[T]], T]
) -> dict[MergeNode, T]:
    """The fewest nodes that the states cover, each joined from its children in their order.

    Args: states: by node, of a tree of `count` shards; `join`: makes a parent's state of its
    children's, and changes none of them.
    """
    joined = uncovered(states, count)
    for node in nodes(count):
        below = node.children(count)
        if below and node not in joined and all(child in joined for child in below):
            joined[node] = join([joined.pop(child) for child in below])
    return joined


def uncovered(states: Mapping[MergeNode, T], count: int) -> dict[MergeNode, T]:
    """The states that no other one's node covers, from the left."""
    top = root(count).level

    def covered(node: MergeNode) -> bool:
        while node.level < top:
            node = node.above()
            if node in states:
                return True
        return False

    return {
        node: states[node]
        for node in sorted(states, key=lambda n: (n.shards(count).start, n.level))
        if not covered(node)
    }


def missing(states: Mapping[MergeNode, T], count: int) -> list[int]:
    """Numbers of the shards that no state covers."""
    there = {number for node in states for number in node.shards(count)}
    return [number for number in range(count) if number not in there]
