"""Skip-trigrams of a model of one layer, and their bug: keep … in → mind, keep … at → bay, and
so keep … in → bay.

    head h raises the logit of `out` at destination d by A[d, source] · (W_U W_OV W_E)[out, source]

Where a head looks depends on destination and source; what it moves depends on the source alone. So
what it says of "keep" for the sake of "in … mind" and of "at … bay" it says of "keep" after both:
in its factored form it cannot tell mind from bay. Nor can the direct path: the text's frames are an
exclusive or (see `synthetic_text`), which no sum over verb and preposition solves. Several heads
can, if one looks from one preposition only and mends what another confuses; a second layer can. So
the bug shows in the predictions of a model with one head.

At every noun of a frame in held-out text: P of the noun that is right, of the verb's other one
(crossed), and of the mean of the ten that are neither. Source: Elhage et al. 2021, "Skip-trigram
bugs".
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from loci.circuits.embedding_maps import embed, unembed
from loci.circuits.heads import layer_heads
from loci.circuits.measured_scores import scores_on
from loci.circuits.scores import weighed_scores
from loci.errors import CircuitError
from loci.result import About, Result
from loci.stats import Estimate, mean
from loci.studies.attention_only.grammar import Grammar
from loci.studies.attention_only.synthetic_text import NOUNS, PREPOSITIONS, VERBS, noun
from loci.studies.attention_only.training import SmallModel, known_grammar, repeated_for, text_of
from loci.tables import Table, columns

BACK = 3
"""From the preposition back to its verb: verb, the, object, preposition."""


@dataclass(frozen=True)
class SkipHead:
    """One head of the first layer on the frames."""

    head: int
    looks: dict[str, float]
    """Mean attention from each preposition to its verb."""
    moves: Float[Tensor, "verb noun"]
    """Logit of each noun that attending to a verb adds, less the mean over nouns."""
    copying: Estimate
    """How much it raises what it looks at, on repeated random words of names; see
    `loci.circuits.scores`."""
    positivity: float
    """Σλ/Σ|λ| of its full OV circuit."""

    @property
    def right(self) -> float:
        """Logits that it adds, over all frames and as much as it looks from there, to nouns that
        are right."""
        return self._mean(0)

    @property
    def crossed(self) -> float:
        """The same to the verb's other noun."""
        return self._mean(1)

    def _mean(self, other: int) -> float:
        wanted = [
            (p, noun(v, PREPOSITIONS[(i + other) % 2]))
            for v in VERBS
            for i, p in enumerate(PREPOSITIONS)
        ]
        rows = [VERBS.index(v) for v in VERBS for _ in PREPOSITIONS]
        added = [
            self.looks[p] * float(self.moves[row, NOUNS.index(n)])
            for row, (p, n) in zip(rows, wanted, strict=True)
        ]
        return sum(added) / len(added)

    def to_dict(self) -> dict[str, Any]:
        plain = {**vars(self), "moves": self.moves.tolist(), "copying": self.copying.to_dict()}
        return {**plain, "right": self.right, "crossed": self.crossed}


