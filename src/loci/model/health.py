"""Prove on a user's own model what Loci says of it: every claim measured, with its error beside
what is allowed.

Exact claims (reading changes no bit, identity patches change nothing) allow 0; the others the
rounding of the dtype, relative to the largest number compared. Runs that sum in another order allow
what the model makes of such rounding. What a family does not have is said not to apply, and why; it
is not counted as passed.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise, product
from typing import Any, Literal

import torch
from einops import einsum
from torch import Tensor

from loci.errors import LociError
from loci.model.given import model_given
from loci.model.invariants import (
    INVARIANTS,
    applying,
    difference,
    errors,
    neurons_apart,
    not_finite,
    tolerance,
)
from loci.model.model import Model
from loci.model.points import ATTENTION, ONCE
from loci.model.unembedding import last_streams
from loci.progress import Progress, silent
from loci.result import Result

TEXTS = (
    "Michael Jordan plays the sport of basketball",
    "The Eiffel Tower stands in the city of Paris",
    "It is",
)
ODD = (
    *TEXTS,
    "Zürich, 東京 and a naïve café",
    "  two  spaces\tand a tab",
    "$1,234.50 — isn't it? 🙂",
)

ROUNDINGS = 3
CARRIED = 40.0
"""Times the error that rounding the stream makes: kernels also round inside a layer."""


@dataclass(frozen=True)
class Check:
    """One claim: passed where `error` ≤ `allowed`; `note` says what was measured, or why the claim
    does not apply.
    """

    name: str
    error: float | None
    allowed: float
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """None where the claim does not apply to this family."""
        return None if self.error is None else self.error <= self.allowed


@dataclass(frozen=True)
class Diagnosis(Result):
    """All checks of one model."""

    model: str
    bos: bool
    family: str
    dtype: str
    device: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        return all(check.passed is not False for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        checks = [{**asdict(check), "passed": check.passed} for check in self.checks]
        return {
            "schema": "loci.doctor/1",
            **asdict(self),
            "healthy": self.healthy,
            "checks": checks,
        }


def doctor(model: Model, *, progress: Progress = silent) -> Diagnosis:
    """Is Loci right about this model? Every claim is measured on it: logits, patches, sums,
    weights, replay, padding, tokens.

        loci.doctor(model).healthy

    Returns: `Diagnosis`: `checks` (name, error, allowed, passed), `healthy`. Cost: a few short runs
    for each point and layer.
    """
    patient = _Patient(model_given(model))
    found: list[Check] = []
    for check in CHECKS:
        found += check(patient)
        progress(1, len(CHECKS))
    return Diagnosis(
        model=model.name,
        bos=model.with_bos,
        family=model.family,
        dtype=model.dtype_name,
        device=str(model.device),
        checks=tuple(found),
    )


class _Patient:
    """A model with a batch of equally long texts, and what it says to them when nothing is
    attached.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.rows = [list(model.tokenize(text).ids) for text in TEXTS]
        width = min(len(row) for row in self.rows[:2])
        self.ids = model.ids([row[:width] for row in self.rows[:2]])
        self.allowed = tolerance(model)
        model.hf.eval()
        with torch.no_grad():
            self.plain: Tensor = model.hf(input_ids=self.ids, use_cache=False).logits

    @cached_property
    def between_runs(self) -> float:
        """What two runs may differ by that sum in another order: rounding, as far as this model
        carries it on.

        The stream, queries and keys are moved by ±ε of each entry in every layer; large weights
        make saturated softmaxes and nearly equal logits of that. At most a twentieth of the
        largest.
        """
        model, worst, alone = self.model, 0.0, self.plain
        points = model.names("resid_pre", *(point for point in ("q", "k") if model.has(point)))
        for row, seed in product(self.rows, range(ROUNDINGS)):
            source = torch.Generator().manual_seed(seed)

            def rounded(x: Tensor, source: torch.Generator = source) -> Tensor:
                signs = torch.randint(0, 2, x.shape, generator=source).to(x) * 2 - 1
                return x + x * signs * torch.finfo(x.dtype).eps

            with torch.no_grad():
                alone = alone if seed else model(model.ids([row]))
                with model.patched(dict.fromkeys(points, rounded)):
                    worst = max(worst, difference(model(model.ids([row])), alone))
        return max(self.allowed, min(CARRIED * worst, 0.05))

    def names(self, *, attention: bool) -> list[str]:
        return self.model.names(
            *(stem for stem in self.model.points() if (stem in ATTENTION) == attention)
        )

    def groups(self, *, attention: bool) -> list[list[str]]:
        """The points to be seen together: those of each layer, and each of the last layer, and
        those without layers, alone.

        One by one in all layers they would take a run each: hundreds.
        """
        layers: dict[str, list[str]] = {}
        for name in self.names(attention=attention):
            layers.setdefault(name.partition(".")[2] or name, []).append(name)
        last = layers.get(str(self.model.n_layers - 1), [])
        return [*layers.values(), *([name] for name in last if len(last) > 1)]


