"""Where the parts of a decoder are, family by family: one table, matched by structure.

A new family is a new row. Nothing in Loci asks for a model's name. A row that matches is not
believed yet: `invariants` (in this room) runs the model once and compares; of several rows that
match, the first that adds up is taken.
"""

from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from operator import attrgetter
from pathlib import Path

from torch import nn

from loci.errors import ModelError
from loci.validate import brief, named, read_json


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Paths of modules: the first four from the causal LM, the others from a block; empty where a
    family has no such part.

    Where q, k and v (or gate and up) have one path, one projection holds them all.
    """

    family: str
    models: str = ""
    """Whose parts these are, for people."""
    blocks: str
    embed: str
    final_norm: str
    unembed: str = "lm_head"
    attn: str
    attn_norm: str = ""
    q: str = ""
    k: str = ""
    v: str = ""
    o: str = ""
    attn_post: str = ""
    """Norm behind attention: what the residual stream gains is its output."""
    mlp: str = ""
    mlp_norm: str = ""
    up: str = ""
    gate: str = ""
    """The projection that goes through the non-linearity in a gated MLP: down(act(gate x) · up x).
    """
    down: str = ""
    mlp_post: str = ""
    """Norm behind the MLP."""
    router: str = ""
    experts: str = ""
    """A mixture of experts: `gate_up_proj` [expert, 2·d_mlp, d_model] and `down_proj` [expert,
    d_model, d_mlp].
    """
    parallel: bool = False
    """Attention and MLP read the same residual stream: there is no stream between them."""
    grouped: bool = False
    """A fused q, k, v holds them head group by head group (q … q, k, v), not first all q, then all
    k, then all v.
    """
    flat: tuple[str, ...] = ()
    """Parts that see all rows of a batch as one list of tokens."""
    adds_in_place: bool = False
    """The block adds to the MLP's output in place: what is read there must be a copy."""


def read_layout(path: str | Path) -> Layout:
    """A layout from a JSON object with its fields. Raises `ModelError` for a field that is missing,
    unknown or of another type.
    """
    document = read_json(path, ModelError)
    where = named(path)
    if not isinstance(document, dict):
        raise ModelError(
            f"{where}: expected an object with the fields of loci.Layout, found {brief(document)}"
        )
    known = {field.name: field for field in fields(Layout)}
    for name, value in document.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0)[0]
            raise ModelError(f"{where}: {name}: no field of loci.Layout; the nearest is {near}")
        kind = (
            "true or false"
            if known[name].type is bool
            else "text"
            if known[name].type is str
            else "a list of texts"
        )
        texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
        if not (texts if kind == "a list of texts" else isinstance(value, known[name].type)):  # type: ignore[arg-type]
            raise ModelError(f"{where}: {name}: expected {kind}, found {brief(value)}")
    missing = [
        name for name, field in known.items() if field.default is MISSING and name not in document
    ]
    if missing:
        raise ModelError(f"{where}: {missing[0]} is missing; the fields are those of loci.Layout")
    return Layout(**{**document, "flat": tuple(document.get("flat", ()))})


MODEL_PARTS = ("blocks", "embed", "final_norm", "unembed")
BLOCK_PARTS = (
    "attn", "attn_norm", "q", "k", "v", "o", "attn_post",
    "mlp", "mlp_norm", "up", "gate", "down", "mlp_post", "router", "experts",
)  # fmt: skip
PARTS = MODEL_PARTS + BLOCK_PARTS


def missing_parts(hf: nn.Module, layout: Layout) -> list[str]:
    """The parts of a layout that this module does not have; every block is looked at, and a model
    of no layers has no block to lack one.
    """
    lacking = [name for name in MODEL_PARTS if part(hf, getattr(layout, name)) is None]
    blocks = part(hf, layout.blocks)
    paths = {name: getattr(layout, name) for name in BLOCK_PARTS if getattr(layout, name)}
    if not isinstance(blocks, nn.ModuleList):
        return lacking + list(paths)
    return lacking + [
        name for name, path in paths.items() if any(part(block, path) is None for block in blocks)
    ]


def part(module: nn.Module, path: str) -> nn.Module | None:
    """The module at a dotted path, or None."""
    try:
        child = attrgetter(path)(module)
    except AttributeError:
        return None
    return child if isinstance(child, nn.Module) else None
