"""The points of a transformer where a tensor can be read or replaced: one table; names, docs and
aliases derive from it.

block:  x ─┬─ attn_norm ─ q k v ─ z ─ o ─ (post) ─▶ (+) ─▶
     resid_pre  attn_in      attn_raw  attn_out      resid_mid

           ─┬─ mlp_norm ─ up ─ act ─ down ─ (post) ─▶ (+) ──▶
     resid_mid  mlp_in  mlp_pre  mlp_act mlp_raw mlp_out  resid_post

`*_raw` is what a sub-layer computes, `*_out` what the residual stream gains from it. They differ
where a norm stands behind the sub-layer, and resid_pre + attn_out + mlp_out = resid_post holds
everywhere.
"""

import difflib
from dataclasses import dataclass
from functools import cache
from typing import Literal

from loci.errors import ModelError
from loci.model.layouts import Layout


@dataclass(frozen=True)
class Point:
    """A named tensor: the input or output of the first of `parts` that a `Layout` has, at one layer
    or (embed, final) once.
    """

    name: str
    parts: tuple[str, ...]
    side: Literal["in", "out"]
    shape: str
    meaning: str
    transformer_lens: tuple[str, ...] = ()
    nnterp: str = ""


RESIDUAL, HEADS, NEURONS = (
    "batch position d_model",
    "batch position {} d_head",
    "batch position d_mlp",
)

POINTS = (
    Point("embed", ("embed",), "out", RESIDUAL,
        "token embedding, scaled where the family scales it, before positions are added",
        ("hook_embed",), "token_embeddings"),
    Point("resid_pre", ("block",), "in", RESIDUAL, "residual stream as the block finds it",
        ("blocks.{}.hook_resid_pre", "blocks.{}.hook_in"), "layers_input[{}]"),
    Point("attn_in", ("attn",), "in", RESIDUAL,
        "what queries, keys and values are made of: the residual stream after its norm, gain"
        " included",
        ("blocks.{}.attn.hook_in",), "attentions_input[{}]"),
    Point("q", ("q",), "out", HEADS.format("n_heads"),
        "queries as projected: before any norm of their own and before rotation",
        ("blocks.{}.attn.hook_q",)),
    Point("k", ("k",), "out", HEADS.format("n_kv_heads"), "keys as projected",
        ("blocks.{}.attn.hook_k",)),
    Point("v", ("v",), "out", HEADS.format("n_kv_heads"), "values as projected",
        ("blocks.{}.attn.hook_v",)),
    Point("attn_scores", ("attn",), "out", "batch n_heads query key",
        "what the softmax takes: scaled, capped and masked", ("blocks.{}.attn.hook_attn_scores",)),
    Point("attn_probs", ("attn",), "out", "batch n_heads query key",
        "attention pattern: rows sum to 1", ("blocks.{}.attn.hook_pattern",),
        "attention_probabilities[{}]"),
    Point("z", ("o",), "in", HEADS.format("n_heads"),
        "values mixed by the pattern: what each head's output matrix writes from",
        ("blocks.{}.attn.hook_z",)),
    Point("attn_raw", ("o", "attn"), "out", RESIDUAL,
        "what attention computes, before a norm behind it", ("blocks.{}.attn.hook_out",),
        "attentions_output[{}]"),
    Point("attn_out", ("attn_post", "o", "attn"), "out", RESIDUAL,
        "what the residual stream gains from attention", ("blocks.{}.hook_attn_out",)),
    Point("resid_mid", ("mlp_norm", "mlp"), "in", RESIDUAL,
        "residual stream between attention and MLP; parallel blocks have none",
        ("blocks.{}.hook_resid_mid", "blocks.{}.ln2.hook_in")),
    Point("mlp_in", ("mlp", "up"), "in", RESIDUAL,
        "what the keys are compared with: the residual stream after its norm, gain included",
        ("blocks.{}.mlp.hook_in",), "mlps_input[{}]"),
    Point("router", ("router",), "out", "batch position n_experts",
        "weight of each expert, 0 where it is not asked; mixtures of experts only",
        ("blocks.{}.mlp.hook_expert_weights",)),
    Point("mlp_pre", ("gate", "up"), "out", NEURONS,
        "answers to the keys before the non-linearity: of the gate, where there is one",
        ("blocks.{}.mlp.hook_pre",)),
    Point("mlp_up", ("up",), "out", NEURONS, "what scales each neuron in a gated MLP; only there",
        ("blocks.{}.mlp.hook_pre_linear",)),
    Point("mlp_act", ("down",), "in", NEURONS, "neurons: the coefficient of each value",
        ("blocks.{}.mlp.hook_post",)),
    Point("mlp_raw", ("down", "mlp"), "out", RESIDUAL,
        "what the MLP computes, before a norm behind it", ("blocks.{}.mlp.hook_out",),
        "mlps_output[{}]"),
    Point("mlp_out", ("mlp_post", "down", "mlp"), "out", RESIDUAL,
        "what the residual stream gains from the MLP", ("blocks.{}.hook_mlp_out",)),
    Point("resid_post", ("block",), "out", RESIDUAL, "residual stream as the block leaves it",
        ("blocks.{}.hook_resid_post", "blocks.{}.hook_out"), "layers_output[{}]"),
    Point("final", ("final_norm",), "out", RESIDUAL,
        "residual stream after the final norm, gain included", ("ln_final.hook_out",)),
)  # fmt: skip

BY_NAME = {point.name: point for point in POINTS}
ONCE = ("embed", "final")
ATTENTION = ("attn_scores", "attn_probs")


def lacks(layout: Layout, point: Point) -> str | None:
    """Why a family has no such point, or None where it has."""
    if point.name == "resid_mid" and layout.parallel:
        return "attention and MLP stand side by side and read the same residual stream, resid_pre"
    if point.name == "router" and not layout.experts:
        return "its MLPs are single ones, no mixtures of experts"
    missing = not any(part == "block" or getattr(layout, part) for part in point.parts)
    if layout.experts and missing:
        return "its MLPs are mixtures of experts"
    if point.name == "mlp_up" and not layout.gate:
        return "its MLPs are not gated"
    return "it has no such part" if missing else None


def parse_point(name: str, n_layers: int) -> tuple[Point, int | None]:
    """`mlp_act.3` → (its row, 3); `embed` → (its row, None). TransformerLens and nnterp names are
    understood.

    Raises `ModelError` for an unknown name (with the nearest one) or a layer out of range.
    """
    ours = name if name.partition(".")[0] in BY_NAME else _aliases(n_layers).get(name, name)
    stem, _, layer = ours.partition(".")
    point = BY_NAME.get(stem)
    if point is None:
        near = difflib.get_close_matches(name, [*BY_NAME, *_aliases(n_layers)], n=1, cutoff=0)
        raise ModelError(
            f"there is no point {name!r}; the nearest is {near[0]!r} (points: {', '.join(BY_NAME)})"
        )
    if stem in ONCE:
        if layer:
            raise ModelError(f"the point {stem!r} has no layers")
        return point, None
    if not layer.isdecimal() or int(layer) >= n_layers:
        raise ModelError(f"{name!r}: expected {stem}.0 … {stem}.{n_layers - 1}")
    return point, int(layer)


@cache
def _aliases(n_layers: int) -> dict[str, str]:
    """Other libraries' names → ours."""
    names: dict[str, str] = {}
    for point in POINTS:
        for layer in [None] if point.name in ONCE else range(n_layers):
            ours = point.name if layer is None else f"{point.name}.{layer}"
            names |= {
                alias.format(layer): ours
                for alias in (*point.transformer_lens, point.nnterp)
                if alias
            }
    return names
