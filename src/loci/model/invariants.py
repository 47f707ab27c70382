"""Equations that hold if a layout is right, each side computed apart: checked in one short run on
opening, and by the doctor.

    resid_pre + attn_out = resid_mid            (parallel blocks: the MLP's norm reads resid_pre)
    resid_pre + attn_out + mlp_out = resid_post
    attn_norm(resid_pre) = attn_in              mlp_norm(resid_mid, or resid_pre) = mlp_in
    attn_post(attn_raw) = attn_out              mlp_post(mlp_raw) = mlp_out
    W_Q · attn_in + b_Q = q, likewise k, v      Σ_h W_O[h] z[h] + b_O = attn_raw
    W_key · mlp_in + b_key = mlp_pre            W_down · mlp_act + b_down = mlp_raw
    Σ_e weight[e] · expert_e(mlp_in) = mlp_raw  (mixtures)
    mlp_act[i] depends on mlp_pre[i] alone      Σ_j attn_probs[i, j] v[j] = z[i]
    cap(W_U · final_norm(resid_post) + b_U) = logits

A row of the table that matches by structure alone is not believed: parallel blocks, norms before,
within or behind the sub-layers, scaled residuals and scaled logits, two attention patterns in one
head all fail one of these. Opening asks it of the first block, in a run over four tokens that skips
the others, so that it costs no more for a deep model than for a shallow one; the doctor asks it of
all blocks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from einops import einsum
from torch import Tensor

from loci.errors import ModelError
from loci.model.accessors import FIRST
from loci.model.hooks import HookSite, Softmaxes, attached
from loci.model.rounding import difference, tolerance

if TYPE_CHECKING:
    from loci.model.running import RunningModel

UNFIT = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    AssertionError,
    ArithmeticError,
    ModelError,
)
"""Exceptions that a run raises where parts do not fit each other."""
Reads = Mapping[str, Tensor]
Sides = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Invariant:
    """Two tensors at one layer that must agree; `points` are what is read for it. It does not apply
    where one of them is absent.
    """

    name: str
    points: tuple[str, ...]
    sides: Callable[["RunningModel", int, Reads], Sides]


def _stream(model: "RunningModel", layer: int, reads: Reads) -> Sides:
    return reads["resid_pre"] + reads["attn_out"] + reads["mlp_out"], reads["resid_post"]


def _middle(model: "RunningModel", layer: int, reads: Reads) -> Sides:
    return reads["resid_pre"] + reads["attn_out"], reads["resid_mid"]


def _norm(name: str, takes: str, gives: str) -> Callable[["RunningModel", int, Reads], Sides]:
    """The equation of a norm: its output from its input; without a norm, the input itself."""

    def sides(model: "RunningModel", layer: int, reads: Reads) -> Sides:
        taken = reads["resid_pre" if takes == "resid_mid" and model.layout.parallel else takes]
        normed = model.module(name, layer)(taken) if getattr(model.layout, name) else taken
        return normed, reads[gives]

    return sides


def _heads(name: str) -> Callable[["RunningModel", int, Reads], Sides]:
    def sides(model: "RunningModel", layer: int, reads: Reads) -> Sides:
        W = (
            model.W_Q(layer)
            if name == "q"
            else getattr(model, f"W_{name.upper()}")(layer, expand=False)
        )
        b = (
            model.b_Q(layer)
            if name == "q"
            else getattr(model, f"b_{name.upper()}")(layer, expand=False)
        )
        return einsum(W, reads["attn_in"], "h d m, b p m -> b p h d") + b, reads[name]

    return sides


def _output(model: "RunningModel", layer: int, reads: Reads) -> Sides:
    return (
        einsum(model.W_O(layer), reads["z"], "h m d, b p h d -> b p m") + model.b_O(layer),
        reads["attn_raw"],
    )


def _keys(model: "RunningModel", layer: int, reads: Reads) -> Sides:
    return reads["mlp_in"] @ model.W_key(layer).T + model.b_key(layer), reads["mlp_pre"]


def _ups(model: "RunningModel", layer: int, reads: Reads) -> Sides:
    return reads["mlp_in"] @ model.W_up(layer).T + model.b_up(layer), reads["mlp_up"]


def _values(model: "RunningModel", layer: int, reads: Reads) -> Sides:
    return reads["mlp_act"] @ model.W_down(layer).T + model.b_down(layer), reads["mlp_raw"]


def _mixture(model: "RunningModel", layer: int, reads: Reads) -> Sides:
    act = model.module("experts", layer).act_fn
    assert callable(act)
    x, total = reads["mlp_in"], torch.zeros_like(reads["mlp_raw"])
    for e in range(model.n_experts):
        neurons = act(x @ model.W_gate(layer, e).T) * (x @ model.W_up(layer, e).T)
        total = total + reads["router"][..., e : e + 1] * (neurons @ model.W_down(layer, e).T)
    return total.to(reads["mlp_raw"]), reads["mlp_raw"]


INVARIANTS = (
    Invariant("resid_pre + attn_out = resid_mid", ("resid_pre", "attn_out", "resid_mid"), _middle),
    Invariant(
        "resid_pre + attn_out + mlp_out = resid_post",
        ("resid_pre", "attn_out", "mlp_out", "resid_post"),
        _stream,
    ),
    Invariant(
        "attn_norm(resid_pre) = attn_in",
        ("resid_pre", "attn_in"),
        _norm("attn_norm", "resid_pre", "attn_in"),
    ),
    Invariant(
        "mlp_norm(resid_mid) = mlp_in",
        ("resid_mid", "mlp_in"),
        _norm("mlp_norm", "resid_mid", "mlp_in"),
    ),
    Invariant(
        "attn_post(attn_raw) = attn_out",
        ("attn_raw", "attn_out"),
        _norm("attn_post", "attn_raw", "attn_out"),
    ),
    Invariant(
        "mlp_post(mlp_raw) = mlp_out",
        ("mlp_raw", "mlp_out"),
        _norm("mlp_post", "mlp_raw", "mlp_out"),
    ),
    Invariant("W_Q · attn_in + b_Q = q", ("attn_in", "q"), _heads("q")),
    Invariant("W_K · attn_in + b_K = k", ("attn_in", "k"), _heads("k")),
    Invariant("W_V · attn_in + b_V = v", ("attn_in", "v"), _heads("v")),
    Invariant("Σ W_O · z + b_O = attn_raw", ("z", "attn_raw"), _output),
    Invariant("W_key · mlp_in + b_key = mlp_pre", ("mlp_in", "mlp_pre"), _keys),
    Invariant("W_up · mlp_in + b_up = mlp_up", ("mlp_in", "mlp_up"), _ups),
    Invariant("W_down · mlp_act + b_down = mlp_raw", ("mlp_act", "mlp_raw"), _values),
    Invariant("Σ router · expert(mlp_in) = mlp_raw", ("mlp_in", "router", "mlp_raw"), _mixture),
)
PARALLEL = Invariant(
    "the MLP's norm reads resid_pre",
    ("resid_pre", "mlp_norm"),
    lambda model, layer, at: (at["resid_pre"], at["mlp_norm"]),
)
PARALLEL_NORM = Invariant(
    "mlp_norm(resid_pre) = mlp_in",
    ("resid_pre", "mlp_in"),
    _norm("mlp_norm", "resid_mid", "mlp_in"),
)


def applying(model: "RunningModel") -> list[Invariant]:
    """The invariants all of whose points this model has."""
    return [invariant for invariant in INVARIANTS if all(map(model.has, invariant.points))]


@torch.no_grad()
def errors(
    model: "RunningModel", ids: Tensor, layers: Sequence[int]
) -> Iterator[tuple[str, float]]:
    """Each invariant with its largest error over the layers, relative to the largest entry; at last
    from residual stream to logits.
    """
    invariants = applying(model) if layers else []
    last = f"resid_post.{model.n_layers - 1}" if model.n_layers else "embedded"
    if model.layout.parallel and layers:
        invariants += [PARALLEL, PARALLEL_NORM]
    names = {
        f"{point}.{layer}"
        for invariant in invariants
        for point in invariant.points
        for layer in layers
    }
    names = {name for name in names if not name.startswith("mlp_norm.")} | (
        {last} if model.n_layers else set()
    )
    with model.watch(*sorted(names)) as reads, _further(model, layers, reads):
        logits = model(ids)
    for invariant in invariants:
        of_layer = (
            {point: reads[f"{point}.{layer}"] for point in invariant.points} for layer in layers
        )
        yield (
            invariant.name,
            max(
                difference(*invariant.sides(model, layer, layer_reads))
                for layer, layer_reads in zip(layers, of_layer, strict=True)
            ),
        )
    normed: Tensor = model.module("final_norm")(reads[last])
    yield "final_norm(resid_post) is what is unembedded", difference(normed, reads["unembedded"])
    yield "logits are as unembedded, or capped", difference(model.capped(reads["scores"]), logits)


def _further(
    model: "RunningModel", layers: Sequence[int], reads: dict[str, Tensor]
) -> AbstractContextManager[None]:
    """Read also what is no point: what the unembedding takes and gives; in parallel blocks, what
    the MLP's norm takes; without blocks, what the final norm takes.
    """
    unembed = model.module("unembed")
    places = {
        "unembedded": HookSite(unembed, "in", FIRST),
        "scores": HookSite(unembed, "out", FIRST),
    }
    if not model.n_layers:
        places["embedded"] = HookSite(model.module("final_norm"), "in", FIRST)
    if model.layout.parallel:
        places |= {
            f"mlp_norm.{layer}": HookSite(model.module("mlp_norm", layer), "in", FIRST)
            for layer in layers
        }
    return attached([(place, partial(reads.__setitem__, name)) for name, place in places.items()])


@torch.no_grad()
def neurons_apart(model: "RunningModel", ids: Tensor, layer: int) -> float:
    """How much half of a layer's neurons change, relative to the largest, where what the other half
    answers to its keys is doubled: not at all, unless something stands between keys and values that
    mixes them, as a norm does. Cost: two runs.
    """
    half = model.d_mlp // 2
    keep = torch.ones(model.d_mlp, device=ids.device, dtype=model.dtype)
    keep[:half] = 2
    usual = model.read(ids, f"mlp_act.{layer}")[f"mlp_act.{layer}"]
    with model.patched({f"mlp_pre.{layer}": lambda pre: pre * keep.to(pre.device)}):
        changed = model.read(ids, f"mlp_act.{layer}")[f"mlp_act.{layer}"]
    return difference(changed[..., half:], usual[..., half:])


@torch.no_grad()
def mixing(model: "RunningModel", ids: Tensor, layer: int) -> float:
    """How far Σ attn_probs · v is from z, relative to the largest entry, with attention step by
    step. 0 where that computes something else than the model itself, so that there is no pattern to
    be seen. Cost: two runs.
    """
    usual = model.read(ids, f"z.{layer}")[f"z.{layer}"]
    reads: dict[str, Tensor] = {}
    softmax = {"attn_probs": [partial(reads.__setitem__, "attn_probs")]}
    with model.eager(), Softmaxes({model.module("attn", layer): softmax}).attached():
        stepped = model.read(ids, f"v.{layer}", f"z.{layer}")
    z, v = stepped[f"z.{layer}"], stepped[f"v.{layer}"]
    if "attn_probs" not in reads or difference(z, usual) > 10 * tolerance(model):
        return 0.0
    shared = v.repeat_interleave(model.n_heads // model.n_kv_heads, 2)
    return difference(einsum(reads["attn_probs"].to(v), shared, "b h i j, b j h d -> b i h d"), z)
