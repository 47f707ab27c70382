"""The points of a transformer where a tensor can be read or replaced: one table; names, docs and aliases derive from it.

block:  x ── attn ──▶ (+) ── mlp_norm ── up ── act ── down ──▶ (+) ──▶
     resid_pre  attn_out  resid_mid   mlp_in  mlp_pre mlp_act mlp_out  resid_post
"""

import difflib
from dataclasses import dataclass
from typing import Literal

from loci.errors import ModelError


@dataclass(frozen=True)
class Point:
    """A named tensor: the input or output of one part of a `Layout`, at one layer or (embed, final) once."""

    name: str
    part: str
    side: Literal["in", "out"]
    shape: str
    meaning: str
    transformer_lens: str
    nnterp: str = ""


POINTS = (
    Point("embed", "embed", "out", "batch position d_model", "token embedding, before positions are added", "hook_embed"),
    Point(
        "resid_pre", "block", "in", "batch position d_model", "residual stream as the block finds it",
        "blocks.{}.hook_resid_pre", "layers_input[{}]",
    ),
    Point(
        "attn_out", "attn", "out", "batch position d_model", "what attention adds to the residual stream",
        "blocks.{}.hook_attn_out", "attentions_output[{}]",
    ),
    Point(
        "resid_mid", "mlp_norm", "in", "batch position d_model", "residual stream between attention and MLP",
        "blocks.{}.hook_resid_mid",
    ),
    Point(
        "mlp_in", "mlp", "in", "batch position d_model", "what the keys are compared with: the residual stream after its norm",
        "blocks.{}.mlp.hook_in", "mlps_input[{}]",
    ),
    Point(
        "mlp_pre", "key", "out", "batch position d_mlp", "answers to the keys before the non-linearity: of the gate, where there is one",
        "blocks.{}.mlp.hook_pre",
    ),
    Point(
        "mlp_act", "down", "in", "batch position d_mlp", "neurons: the coefficient of each value",
        "blocks.{}.mlp.hook_post",
    ),
    Point(
        "mlp_out", "mlp", "out", "batch position d_model", "what the MLP adds to the residual stream",
        "blocks.{}.hook_mlp_out", "mlps_output[{}]",
    ),
    Point(
        "resid_post", "block", "out", "batch position d_model", "residual stream as the block leaves it",
        "blocks.{}.hook_resid_post", "layers_output[{}]",
    ),
    Point("final", "final_norm", "out", "batch position d_model", "residual stream after the final norm", "ln_final.hook_out"),
)  # fmt: skip

BY_NAME = {point.name: point for point in POINTS}
ONCE = ("embed", "final")


def parse_point(name: str, n_layers: int) -> tuple[Point, int | None]:
    """`mlp_act.3` → (its row, 3); `embed` → (its row, None). TransformerLens and nnterp names are understood.

    Raises `ModelError` for an unknown name (with the nearest one) or a layer out of range.
    """
    aliases = _aliases(n_layers)
    name = aliases.get(name, name)
    stem, _, layer = name.partition(".")
    point = BY_NAME.get(stem)
    if point is None:
        near = difflib.get_close_matches(name, [*BY_NAME, *aliases], n=1, cutoff=0)
        raise ModelError(f"there is no point {name!r}; the nearest is {near[0]!r} (points: {', '.join(BY_NAME)})")
    if stem in ONCE:
        if layer:
            raise ModelError(f"the point {stem!r} has no layers")
        return point, None
    if not layer.isdecimal() or int(layer) >= n_layers:
        raise ModelError(f"{name!r}: expected {stem}.0 … {stem}.{n_layers - 1}")
    return point, int(layer)


def _aliases(n_layers: int) -> dict[str, str]:
    """Other libraries' names → ours."""
    names: dict[str, str] = {}
    for point in POINTS:
        for layer in [None] if point.name in ONCE else range(n_layers):
            ours = point.name if layer is None else f"{point.name}.{layer}"
            names |= {alias.format(layer): ours for alias in (point.transformer_lens, point.nnterp) if alias}
    return names
