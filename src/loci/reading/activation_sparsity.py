"""How sparse are the MLPs: at each token, the share of neurons that are active, and what
skipping the others would save.

    active:  |aᵢ| > threshold                      0 finds what is exactly nothing, as ReLU leaves
                                                   it
             |aᵢ| > threshold · maxⱼ |aⱼ|          (relative) of the layer's largest at this token, for GELU and SiLU
    skipped: W_down[:, active] a[active] + b_down  the same as the whole product where all that is
        left out is exactly 0
    saved:   (1 − share) / 2 of an MLP's FLOPs     the down projection shrinks, the up projection
                                                   stays; gated: / 3

Which neurons are active is known only after the up projection, and one row at a time is slower on
most hardware than its FLOPs say: this counts arithmetic, not time. Sources: Zhang et al. 2022
(MoEfication); Li et al. 2023 (The Lazy Neuron Phenomenon).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model, by_length
from loci.model.given import model_given, texts_given
from loci.progress import Progress, silent
from loci.result import Result
from loci.stats import Estimate, mean
from loci.survey import Window, sample_text, windows

RELATIVE = 0.01
"""The relative threshold where none is said."""
ZEROS = 0.01
"""From this share of exact zeros on, a model counts as one whose non-linearity makes them."""
CHECKED = 64
TOKENS = 20_000
BUDGET = 2048
FEWEST = 5
QUANTILES = (0.05, 0.5, 0.95)

Named = tuple[tuple[str, Estimate], ...]


@dataclass(frozen=True)
class Sparsity(Result):
    """Shares of active neurons by layer and by token, and what skipping the others changes and
    saves."""

    model: str
    bos: bool
    texts: int
    tokens: int
    threshold: float
    relative: bool
    """Whether the threshold is a share of the layer's largest absolute activation at the token."""
    active: Estimate
    """Share of active neurons, each text one unit."""
    by_layer: tuple[Estimate, ...]
    zeros: tuple[Estimate, ...]
    """Share of activations that are exactly 0, whatever the threshold."""
    spread: Float[Tensor, "layer 3"]
    """5 %, 50 % and 95 % quantiles over tokens of a token's share."""
    most: Named
    """Tokens with the largest mean share over all layers, each context one unit; only tokens
    seen behind five contexts or more."""
    fewest: Named
    checked: int
    """Tokens at which every layer was computed again from its active neurons alone."""
    skipped: tuple[float, ...]
    """By layer, the largest absolute activation that was skipped: 0 where skipping is exact."""
    error: tuple[float, ...]
    """By layer, the largest difference to the MLP's output, over that output's largest value."""
    rounding: tuple[float, ...]
    """The same difference with no neuron skipped: what another order of the same sum costs."""
    saved: Estimate
    """Share of the MLPs' FLOPs that skipping saves."""
    saved_exactly: Estimate
    """The same for what is exactly 0."""
    gated: bool

    @property
    def exact(self) -> bool:
        """Whether nothing but exact zeros was skipped."""
        return not any(self.skipped)

    @property
    def rule(self) -> str:
        """When a neuron counts as active, in words."""
        return f"|a| > {self.threshold:g}" + (" · the layer's largest |a| at the token" if self.relative else "")

    def to_dict(self) -> dict[str, Any]:
        lists = {name: [estimate.to_dict() for estimate in getattr(self, name)] for name in ("by_layer", "zeros")}
        named = {
            name: [{"token": token, "share": estimate.to_dict()} for token, estimate in getattr(self, name)]
            for name in ("most", "fewest")
        }
        whole = {name: getattr(self, name).to_dict() for name in ("active", "saved", "saved_exactly")}
        plain = {**vars(self), "spread": self.spread.tolist(), "rule": self.rule, "exact": self.exact}
        return {"schema": "loci.sparsity/1", **plain, **whole, **lists, **named}


