"""The checks of the doctor, each with its number and its limit."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Literal

import torch
from einops import einsum

from loci.errors import LociError
from loci.model.health_run import ODD, Check, Patient, absolute_error, misplaced
from loci.model.invariants import INVARIANTS, applying, errors, neurons_apart
from loci.model.points import ONCE
from loci.model.rounding import difference, not_finite
from loci.model.unembedding import last_streams


def _weights(patient: Patient) -> Iterator[Check]:
    model = patient.model
    bad = list(not_finite(model))
    yield Check(
        "weights are finite",
        float(len(bad)),
        0,
        f"NaN or infinity in {bad[0]}" if bad else "",
    )


@torch.no_grad()
def _reads(patient: Patient) -> Iterator[Check]:
    model, names = patient.model, patient.names(attention=False)
    before = model.fingerprint
    with model.watch(*names) as reads:
        logits = model(patient.ids)
    yield Check(
        "logits, all points read = plain Hugging Face",
        absolute_error(logits, patient.plain),
        0,
        f"{len(names)} points",
    )
    unread = sorted(set(names) - set(reads))
    yield Check("every point is passed by a run", float(len(unread)), 0, ", ".join(unread[:3]))
    early = 0.0
    for group in patient.groups(attention=False):
        stopped = model.read(patient.ids, *group)
        early = max(early, *(absolute_error(stopped[name], reads[name]) for name in group))
    yield Check("a run that stops early reads the same", early, 0)
    changed = float(model.fingerprint != before)
    yield Check("weights are as before, bit for bit", changed, 0, before[:19])


@torch.no_grad()
def _identity(patient: Patient) -> Iterator[Check]:
    model = patient.model
    for attention in (False, True):
        names = patient.names(attention=attention)
        if not names:
            yield Check(
                "identity patches of the attention pattern",
                None,
                0,
                model.why_not("attn_probs") or "",
            )
            continue
        worst = 0.0
        with model.eager() if attention else nullcontext():
            whole, logits = last_streams(model, patient.ids), model(patient.ids)
        for group in patient.groups(attention=attention):
            with model.patched(dict.fromkeys(group, lambda tensor: tensor.clone())):
                if group[0] in ONCE:
                    worst = max(worst, absolute_error(model(patient.ids), logits))
                else:
                    worst = max(worst, absolute_error(last_streams(model, patient.ids), whole))
        yield Check(
            f"identity patches of {'the attention pattern' if attention else 'all other points'}",
            worst,
            0,
            f"{len(names)} places",
        )


def _sums(patient: Patient) -> Iterator[Check]:
    model = patient.model
    names = {invariant.name for invariant in applying(model)}
    for name, error in errors(model, patient.ids, range(model.n_layers)):
        yield Check(name, error, patient.allowed, f"{model.n_layers} layers" if "=" in name else "")
    if model.has("mlp_pre"):
        apart = max(
            (neurons_apart(model, patient.ids, layer) for layer in range(model.n_layers)),
            default=0.0,
        )
        yield Check(
            "mlp_act depends on mlp_pre neuron by neuron",
            apart,
            patient.allowed,
            f"{model.n_layers} layers",
        )
    for invariant in INVARIANTS:
        if invariant.name not in names:
            absent = next(point for point in invariant.points if not model.has(point))
            yield Check(
                invariant.name, None, patient.allowed, f"no {absent}: {model.why_not(absent)}"
            )


@torch.no_grad()
def _pattern(patient: Patient) -> Iterator[Check]:
    model = patient.model
    why = model.why_not("attn_probs")
    if why:
        yield Check("Σ attn_probs · v = z", None, patient.allowed, why)
        return
    with model.eager():
        yield Check(
            "attention step by step = the model's own",
            difference(model(patient.ids), patient.plain),
            10 * patient.between_runs,
        )
    sums = mixes = 0.0
    for layer in range(model.n_layers):
        reads = model.read(patient.ids, f"attn_probs.{layer}", f"v.{layer}", f"z.{layer}")
        probs, v, z = reads[f"attn_probs.{layer}"], reads[f"v.{layer}"], reads[f"z.{layer}"]
        sums = max(sums, absolute_error(probs.sum(-1), torch.ones_like(probs.sum(-1))))
        shared = v.repeat_interleave(model.n_heads // model.n_kv_heads, 2)
        mixes = max(
            mixes, difference(einsum(probs.to(v), shared, "b h i j, b j h d -> b i h d"), z)
        )
    yield Check("attention patterns sum to 1", sums, patient.allowed)
    yield Check(
        "Σ attn_probs · v = z",
        mixes,
        patient.allowed,
        "each query head with its keys' and values' head",
    )


@torch.no_grad()
def _folding(patient: Patient) -> Iterator[Check]:
    model = patient.model
    point = f"resid_post.{model.n_layers - 1}"
    resid = model.read(patient.ids, point)[point].float()
    norm, folded = model.norm("final_norm"), model.folded("W_U")
    z = resid - resid.mean(-1, keepdim=True) if norm.centres else resid
    rms = (z.square().mean(-1, keepdim=True) + model.norm_epsilon("final_norm")).sqrt()
    logits = resid / rms @ folded.weight.float().T + folded.bias.float()
    yield Check(
        "W_U with the final norm folded in = logits",
        difference(model.capped(logits), patient.plain.float()),
        50 * patient.allowed,
    )


@torch.no_grad()
def _replay(patient: Patient) -> Iterator[Check]:
    model = patient.model
    run = model.record(patient.ids)
    yield Check(
        "replay from every layer = full run",
        max(
            difference(run.replay(layer, run.resid_pre(layer)), patient.plain)
            for layer in range(model.n_layers)
        ),
        patient.allowed,
    )
    tripled = (
        difference(
            run.replay(layer, run.resid_pre(layer).repeat(3, 1, 1)), patient.plain.repeat(3, 1, 1)
        )
        for layer in range(model.n_layers)
    )
    yield Check("replay in another batch size = full run", max(tripled), patient.between_runs)


@torch.no_grad()
def _padding(patient: Patient) -> Iterator[Check]:
    model = patient.model
    single = [model(model.ids([row]))[0] for row in patient.rows]
    sides: tuple[Literal["left", "right"], ...] = ("left", "right")
    for side in sides:
        ids, mask = model.padded(patient.rows, side)
        padded = model(ids, mask)
        error = max(
            difference(row[real], alone)
            for row, real, alone in zip(padded, mask.bool(), single, strict=True)
        )
        yield Check(f"a batch padded on the {side} = its texts alone", error, patient.between_runs)


def _tokens(patient: Patient) -> Iterator[Check]:
    model = patient.model
    wrong: list[str] = []
    for text in ODD:
        try:
            wrong += misplaced(model, text)
        except LociError as error:
            wrong.append(f"{text!r}: {error}")
    yield Check(
        "tokens know their characters",
        float(len(wrong)),
        0,
        wrong[0] if wrong else f"{len(ODD)} texts",
    )


CHECKS: Sequence[Callable[[Patient], Iterator[Check]]] = (
    _weights,
    _reads,
    _identity,
    _sums,
    _pattern,
    _folding,
    _replay,
    _padding,
    _tokens,
)
