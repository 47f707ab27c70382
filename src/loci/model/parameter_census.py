"""The census of a model: all its parameters by part, and what a token costs."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from loci.result import About, Result
from loci.tables import Table, columns

BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}


@dataclass(frozen=True)
class Census(Result):
    """Parameters by part. `mlp_weights` are the matrices among those of `mlp`; all the other parts
    exclude each other.
    """

    about: ClassVar[About] = About(
        "a census",
        "How much of a model is MLP?",
        "Bars are parameters by part.",
        "census.census_figure",
    )

    model: str
    family: str
    counts: Literal["parameters", "matrices"]
    parts: dict[str, int]
    total: int
    layers: int
    d_model: int
    d_mlp: int
    heads: int
    d_head: int
    kv_heads: int
    vocabulary: int
    context: int | None
    experts: int
    experts_asked: int
    gated: bool
    tied: bool

    @property
    def exclusive(self) -> dict[str, int]:
        """The parts that are there and make up the total."""
        mlp = self.parts["mlp_weights"] if self.counts == "matrices" else self.parts["mlp"]
        return {
            name: count
            for name, count in (self.parts | {"mlp": mlp, "mlp_weights": 0}).items()
            if count
        }

    @property
    def unit(self) -> str:
        """The unit of `total`, in words."""
        return "parameters" if self.counts == "parameters" else "weights in matrices"

    @property
    def mlp_share(self) -> float:
        """Share of the MLPs' matrices in all that is counted."""
        return self.parts["mlp_weights"] / self.total

    @property
    def questions(self) -> int:
        """Keys that one token's residual stream is compared with in one layer."""
        return self.d_mlp * max(1, self.experts_asked)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one layer's matrices, [out, in], heads and experts first; and of the embeddings."""
        experts = (self.experts,) if self.experts else ()
        head, kv = (
            (self.heads, self.d_head, self.d_model),
            (self.kv_heads, self.d_head, self.d_model),
        )
        gate = {"W_gate": (*experts, self.d_mlp, self.d_model)} if self.gated else {}
        return {
            "W_E": (self.vocabulary, self.d_model),
            "W_Q": head,
            "W_K": kv,
            "W_V": kv,
            "W_O": (self.heads, self.d_model, self.d_head),
            **gate,
            "W_up": (*experts, self.d_mlp, self.d_model),
            "W_down": (*experts, self.d_model, self.d_mlp),
            "W_U": (self.vocabulary, self.d_model),
        }

    @property
    def flops_per_token(self) -> dict[str, int]:
        """Forward pass of one token: through the matrices, and attending over a full context (0
        where that is not said).
        """
        mlp = self.layers * (3 if self.gated else 2) * self.questions * self.d_model
        attention = self.layers * self.d_model * self.d_head * 2 * (self.heads + self.kv_heads)
        matrices = mlp + attention + self.parts["router"] + self.vocabulary * self.d_model
        return {
            "matrices": 2 * matrices,
            "attending": 4 * self.layers * self.heads * self.d_head * (self.context or 0),
        }

    @property
    def memory(self) -> dict[str, int]:
        """Bytes of the weights by dtype."""
        return {name: int(self.total * size) for name, size in BYTES.items()}

    def summary(self) -> tuple[str, ...]:
        return (
            f"{self.mlp_share:.0%} of {self.total:,} {self.unit} are MLP weights; each layer asks"
            f" {self.questions:,} questions of every token.",
        )

    def title(self) -> str:
        return f"{self.model} · {self.family} · {self.total:,} {self.unit}"

    def tables(self) -> tuple[Table, ...]:
        flops, parts = self.flops_per_token, self.parts
        shapes = (f"{name} {'×'.join(f'{n:,}' for n in own)}" for name, own in self.shapes.items())
        totals = (
            (
                "MLP weights",
                f"{parts['mlp_weights']:,}, {self.mlp_share:.2%} of all; with biases"
                f" {parts['mlp']:,}",
            ),
            ("shapes", ", ".join(shapes)),
            (
                "questions",
                f"{self.questions:,} in each of {self.layers} layers, asked of every token",
            ),
            (
                "FLOPs a token",
                f"{flops['matrices']:.3g} in matrices, {flops['attending']:.3g} attending over a"
                " full context",
            ),
            (
                "memory",
                ", ".join(f"{name} {size / 1e9:.3g} GB" for name, size in self.memory.items()),
            ),
        )
        own = tuple((name, count, count / self.total) for name, count in self.exclusive.items())
        tied = "The unembedding is the embedding, counted once." if self.tied else ""
        return (
            Table("Parts", columns("part", self.unit, "share|.1%"), own, note=tied),
            Table("", columns("", ""), totals),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        derived = {
            name: getattr(self, name)
            for name in ("mlp_share", "questions", "flops_per_token", "memory")
        }
        return {
            "schema": "loci.census/1",
            **plain,
            **derived,
            "shapes": {n: list(s) for n, s in self.shapes.items()},
        }
