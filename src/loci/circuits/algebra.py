"""Weights of heads as typed matrices of low rank: products, norms, eigenvalues and singular
values through r × r alone.

    Map     y = L R x        L [target, r], R [r, source]      W_OV = W_O W_V
    Form    s = xᵀ L R y     L [query, r], R [r, key]          W_QK = W_Qᵀ W_K
    ‖L R‖, σ(L R)    those of T₁T₂ᵀ, with L = Q₁T₁ and Rᵀ = Q₂T₂
    λ(L R) = λ(R L)  but for zeros

Eigenvalues may be cycled through a product, norms may not: ‖L R‖ ≠ ‖R L‖. A product whose spaces do
not meet is a TypeError. `DenseMap` is a matrix kept whole: embeddings, keys and values of MLPs.
Sources: Elhage et al. 2021; tracr (matrices with named spaces).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self, overload

from jaxtyping import Complex, Float
from torch import Tensor

from loci.patches.factors import Factors
from loci.spectra import eigenvalues


@dataclass(frozen=True)
class VectorSpace:
    """The space that a vector belongs to."""

    name: str
    size: int

    def __str__(self) -> str:
        return f"{self.name} ({self.size})"


def stream(size: int) -> VectorSpace:
    """The residual stream: one space for all layers."""
    return VectorSpace("residual stream", size)


def tokens(size: int) -> VectorSpace:
    return VectorSpace("tokens", size)


def neurons(layer: int, size: int) -> VectorSpace:
    """The neurons of one layer's MLP."""
    return VectorSpace(f"neurons of layer {layer}", size)


def _meet(actual: VectorSpace, expected: VectorSpace, what: str) -> None:
    if actual != expected:
        raise TypeError(f"{what}: {actual} does not meet {expected}")


def _fits(matrix: Tensor, rows: VectorSpace, columns: VectorSpace) -> None:
    if matrix.shape != (rows.size, columns.size):
        raise TypeError(f"a matrix of {tuple(matrix.shape)} does not go from {columns} to {rows}")


@dataclass(frozen=True, eq=False)
class DenseMap:
    """A linear map kept whole."""

    matrix: Float[Tensor, "target source"]
    target: VectorSpace
    source: VectorSpace

    def __post_init__(self) -> None:
        _fits(self.matrix, self.target, self.source)

    @property
    def T(self) -> "DenseMap":
        return DenseMap(self.matrix.T, self.source, self.target)

    @overload
    def __matmul__(self, other: "DenseMap") -> "DenseMap": ...
    @overload
    def __matmul__(self, other: "LinearMap") -> "LinearMap": ...
    def __matmul__(self, other: "DenseMap | LinearMap") -> "DenseMap | LinearMap":
        _meet(other.target, self.source, "product")
        if isinstance(other, DenseMap):
            return DenseMap(self.matrix @ other.matrix, self.target, other.source)
        return LinearMap(self.matrix @ other.left, other.right, self.target, other.source)


@dataclass(frozen=True, eq=False)
class LowRank:
    """left @ right, never multiplied out."""

    left: Float[Tensor, "rows r"]
    right: Float[Tensor, "r columns"]

    @property
    def rank(self) -> int:
        """r: the most that the rank can be."""
        return self.left.shape[1]

    @property
    def dense(self) -> Float[Tensor, "rows columns"]:
        """The product multiplied out, for what is small."""
        return self.left @ self.right

    @cached_property
    def singular_values(self) -> Float[Tensor, " r"]:
        """Descending, in float64."""
        return Factors(self.left, self.right).singular_values

    @property
    def norm(self) -> float:
        """Frobenius."""
        return float(self.singular_values.norm())


