"""Where the parts of a decoder are, family by family: one table, matched by structure.

A new family is a new row. Nothing in Loci asks for a model's name. A row that matches is not believed yet: `check` (in this room)
runs the model once and compares.
"""

from dataclasses import dataclass, fields
from operator import attrgetter

from torch import nn

from loci.errors import ModelError


@dataclass(frozen=True)
class Layout:
    """Paths of modules: blocks, embed, final_norm and unembed from the causal LM, the others from a block.

    `gate` is the projection that goes through the non-linearity in a gated MLP (down(act(gate x) · up x)), empty elsewhere.
    """

    family: str
    blocks: str
    embed: str
    final_norm: str
    unembed: str
    attn: str
    mlp_norm: str
    mlp: str
    up: str
    down: str
    gate: str = ""


LAYOUTS = (
    Layout(
        family="gpt2",
        blocks="transformer.h",
        embed="transformer.wte",
        final_norm="transformer.ln_f",
        unembed="lm_head",
        attn="attn",
        mlp_norm="ln_2",
        mlp="mlp",
        up="mlp.c_fc",
        down="mlp.c_proj",
    ),
    Layout(
        family="llama",
        blocks="model.layers",
        embed="model.embed_tokens",
        final_norm="model.norm",
        unembed="lm_head",
        attn="self_attn",
        mlp_norm="post_attention_layernorm",
        mlp="mlp",
        up="mlp.up_proj",
        down="mlp.down_proj",
        gate="mlp.gate_proj",
    ),
)

MODEL_PARTS = ("blocks", "embed", "final_norm", "unembed")
BLOCK_PARTS = ("attn", "mlp_norm", "mlp", "up", "down", "gate")


def find_layout(hf: nn.Module, layouts: tuple[Layout, ...] = LAYOUTS) -> Layout:
    """The first row of the table whose parts are all there. Raises `ModelError` saying what the nearest row lacks."""
    missing = {layout.family: missing_parts(hf, layout) for layout in layouts}
    for layout in layouts:
        if not missing[layout.family]:
            return layout
    nearest = min(missing, key=lambda family: len(missing[family]))
    raise ModelError(
        f"{type(hf).__name__}: no known layout fits; nearest is {nearest}, which lacks {', '.join(missing[nearest])} "
        f"(known: {', '.join(missing)}). Pass layout=loci.Layout(...) to say where its parts are"
    )


def missing_parts(hf: nn.Module, layout: Layout) -> list[str]:
    """The parts of a layout that this module does not have, as `part (path)`."""
    paths = {field.name: getattr(layout, field.name) for field in fields(layout)}
    lacking = [name for name in MODEL_PARTS if part(hf, paths[name]) is None]
    blocks = part(hf, layout.blocks)
    if isinstance(blocks, nn.ModuleList) and len(blocks):
        lacking += [name for name in BLOCK_PARTS if paths[name] and part(blocks[0], paths[name]) is None]
    elif "blocks" not in lacking:
        lacking.append("blocks")
    return [f"{name} ({paths[name]})" for name in lacking]


def part(module: nn.Module, path: str) -> nn.Module | None:
    """The module at a dotted path, or None."""
    try:
        found = attrgetter(path)(module)
    except AttributeError:
        return None
    return found if isinstance(found, nn.Module) else None