@dataclass(frozen=True)
class SkipTrigrams(Result):
    """A model's predictions at the frames."""

    about: ClassVar[About] = About(
        "skip-trigrams",
        "What does each head move from verbs to nouns?",
        "Logits over the mean noun, by head.",
        "small.skips_figure",
    )

    model: str
    layers: int
    chances: dict[str, dict[str, Estimate]]
    """By preposition: P of the `right` noun, of the `crossed` one, and of each `other` on
    average."""
    heads: tuple[SkipHead, ...]
    """Of the first layer."""

    def tables(self) -> tuple[Table, ...]:
        chances = tuple(
            (f"verb … {preposition} →", row["right"], row["crossed"], row["other"])
            for preposition, row in self.chances.items()
        )
        heads = tuple(
            (
                f"L0H{own.head}",
                *(own.looks[preposition] for preposition in self.chances),
                own.right,
                own.crossed,
                own.copying.value,
                own.positivity,
            )
            for own in self.heads
        )
        looks = (f"looks from {preposition}|.2f" for preposition in self.chances)
        scores = ("adds to right|+.2f", "to crossed|+.2f", "copying|+.2f", "copying λ|+.2f")
        return (
            Table("Chances", columns("", "right noun", "crossed", "each other noun"), chances),
            Table(
                "Heads",
                columns("head", *looks, *scores),
                heads,
                note="crossed: the verb's noun after the other preposition (keep … in → bay);"
                " logits over the mean noun",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        chances = {
            p: {name: e.to_dict() for name, e in row.items()} for p, row in self.chances.items()
        }
        return {
            "schema": "loci.skips/1",
            **vars(self),
            "chances": chances,
            "heads": [head.to_dict() for head in self.heads],
        }


@dataclass(frozen=True)
class SkipTrigramBug(Result):
    """Models of the same size with one head and with several: the bug is each head's, and
    several heads can part the work."""

    about: ClassVar[About] = About(
        "the bug of factored heads",
        "Why must one head confuse two frames, and what can four do?",
        "What heads move from verbs to nouns, and how likely the right and the crossed noun are.",
        "small.bug_figure",
    )

    models: tuple[SkipTrigrams, ...]

    def tables(self) -> tuple[Table, ...]:
        return tuple(
            replace(table, title=f"{table.title}: {own.layers} layer(s), {len(own.heads)} heads")
            for own in self.models
            for table in own.tables()
        )

    def to_dict(self) -> dict[str, Any]:
        return {"schema": "loci.skip_bug/1", "models": [skips.to_dict() for skips in self.models]}


def bug(models: Sequence[SmallModel]) -> SkipTrigramBug:
    """`skips` of several models: does the skip-trigram bug go with more heads?

    Args:
        models: models that `train` or `load` gave.

    Returns: `SkipTrigramBug`.
    Raises: `CircuitError` for a model that learnt from a user's text.
    """
    return SkipTrigramBug(tuple(skips(small) for small in models))


@torch.no_grad()
def skips(small: SmallModel) -> SkipTrigrams:
    """Skip-trigrams of a model at the frames of held-out text, and their bug.

    Args:
        small: a model that `train` or `load` gave.

    Returns: `SkipTrigrams`.
    Raises: `CircuitError` for a user's text, or a model without layers.
    Cost: One run over the held-out text.
    Source: Elhage et al. 2021.
    """
    grammar = known_grammar(small)
    if not small.recipe.layers:
        raise CircuitError(
            f"{small.model.name!r} has no layers, so it has no skip-trigrams: it is a table of "
            "bigrams"
        )
    ids = text_of(small).held_out
    patterns: list[Tensor] = []
    with small.model.patched({"attn_probs.0": patterns.append}):
        logits = small.model(ids)
    nouns = tokens(grammar, NOUNS)
    chances, looks = {}, {}
    for preposition in PREPOSITIONS:
        rows, columns = torch.where(ids == tokens(grammar, [preposition])[0])
        kept = (columns > BACK) & (columns < ids.shape[1] - 1)
        rows, columns = rows[kept], columns[kept]
        verbs = ids[rows, columns - BACK]
        P = logits[rows, columns].softmax(-1)[:, nouns]
        chances[preposition] = _shares(P, verbs - tokens(grammar, VERBS)[0], preposition)
        looks[preposition] = patterns[0][rows, :, columns, columns - BACK].mean(0).tolist()
    return SkipTrigrams(
        small.model.name, small.recipe.layers, chances, tuple(_heads(small, grammar, looks))
    )


def tokens(grammar: Grammar, words: Sequence[str]) -> Int[Tensor, " word"]:
    return torch.tensor([grammar.vocabulary.index(word) for word in words])


def _shares(
    P: Float[Tensor, "place noun"], verbs: Int[Tensor, " place"], preposition: str
) -> dict[str, Estimate]:
    right, crossed = (
        torch.tensor([NOUNS.index(noun(verb, p)) for verb in VERBS])[verbs, None]
        for p in (preposition, next(p for p in PREPOSITIONS if p != preposition))
    )
    shares = {"right": P.gather(1, right)[:, 0], "crossed": P.gather(1, crossed)[:, 0]}
    shares["other"] = (P.sum(1) - shares["right"] - shares["crossed"]) / (len(NOUNS) - 2)
    return {name: mean(values.tolist(), samples=500) for name, values in shares.items()}


def _heads(small: SmallModel, grammar: Grammar, looks: dict[str, list[float]]) -> list[SkipHead]:
    model = small.model
    E, U = embed(model), unembed(model)
    sources, out = E.matrix[:, tokens(grammar, VERBS)], U.matrix[tokens(grammar, NOUNS)]
    scores = scores_on(model, repeated_for(model, text_of(small), small.recipe.seed))
    heads = []
    for head, (_, _, measured), weighed in zip(
        layer_heads(model, 0), scores, weighed_scores(model), strict=False
    ):
        moves = (out @ head.ov(sources.T).T).T
        moves -= moves.mean(1, keepdim=True)
        looked = {preposition: row[head.head] for preposition, row in looks.items()}
        heads.append(
            SkipHead(head.head, looked, moves, measured["copying"], weighed["copying_positivity"])
        )
    return heads
