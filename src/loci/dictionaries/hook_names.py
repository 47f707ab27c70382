"""Where a dictionary belongs, by the names that other libraries give to places of a model."""

import re

from loci.model.points import BY_NAME, POINTS

LAYER = r"(?:model\.|transformer\.|gpt_neox\.|language_model\.)*(?:layers|h|blocks)\.(\d+)"
MODULES = (
    (rf"{LAYER}", "resid_post.{}"),
    (rf"{LAYER}\.(?:mlp\.act|mlp\.act_fn)", "mlp_act.{}"),
    (rf"{LAYER}\.(?:mlp|feed_forward)", "mlp_raw.{}"),
    (rf"{LAYER}\.(?:attn|self_attn|attention)", "attn_raw.{}"),
    (rf"{LAYER}\.output", "resid_post.{}"),
    (r"blocks\.(\d+)\.ln2\.hook_normalized", "mlp_in.{}"),
    (r"blocks\.(\d+)\.hook_mlp_in", "resid_mid.{}"),
)  # fmt: skip
"""Module paths, as sparsify and Hugging Face say them, and TransformerLens' names that have no
point of their own.
"""
FOLDERS = (
    (r"resid_post/layer_(\d+)", "resid_post.{}"),
    (r"mlp_out/layer_(\d+)", "mlp_out.{}"),
    (r"attn_out/layer_(\d+)", "z.{}"),
    (r"transcoder(?:_all)?/layer_(\d+)", "mlp_in.{}"),
)
"""Folders of Gemma Scope."""


def point_of(name: str | None) -> str | None:
    """`blocks.3.hook_mlp_out`, `layers.3.mlp` or `mlp_out.3` as a point of Loci; None where the
    name says none.
    """
    if not name:
        return None
    stem, _, layer = name.partition(".")
    if stem in BY_NAME and (layer.isdecimal() or not layer):
        return name
    for pattern, point in MODULES:
        if match := re.fullmatch(pattern, name):
            return point.format(match[1])
    for row in POINTS:
        for alias in row.transformer_lens:
            match = re.fullmatch(re.escape(alias).replace(r"\{\}", r"(\d+)"), name)
            if match:
                return f"{row.name}.{match[1]}" if match.groups() else row.name
    return None


def point_of_folder(path: str) -> str | None:
    """The point that the folders of a path say, as Gemma Scope's do."""
    points = [
        (match.start(), point.format(match[1]))
        for pattern, point in FOLDERS
        for match in re.finditer(pattern, path)
    ]
    return max(points)[1] if points else None


def target_of(point: str | None) -> str | None:
    """The output point of a transcoder that reads `point`: the MLP's output in the same layer."""
    stem, _, layer = (point or "").partition(".")
    return f"mlp_out.{layer}" if stem in ("mlp_in", "resid_mid") else None
