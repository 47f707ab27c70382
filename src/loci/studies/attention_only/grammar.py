"""Text from a hidden Markov chain, so that all its statistics are known exactly.

    state s says its word, or the next word of a name        T[s, s'] leads on        π T = π
    P(b | a) = Σ_{s,s'} π(s) E(s, a) T(s, s') E(s', b) / Σ_s π(s) E(s, a)
            the bigram table
    H = −Σ_a P(a) Σ_b P(b | a) ln P(b | a)
            the least loss that looks at one token

E(s, a) is 1 at the state's word, and uniform over the words of names where the state is one of a
name. Each text has its own few names, drawn afresh: what a name goes on with stands nowhere but
earlier in the text. Over all texts a name's words are independent, so the chain alone has the
bigrams. A text begins in the chain's stationary state, as if cut out of a longer one: no position
is special.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.linalg import lstsq

BOS = "<s>"


@dataclass(frozen=True, eq=False)
class Grammar:
    """A chain over states, what they say, and the words of names."""

    vocabulary: tuple[str, ...]
    """BOS, then words; those of names are the last."""
    names: int
    """How many words names are made of."""
    says: Int[Tensor, " state"]
    """Token of a state; −1 for a state of a name."""
    place: Int[Tensor, " state"]
    """Which word of the name a state says; −1 for the others."""
    moves: Float[Tensor, "state state"]
    """T, float64."""
    cast: int
    """Names of one text."""

    @property
    def d_vocab(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def stationary(self) -> Float[Tensor, " state"]:
        """π, by least squares of π T = π with Σ π = 1."""
        states = len(self.moves)
        system = torch.cat(
            [
                self.moves.T - torch.eye(states, dtype=torch.float64),
                torch.ones(1, states, dtype=torch.float64),
            ]
        )
        right = torch.zeros(states + 1, 1, dtype=torch.float64)
        right[-1] = 1
        return lstsq(system, right, "the grammar's chain")[:, 0].clamp(min=0)

    @cached_property
    def says_with(self) -> Float[Tensor, "state token"]:
        """E: probability of each token in each state, over all texts."""
        chances = torch.zeros(len(self.says), self.d_vocab, dtype=torch.float64)
        named = self.says < 0
        chances[~named, self.says[~named]] = 1
        chances[named, self.d_vocab - self.names :] = 1 / self.names
        return chances

    @cached_property
    def pairs(self) -> Float[Tensor, "token token"]:
        """Probability of each two neighbours; BOS is not among them."""
        E = self.says_with
        joint: Tensor = E.T @ (self.stationary[:, None] * self.moves) @ E
        return joint

    @cached_property
    def bigrams(self) -> Float[Tensor, "token token"]:
        """P(b | a) as rows; after BOS, the frequency of words."""
        table = self.pairs / self.pairs.sum(1, keepdim=True).clamp(min=1e-300)
        table[0] = self.pairs.sum(1)
        return table

    @property
    def bigram_entropy(self) -> float:
        """H, in nats a token."""
        return float(-(self.pairs * self.bigrams.clamp(min=1e-300).log()).sum())

    def draw(
        self, texts: int, length: int, generator: torch.Generator
    ) -> Int[Tensor, "text length"]:
        """So many texts, each behind BOS, with names of their own."""
        most = max(1, int(self.place.max()) + 1)
        first = self.d_vocab - self.names
        people = torch.randint(first, self.d_vocab, (texts, self.cast, most), generator=generator)
        rows, ids = torch.arange(texts), torch.zeros(texts, length, dtype=torch.long)
        state = torch.multinomial(self.stationary, texts, replacement=True, generator=generator)
        who = torch.randint(self.cast, (texts,), generator=generator)
        for position in range(1, length):
            place = self.place[state]
            who = torch.where(
                place == 0, torch.randint(self.cast, (texts,), generator=generator), who
            )
            named = people[rows, who, place.clamp(min=0)]
            ids[:, position] = torch.where(place < 0, self.says[state], named)
            state = self._follow(state, torch.rand(texts, generator=generator, dtype=torch.float64))
        return ids

    @cached_property
    def _reached(self) -> Float[Tensor, "state state"]:
        return self.moves.cumsum(1)

    def _follow(
        self, state: Int[Tensor, " text"], chance: Float[Tensor, " text"]
    ) -> Int[Tensor, " text"]:
        """The next states: where the running sum of T's row passes `chance`."""
        following: Tensor = torch.searchsorted(self._reached[state], chance[:, None], right=True)[
            :, 0
        ]
        return following.clamp(max=len(self.moves) - 1)