@torch.no_grad()
def sparsity(
    model: Model,
    texts: Sequence[str] | None = None,
    *,
    threshold: float | None = None,
    relative: bool | None = None,
    top: int = 10,
    checked: int = CHECKED,
    progress: Progress = silent,
) -> Sparsity:
    """Share of MLP neurons that are active at a token.

    Without `threshold` and `relative`, activations are compared with 0 where the first texts show
    exact zeros, as ReLU makes them, and with 1 % of the layer's largest elsewhere.

    Args:
        model: an open model; it is left as it was.
        texts: None: 20,000 tokens of the embedded text.
        threshold: activations above it are active; alone it is absolute.
        relative: take `threshold` as a share of the layer's largest activation at the token.
        top: texts and neurons listed at both ends.
        checked: tokens on which skipping inactive neurons is checked.
        progress: called with (steps done, steps in all).

    Returns: `Sparsity`: active share by layer, with intervals, and what skipping would save.
    Raises: `ModelError` where there is no text, for a negative threshold, and for mixtures of
        experts.
    Cost: One run over the text, and a short one for the check.
    """
    model_given(model).place("mlp_act.0")
    texts = None if texts is None else texts_given(texts)
    if checked < 1:
        raise ModelError(f"skipping is checked at one token at least, not {checked}")
    read = _windows_of(model, texts)
    if relative is None:
        relative = threshold is None and not _makes_zeros(model, read)
    rule = _Rule(float((RELATIVE if relative else 0) if threshold is None else threshold), relative)
    counted = _count(model, read, rule, progress)
    active, zeros = counted.by_text(counted.active), counted.by_text(counted.zeros)
    most, fewest = counted.extremes(model, top)
    again = _again(model, read, rule, checked)
    return Sparsity(
        model=model.name,
        bos=model.with_bos,
        texts=len({window.text for window in read}),
        tokens=len(counted.ids),
        threshold=rule.threshold,
        relative=relative,
        active=_mean(active.mean(1).tolist()),
        by_layer=tuple(_mean(column) for column in active.T.tolist()),
        zeros=tuple(_mean(column) for column in zeros.T.tolist()),
        spread=counted.active.quantile(torch.tensor(QUANTILES, dtype=torch.float64), dim=0).T,
        most=most,
        fewest=fewest,
        saved=_saved(model, _mean((1 - active.mean(1)).tolist())),
        saved_exactly=_saved(model, _mean(zeros.mean(1).tolist())),
        gated=model.gated,
        **again,
    )