@dataclass(frozen=True, eq=False)
class Square(LowRank):
    """One that may have eigenvalues: where both sides are one space."""

    def _sides(self) -> tuple[VectorSpace, VectorSpace]:
        raise NotImplementedError

    @cached_property
    def eigenvalues(self) -> Complex[Tensor, " r"]:
        """The r eigenvalues that are not zero by rank, in float64.

        TypeError where the sides are different spaces.
        """
        _meet(*self._sides(), "eigenvalues")
        space = self._sides()[0]
        return eigenvalues(self.right.double() @ self.left.double(), f"a map of the {space}")

    @property
    def positivity(self) -> float:
        """Σλ / Σ|λ|: 1 where all eigenvalues are positive, −1 where all are negative; near 0 for
        random matrices.

        0 for nothing.
        """
        total = float(self.eigenvalues.abs().sum())
        return float(self.eigenvalues.real.sum()) / total if total else 0.0


@dataclass(frozen=True, eq=False)
class LinearMap(Square):
    """A linear map from one space to another: y = left (right x)."""

    target: VectorSpace
    source: VectorSpace

    def __post_init__(self) -> None:
        _meet(
            VectorSpace("rows", self.left.shape[0]),
            VectorSpace("rows", self.target.size),
            "left factor",
        )
        _meet(
            VectorSpace("columns", self.right.shape[1]),
            VectorSpace("columns", self.source.size),
            "right factor",
        )

    def _sides(self) -> tuple[VectorSpace, VectorSpace]:
        return self.source, self.target

    def __call__(self, x: Float[Tensor, "*any source"]) -> Float[Tensor, "*any target"]:
        image: Tensor = x @ self.right.T @ self.left.T
        return image

    @property
    def T(self) -> "LinearMap":
        return LinearMap(self.right.T, self.left.T, self.source, self.target)

    def __matmul__(self, other: "LinearMap | DenseMap") -> "LinearMap":
        """This after the other; of the two ranks the lower is kept."""
        _meet(other.target, self.source, "product")
        if isinstance(other, DenseMap):
            return LinearMap(self.left, self.right @ other.matrix, self.target, other.source)
        middle = self.right @ other.left
        if self.rank <= other.rank:
            return LinearMap(self.left, middle @ other.right, self.target, other.source)
        return LinearMap(self.left @ middle, other.right, self.target, other.source)


@dataclass(frozen=True, eq=False)
class BilinearForm(Square):
    """A bilinear form: what a query vector x and a key vector y score, xᵀ left (right y)."""

    query: VectorSpace
    key: VectorSpace

    def __post_init__(self) -> None:
        _meet(
            VectorSpace("rows", self.left.shape[0]),
            VectorSpace("rows", self.query.size),
            "left factor",
        )
        _meet(
            VectorSpace("columns", self.right.shape[1]),
            VectorSpace("columns", self.key.size),
            "right factor",
        )

    def _sides(self) -> tuple[VectorSpace, VectorSpace]:
        return self.key, self.query

    def __call__(
        self, x: Float[Tensor, "*any query"], y: Float[Tensor, "*any key"]
    ) -> Float[Tensor, "*any"]:
        return ((x @ self.left) * (y @ self.right.T)).sum(-1)

    @property
    def T(self) -> "BilinearForm":
        """The same form with query and key exchanged."""
        return BilinearForm(self.right.T, self.left.T, self.key, self.query)

    def on_key(self, made_by: LinearMap | DenseMap) -> Self:
        """The form of what the keys are made of: xᵀ W_QK (A y).

        K-composition where A is an earlier head's W_OV.
        """
        _meet(made_by.target, self.key, "keys")
        product = LinearMap(self.left, self.right, self.query, self.key) @ made_by
        return type(self)(product.left, product.right, self.query, made_by.source)

    def on_query(self, made_by: LinearMap | DenseMap) -> Self:
        """The form of what the queries are made of: (A x)ᵀ W_QK y.

        Q-composition where A is an earlier head's W_OV.
        """
        turned = self.T.on_key(made_by)
        return type(self)(turned.right.T, turned.left.T, made_by.source, self.key)