def _weights(patient: _Patient) -> Iterator[Check]:
    model = patient.model
    found = list(not_finite(model))
    yield Check(
        "weights are finite",
        float(len(found)),
        0,
        f"NaN or infinity in {found[0]}" if found else "",
    )


@torch.no_grad()
def _reads(patient: _Patient) -> Iterator[Check]:
    model, names = patient.model, patient.names(attention=False)
    before = model.fingerprint
    with model.watch(*names) as reads:
        logits = model(patient.ids)
    yield Check(
        "logits, all points read = plain Hugging Face",
        _absolute(logits, patient.plain),
        0,
        f"{len(names)} points",
    )
    unread = sorted(set(names) - set(reads))
    yield Check("every point is passed by a run", float(len(unread)), 0, ", ".join(unread[:3]))
    early = 0.0
    for group in patient.groups(attention=False):
        stopped = model.read(patient.ids, *group)
        early = max(early, *(_absolute(stopped[name], reads[name]) for name in group))
    yield Check("a run that stops early reads the same", early, 0)
    changed = float(model.fingerprint != before)
    yield Check("weights are as before, bit for bit", changed, 0, before[:19])


@torch.no_grad()
def _identity(patient: _Patient) -> Iterator[Check]:
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
                    worst = max(worst, _absolute(model(patient.ids), logits))
                else:
                    worst = max(worst, _absolute(last_streams(model, patient.ids), whole))
        yield Check(
            f"identity patches of {'the attention pattern' if attention else 'all other points'}",
            worst,
            0,
            f"{len(names)} places",
        )


def _sums(patient: _Patient) -> Iterator[Check]:
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
def _pattern(patient: _Patient) -> Iterator[Check]:
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
        at = model.read(patient.ids, f"attn_probs.{layer}", f"v.{layer}", f"z.{layer}")
        probs, v, z = at[f"attn_probs.{layer}"], at[f"v.{layer}"], at[f"z.{layer}"]
        sums = max(sums, _absolute(probs.sum(-1), torch.ones_like(probs.sum(-1))))
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
def _folding(patient: _Patient) -> Iterator[Check]:
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
def _replay(patient: _Patient) -> Iterator[Check]:
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
def _padding(patient: _Patient) -> Iterator[Check]:
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


def _tokens(patient: _Patient) -> Iterator[Check]:
    model = patient.model
    wrong: list[str] = []
    for text in ODD:
        try:
            wrong += _misplaced(model, text)
        except LociError as error:
            wrong.append(f"{text!r}: {error}")
    yield Check(
        "tokens know their characters",
        float(len(wrong)),
        0,
        wrong[0] if wrong else f"{len(ODD)} texts",
    )


def _misplaced(model: Model, text: str) -> list[str]:
    """What is wrong with the offsets of a text: characters in no token, tokens out of order, words
    that are not found again.
    """
    tokens = model.tokenize(text)
    covered = {i for start, end in tokens.offsets for i in range(start, end)}
    wrong = [
        f"{text!r}: {text[i]!r} is in no token"
        for i in range(len(text))
        if not text[i].isspace() and i not in covered
    ]
    real = [span for span in tokens.offsets if span[1] > span[0]]
    if any(a[0] > b[0] or a[1] > b[1] for a, b in pairwise(real)) or max(b for _, b in real) > len(
        text
    ):
        wrong.append(f"{text!r}: tokens out of order")
    words = [(start, start + len(word)) for word, start in _words(text)]
    for start, end in words:
        first, last = tokens.span((start, end))
        if tokens.offsets[first][0] > start or tokens.offsets[last - 1][1] < end:
            wrong.append(f"{text!r}: {text[start:end]!r} is not whole in its tokens")
    return wrong


def _words(text: str) -> Iterator[tuple[str, int]]:
    at = 0
    for word in text.split():
        at = text.index(word, at)
        yield word, at
        at += len(word)


def _absolute(found: Tensor, expected: Tensor) -> float:
    """max |found − expected|, infinite where that is no number."""
    error = float((found - expected).abs().max())
    return error if error == error else float("inf")


CHECKS: Sequence[Callable[[_Patient], Iterator[Check]]] = (
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
