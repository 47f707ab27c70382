"""A model of no layers is a table of bigrams: does it become the table of its text?

    logits = W_U LN(W_E[a])      P(b | a) = softmax      against the chain's own P(b | a), exact

The least loss of such a model is the text's bigram entropy H; what it loses above H is Σ_a P(a)
KL(P(· | a) ‖ model's). Deeper models begin as this table, on the direct path. Source: Elhage et al.
2021, "Zero-layer transformers".
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.result import About, Result
from loci.studies.attention_only.grammar import Grammar
from loci.studies.attention_only.training import SmallModel, known_grammar


@dataclass(frozen=True)
class BigramTable(Result):
    """Two tables of P(b | a): the text's and the model's."""

    about: ClassVar[About] = About(
        "bigrams",
        "Is a model without layers its text's table of bigrams?",
        "Left the text's table, right the model's: they should look alike.",
        "small.bigrams_figure",
    )

    model: str
    layers: int
    words: tuple[str, ...]
    """Those that the tables show: the words of names stand as one, in the last row and column."""
    text: Float[Tensor, "word word"]
    table: Float[Tensor, "word word"]
    loss: float
    """The model's, over the text's pairs, from the tables: no sampling."""
    entropy: float
    """H, the least that is possible with one token."""

    @property
    def above(self) -> float:
        """Mean KL(text's ‖ model's), nats."""
        return self.loss - self.entropy

    def summary(self) -> tuple[str, ...]:
        return (
            f"The model loses {self.loss:.4f} nats on the text's pairs; the exact table"
            f" {self.entropy:.4f}; mean KL {self.above:.4f}.",
        )

    def to_dict(self) -> dict[str, Any]:
        tables = {"text": self.text.tolist(), "table": self.table.tolist()}
        return {"schema": "loci.bigrams/1", **vars(self), **tables, "above": self.above}


@torch.no_grad()
def bigrams(small: SmallModel) -> BigramTable:
    """Does a model of no layers become the bigram table of its text?

    Args:
        small: a model that `train` or `load` gave.

    Returns: `BigramTable`: both tables, and the mean KL between them in nats.
    Raises: `CircuitError` for a model that learnt from a user's text.
    Cost: One run of two tokens a word.
    Source: Elhage et al. 2021 ("Zero-layer transformers").
    """
    grammar = known_grammar(small)
    words = torch.arange(1, grammar.d_vocab)
    ids = torch.stack([torch.zeros_like(words), words], 1)
    logprobs = small.model(ids)[:, 1].double().log_softmax(-1)[:, : grammar.d_vocab]
    loss = -float((grammar.pairs[1:] * logprobs).sum())
    shown = grammar.d_vocab - grammar.names
    return BigramTable(
        model=small.model.name,
        layers=small.recipe.layers,
        words=(*grammar.vocabulary[1:shown], "name"),
        text=_gathered(grammar, grammar.bigrams[1:, 1:]),
        table=_gathered(grammar, logprobs.exp()[:, 1:]),
        loss=loss,
        entropy=grammar.bigram_entropy,
    )


def _gathered(grammar: Grammar, table: Float[Tensor, "token token"]) -> Float[Tensor, "word word"]:
    """The words of names as one: their columns summed, their rows, which are equally frequent,
    averaged."""
    plain = grammar.d_vocab - grammar.names - 1
    columns = torch.cat([table[:, :plain], table[:, plain:].sum(1, keepdim=True)], 1)
    return torch.cat([columns[:plain], columns[plain:].mean(0, keepdim=True)])