def _mean(shares: Sequence[float]) -> Estimate:
    """With fewer draws where there are many units, to bound the bootstrap's memory."""
    return mean(shares, samples=max(100, min(2000, 10_000_000 // max(1, len(shares)))))


def _saved(model: Model, left: Estimate) -> Estimate:
    """Share of an MLP's FLOPs, where this share of the down projection's columns is left out."""
    matrices = 3 if model.gated else 2
    return Estimate(left.value / matrices, left.low / matrices, left.high / matrices, left.n)


class _Rule:
    """When a neuron is active."""

    def __init__(self, threshold: float, relative: bool) -> None:
        if not threshold >= 0 or (relative and threshold >= 1):
            limits = "at least 0 and below 1" if relative else "0 or more"
            raise ModelError(f"the threshold of activity is {limits}, not {threshold:g}")
        self.threshold, self.relative = threshold, relative

    def active(self, acts: Float[Tensor, "*any d_mlp"]) -> Bool[Tensor, "*any d_mlp"]:
        size = acts.abs()
        return size > (self.threshold * size.amax(-1, keepdim=True) if self.relative else self.threshold)


class _Counted:
    """For every token of the text: which text and which token it is, whether its context is new,
    and its shares by layer."""

    def __init__(self, text: Tensor, ids: Tensor, new: Tensor, active: Tensor, zeros: Tensor) -> None:
        self.text, self.ids, self.new, self.active, self.zeros = text, ids, new, active, zeros

    def by_text(self, shares: Float[Tensor, "token layer"]) -> Float[Tensor, "text layer"]:
        return _grouped(shares, self.text)[0]

    def extremes(self, model: Model, top: int) -> tuple[Named, Named]:
        """The tokens with the largest and with the smallest mean share, among those seen often
        enough."""
        kinds, which = self.ids[self.new].unique(return_inverse=True)
        shares = self.active[self.new].mean(1)
        means, counts = _grouped(shares[:, None], which)
        often = (counts >= FEWEST).nonzero()[:, 0]
        order = often[means[often, 0].argsort(descending=True)].tolist()

        def named(chosen: list[int]) -> Named:
            return tuple((model.token_text(int(kinds[i])), _mean(shares[which == i].tolist())) for i in chosen)

        return named(order[:top]), named(order[::-1][:top])


def _grouped(values: Float[Tensor, "item column"], group: Int[Tensor, " item"]) -> tuple[Tensor, Tensor]:
    """Mean of each group's rows, and how many they are."""
    counts = group.bincount()
    sums = torch.zeros(len(counts), values.shape[1], dtype=values.dtype).index_add_(0, group, values)
    return sums / counts[:, None], counts


def _count(model: Model, read: Sequence[Window], rule: _Rule, progress: Progress) -> _Counted:
    rows: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    known: set[int] = set()
    for batch, reads in _through(model, read, *model.names("mlp_act")):
        active, zeros = (
            torch.stack([part.double().mean(-1).flatten().cpu() for part in map(kind, reads.values())], 1)
            for kind in (rule.active, _nothing)
        )
        ids = torch.tensor([window.ids[window.before :] for window in batch])
        new = torch.tensor([flag for window in batch for flag in _new(window.ids, known)[window.before :]])
        text = torch.tensor([window.text for window in batch]).repeat_interleave(ids.shape[1])
        rows.append((text, ids.flatten(), new, active, zeros))
        progress(len(batch), len(read))
    return _Counted(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def _new(ids: Sequence[int], known: set[int]) -> list[bool]:
    """Whether a text up to each token was not there before: the same beginning gives the same
    activations, which count once."""
    flags, state = [], 0
    for token in ids:
        state = hash((state, token))
        flags.append(state not in known)
        known.add(state)
    return flags


def _nothing(acts: Tensor) -> Tensor:
    return acts == 0


def _makes_zeros(model: Model, read: Sequence[Window]) -> bool:
    """Whether exact zeros are more than the odd underflow in the first texts."""
    _, reads = next(_through(model, read[:16], *model.names("mlp_act")))
    return any(float((acts == 0).double().mean()) >= ZEROS for acts in reads.values())


def _again(model: Model, read: Sequence[Window], rule: _Rule, checked: int) -> dict[str, Any]:
    """Every layer at the first `checked` tokens, from the columns of its active neurons alone,
    beside the model's own output."""
    stems = ("mlp_act", "mlp_raw")
    parts: dict[str, list[Tensor]] = {name: [] for name in model.names(*stems)}
    for _, reads in _through(model, read[:checked], *parts):
        for name, tensor in reads.items():
            parts[name].append(tensor.flatten(0, 1))
    stacked = {name: torch.cat(measured)[:checked] for name, measured in parts.items()}
    measured: dict[str, list[float]] = {"skipped": [], "error": [], "rounding": []}
    for layer in range(model.n_layers):
        W, b = model.W_down(layer), model.b_down(layer)
        acts, out = (stacked[f"{stem}.{layer}"].to(W.device) for stem in stems)
        active = rule.active(acts)
        skipping = torch.stack([W[:, on] @ act[on] + b for act, on in zip(acts, active, strict=True)])
        whole = torch.stack([W @ act + b for act in acts])
        largest = float(out.abs().max()) or 1.0
        measured["skipped"].append(float(acts.abs().masked_fill(active, 0).max()))
        measured["error"].append(float((skipping - out).abs().max()) / largest)
        measured["rounding"].append(float((whole - out).abs().max()) / largest)
    return {"checked": len(acts), **{name: tuple(values) for name, values in measured.items()}}


def _windows_of(model: Model, texts: Sequence[str] | None) -> list[Window]:
    """The texts, or the embedded one, as a survey cuts them, numbered by those that are not
    empty.

    Raises `ModelError` without text.
    """
    chosen = sample_text(model, TOKENS) if texts is None else texts
    cut = windows(model, list(enumerate(text for text in chosen if text.strip())))
    if not cut:
        raise ModelError("there is no text to run the model on")
    return cut


def _through(model: Model, read: Sequence[Window], *points: str) -> Iterator[tuple[list[Window], dict[str, Tensor]]]:
    """Batches of equally long windows, and the points without what stands before a text: all
    layers of one run, to be compared."""
    for chosen in by_length(read, lambda window: len(window.ids), BUDGET):
        batch = [read[i] for i in chosen]
        reads = model.read(model.ids([window.ids for window in batch]), *points)
        yield batch, {point: tensor[:, batch[0].before :] for point, tensor in reads.items()}
