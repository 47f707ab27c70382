"""How many parameters a model has, where, and what they cost, from its configuration alone.

    MLP = layers · 2 · d_mlp · d_model          (3 · where gated, times the experts)
    FLOPs of one token ≈ 2 · (matrices it passes)    + 4 · layers · heads · d_head · context for
                                                     attending

For a model, every parameter is counted, tied ones once. For a published shape, whose biases and
norms were never released, the matrices are counted, with embedding and unembedding apart, and `mlp`
shows what the MLPs' biases would add.
"""

from dataclasses import dataclass

from torch import nn

from loci.errors import ModelError
from loci.model.parameter_census import Census
from loci.model.weights import Weights

PARTS = (
    "embedding",
    "positions",
    "attention",
    "mlp",
    "mlp_weights",
    "router",
    "norms",
    "unembedding",
    "other",
)


def census(weights: Weights | str) -> Census:
    """How much of a model is MLP? Its parameters by part: loaded, offloaded, or an empty one made
    from its configuration.

        loci.census(model).mlp_share
        loci.census("gpt3-175b").questions              # a published shape, by its name

    Returns: `Census`: `parts`, `total`, `shapes`, `flops_per_token`, `memory`. No value is read.
    Raises `ModelError` for an unknown name.
    """
    if isinstance(weights, str):
        return published(weights)
    owners = _owners(weights)
    parts = dict.fromkeys(PARTS, 0)
    for name, parameter in weights.hf.named_parameters():
        part = next((owners[prefix] for prefix in _prefixes(name) if prefix in owners), "other")
        part = "norms" if part in ("attention", "other") and _is_norm(weights.hf, name) else part
        part = "positions" if part == "other" and _is_positions(weights, name) else part
        parts[part] += parameter.numel()
        if part == "mlp" and parameter.ndim > 1:
            parts["mlp_weights"] += parameter.numel()
    return Census(
        model=weights.name,
        family=weights.family,
        counts="parameters",
        parts=parts,
        total=sum(parts.values()) - parts["mlp_weights"],
        layers=weights.n_layers,
        d_model=weights.d_model,
        d_mlp=weights.d_mlp,
        heads=weights.n_heads,
        d_head=weights.d_head,
        kv_heads=weights.n_kv_heads,
        vocabulary=weights.d_vocab,
        context=weights.n_ctx,
        experts=weights.n_experts,
        experts_asked=(
            int(getattr(weights.config, "num_experts_per_tok", 1)) if weights.n_experts else 0
        ),
        gated=weights.gated,
        tied=weights.tied,
    )


def _owners(weights: Weights) -> dict[str, str]:
    """Path of a module → the part that its parameters belong to; the longest path that fits a
    parameter decides.
    """
    names = {module: name for name, module in weights.hf.named_modules()}
    layout = weights.layout
    owners = {
        names[weights.module("unembed")]: "unembedding",
        names[weights.module("embed")]: "embedding",
    }
    owners[names[weights.module("final_norm")]] = "norms"
    roles = {
        "attn": "attention",
        "mlp": "mlp",
        "up": "mlp",
        "gate": "mlp",
        "down": "mlp",
        "experts": "mlp",
        "router": "router",
    }
    roles |= dict.fromkeys(("attn_norm", "attn_post", "mlp_norm", "mlp_post"), "norms")
    for layer in range(weights.n_layers):
        owners |= {
            names[weights.module(role, layer)]: part
            for role, part in roles.items()
            if getattr(layout, role)
        }
    return owners


def _prefixes(name: str) -> list[str]:
    """`a.b.c` → a.b.c, a.b, a."""
    words = name.split(".")
    return [".".join(words[:length]) for length in range(len(words), 0, -1)]


def _is_norm(hf: nn.Module, name: str) -> bool:
    """Whether a parameter's module has vectors alone: the norms of queries and keys have no part of
    their own in a layout.
    """
    owner = hf.get_submodule(name.rpartition(".")[0])
    return all(parameter.ndim == 1 for parameter in owner.parameters())


def _is_positions(weights: Weights, name: str) -> bool:
    """Whether a parameter is a further embedding into the residual stream: of positions."""
    owner = weights.hf.get_submodule(name.rpartition(".")[0])
    return isinstance(owner, nn.Embedding) and owner.embedding_dim == weights.d_model


@dataclass(frozen=True)
class Shape:
    """A model of which only the shape was published."""

    layers: int
    d_model: int
    heads: int
    vocabulary: int = 50257
    context: int = 2048

    def census(self, name: str) -> Census:
        d, d_mlp, tokens = self.d_model, 4 * self.d_model, self.vocabulary * self.d_model
        weights = self.layers * 2 * d_mlp * d
        attention = self.layers * 4 * d * d
        parts = dict.fromkeys(PARTS, 0) | {
            "embedding": tokens,
            "attention": attention,
            "mlp": weights + self.layers * (d_mlp + d),
            "mlp_weights": weights,
            "unembedding": tokens,
        }
        return Census(
            model=name,
            family="gpt2",
            counts="matrices",
            parts=parts,
            total=2 * tokens + attention + weights,
            layers=self.layers,
            d_model=d,
            d_mlp=d_mlp,
            heads=self.heads,
            d_head=d // self.heads,
            kv_heads=self.heads,
            vocabulary=self.vocabulary,
            context=self.context,
            experts=0,
            experts_asked=0,
            gated=False,
            tied=False,
        )


PUBLISHED = {
    "gpt3-125m": Shape(12, 768, 12),
    "gpt3-350m": Shape(24, 1024, 16),
    "gpt3-760m": Shape(24, 1536, 16),
    "gpt3-2.7b": Shape(32, 2560, 32),
    "gpt3-6.7b": Shape(32, 4096, 32),
    "gpt3-175b": Shape(96, 12288, 96),
}
"""Brown et al. 2020, table 2.1: the sizes whose heads make up d_model."""


def published(name: str) -> Census:
    """The census of a published shape. Raises `ModelError` with the names that there are."""
    if name not in PUBLISHED:
        raise ModelError(f"there is no published shape {name!r}: {', '.join(PUBLISHED)}")
    return PUBLISHED[name].census(name)
