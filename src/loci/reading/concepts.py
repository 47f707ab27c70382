"""How much of some concepts is in a text's vector: of Michael, of Jordan and of both in "Michael
Jordan".

    x − x̄ ≈ Σ_k β_k (c_k − x̄)       least squares, as concepts are not orthogonal

x̄ is the point's mean over text. Control: as many random directions, which explain about number of
concepts / d_model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.linalg import lstsq
from loci.model import Model
from loci.model.given import model_given, texts_given
from loci.reading.text_vectors import DRAWS, cosines_of, vectors
from loci.result import About, Result
from loci.stats import mean
from loci.survey import text_means
from loci.tables import Column, Table, columns

CENTER_TOKENS = 4000


@dataclass(frozen=True)
class Concepts(Result):
    """How much of each concept is in each text's vector; both centred by the mean over text."""

    about: ClassVar[About] = About(
        "concepts in a text",
        "How much of each concept is in a text, and how much is in none?",
        "Coefficients by text and concept.",
        "directions.concepts_figure",
    )

    model: str
    bos: bool
    point: str
    concepts: tuple[str, ...]
    texts: tuple[str, ...]
    cosines: Float[Tensor, "text concept"]
    coefficients: Float[Tensor, "text concept"]
    """Of the least-squares fit: what is left of a concept once the others have taken their part."""
    overlap: Float[Tensor, "concept concept"]
    """Cosines between the concepts."""
    explained: tuple[float, ...]
    """Share of each text's squared norm that the fit explains."""
    random: tuple[float, ...]
    """The same for as many random directions, mean of ten draws; number of concepts / d_model is
    expected."""
    seed: int

    def summary(self) -> tuple[str, ...]:
        explained = (
            f"{share:.0%} of “{text}”"
            for text, share in zip(self.texts, self.explained, strict=True)
        )
        chance = sum(self.random) / max(1, len(self.random))
        return (f"The concepts explain {', '.join(explained)}; by chance {chance:.0%}.",)

    def tables(self) -> tuple[Table, ...]:
        rows = zip(
            self.texts,
            self.coefficients.tolist(),
            self.cosines.tolist(),
            self.explained,
            self.random,
            strict=True,
        )
        return (
            Table(
                f"At {self.point}",
                (
                    Column("text"),
                    *map(Column, self.concepts),
                    *columns("explained|.1%", "by chance|.1%"),
                ),
                tuple(
                    (
                        text,
                        *(
                            f"{part:+.2f} ({cosine:+.2f})"
                            for part, cosine in zip(own, cosines, strict=True)
                        ),
                        explained,
                        chance,
                    )
                    for text, own, cosines, explained, chance in rows
                ),
                note="coefficients of the least-squares fit, in brackets cosines; share of the"
                " squared norm explained",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in ("model", "bos", "point", "seed")}
        lists = {
            name: list(getattr(self, name)) for name in ("concepts", "texts", "explained", "random")
        }
        tables = {
            name: getattr(self, name).tolist() for name in ("cosines", "coefficients", "overlap")
        }
        means = {
            "mean_explained": mean(self.explained).to_dict(),
            "mean_random": mean(self.random).to_dict(),
        }
        return {"schema": "loci.concepts/1", **plain, **lists, **tables, **means}


@torch.no_grad()
def concept(
    model: Model,
    concepts: Sequence[str],
    texts: Sequence[str],
    point: str = "embed",
    *,
    seed: int = 0,
) -> Concepts:
    """How much of each concept's vector is in texts, by least squares.

        loci.concepts(model, ["sport", "city"], texts, point="resid_post.2")

    Both are centred by the point's mean over 4,000 tokens of the embedded text.

    Args:
        model: an open model; it is left as it was.
        concepts: words, as in ["Michael", "Jordan"].
        texts: as in ["Michael Jordan"].
        point: where the stream is read.
        seed: seed of every random draw.

    Returns: `Concepts`: cosines and coefficients [text, concept], beside random directions.
    Raises: `FactError` without a concept or a text.
    Cost: One short run a word and text.
    """
    model_given(model)
    texts = texts_given(texts)
    named = tuple(dict.fromkeys(name.strip() for name in texts_given(concepts)))
    if not named or not texts:
        raise FactError("a concept is looked for in a text: say a word and a text")
    if len(named) >= model.d_model:
        raise FactError(f"{len(named)} concepts explain any vector of {model.d_model} dimensions")
    C, X = vectors(model, named, point), vectors(model, texts, point)
    center = text_means(model, point, tokens=CENTER_TOKENS)[point]
    C, X = C - center, X - center
    β = coefficients(X, C)
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(C.shape, generator=generator, dtype=C.dtype) for _ in range(DRAWS)]
    chance = torch.stack([explained(X, D, coefficients(X, D)) for D in drawn]).mean(0)
    return Concepts(
        model=model.name,
        bos=model.with_bos,
        point=point,
        concepts=named,
        texts=tuple(texts),
        cosines=cosines_of(X, C).float(),
        coefficients=β.float(),
        overlap=cosines_of(C, C).float(),
        explained=tuple(explained(X, C, β).tolist()),
        random=tuple(chance.tolist()),
        seed=seed,
    )


def coefficients(
    X: Float[Tensor, "text d"], C: Float[Tensor, "concept d"]
) -> Float[Tensor, "text concept"]:
    """β of the least-squares fit X ≈ β C; the smallest one where concepts depend on each other."""
    return lstsq(C.T, X.T, "the concepts' directions").T


def explained(
    X: Float[Tensor, "text d"], C: Float[Tensor, "concept d"], β: Float[Tensor, "text concept"]
) -> Float[Tensor, " text"]:
    """Share of the squared norm of X in β C."""
    return (β @ C).square().sum(-1) / X.square().sum(-1).clamp(min=1e-30)
