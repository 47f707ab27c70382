"""Counting active neurons: token by token in batches of equally long windows.

    active(a)  = |a| > threshold · (max |a| of the layer at the token, where the rule is relative)
    by text    = mean over a text's tokens of the share of active neurons    (texts are the units)
    skipping   = W_down[:, active] a[active] + b_down
            beside the whole product

The same beginning of a text gives the same activations, so tokens count once for each context.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from loci.errors import ModelError
from loci.model import Model, by_length
from loci.progress import Progress
from loci.stats import Estimate, mean
from loci.survey import Window, windows
from loci.text import sample_text

ZEROS = 0.01
"""From this share of exact zeros on, a model counts as one whose non-linearity makes them."""
BUDGET = 2048
FEWEST = 5
TOKENS = 20_000
Named = tuple[tuple[str, Estimate], ...]
"""Tokens with the mean share of active neurons there."""


def bounded_mean(shares: Sequence[float]) -> Estimate:
    """With fewer draws where there are many units, to bound the bootstrap's memory."""
    return mean(shares, samples=max(100, min(2000, 10_000_000 // max(1, len(shares)))))


class ActivityRule:
    """When a neuron is active."""

    def __init__(self, threshold: float, relative: bool) -> None:
        if not threshold >= 0 or (relative and threshold >= 1):
            limits = "at least 0 and below 1" if relative else "0 or more"
            raise ModelError(f"the threshold of activity is {limits}, not {threshold:g}")
        self.threshold, self.relative = threshold, relative

    def active(self, acts: Float[Tensor, "*any d_mlp"]) -> Bool[Tensor, "*any d_mlp"]:
        size = acts.abs()
        return size > (
            self.threshold * size.amax(-1, keepdim=True) if self.relative else self.threshold
        )


class ActiveCounts:
    """For every token of the text: which text and which token it is, whether its context is new,
    and its shares by layer."""

    def __init__(
        self, text: Tensor, ids: Tensor, new: Tensor, active: Tensor, zeros: Tensor
    ) -> None:
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
            return tuple(
                (model.token_text(int(kinds[i])), bounded_mean(shares[which == i].tolist()))
                for i in chosen
            )

        return named(order[:top]), named(order[::-1][:top])


def _grouped(
    values: Float[Tensor, "item column"], group: Int[Tensor, " item"]
) -> tuple[Tensor, Tensor]:
    """Mean of each group's rows, and how many they are."""
    counts = group.bincount()
    sums = torch.zeros(len(counts), values.shape[1], dtype=values.dtype).index_add_(
        0, group, values
    )
    return sums / counts[:, None], counts


def count_active(
    model: Model, read: Sequence[Window], rule: ActivityRule, progress: Progress
) -> ActiveCounts:
    rows: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    known: set[int] = set()
    for batch, reads in _through(model, read, *model.names("mlp_act")):
        active, zeros = (
            torch.stack(
                [part.double().mean(-1).flatten().cpu() for part in map(kind, reads.values())], 1
            )
            for kind in (rule.active, is_zero)
        )
        ids = torch.tensor([window.ids[window.before :] for window in batch])
        new = torch.tensor(
            [flag for window in batch for flag in _is_new(window.ids, known)[window.before :]]
        )
        text = torch.tensor([window.text for window in batch]).repeat_interleave(ids.shape[1])
        rows.append((text, ids.flatten(), new, active, zeros))
        progress(len(batch), len(read))
    return ActiveCounts(*(torch.cat(parts) for parts in zip(*rows, strict=True)))


def _is_new(ids: Sequence[int], known: set[int]) -> list[bool]:
    """Whether a text up to each token was not there before: the same beginning gives the same
    activations, which count once."""
    flags, state = [], 0
    for token in ids:
        state = hash((state, token))
        flags.append(state not in known)
        known.add(state)
    return flags


def is_zero(acts: Tensor) -> Tensor:
    return acts == 0


def makes_exact_zeros(model: Model, read: Sequence[Window]) -> bool:
    """Whether exact zeros are more than the odd underflow in the first texts."""
    _, reads = next(_through(model, read[:16], *model.names("mlp_act")))
    return any(float((acts == 0).double().mean()) >= ZEROS for acts in reads.values())


def check_skipping(
    model: Model, read: Sequence[Window], rule: ActivityRule, checked: int
) -> dict[str, Any]:
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
        skipping = torch.stack(
            [W[:, on] @ act[on] + b for act, on in zip(acts, active, strict=True)]
        )
        whole = torch.stack([W @ act + b for act in acts])
        largest = float(out.abs().max()) or 1.0
        measured["skipped"].append(float(acts.abs().masked_fill(active, 0).max()))
        measured["error"].append(float((skipping - out).abs().max()) / largest)
        measured["rounding"].append(float((whole - out).abs().max()) / largest)
    return {"checked": len(acts), **{name: tuple(values) for name, values in measured.items()}}


def windows_of(model: Model, texts: Sequence[str] | None) -> list[Window]:
    """The texts, or the embedded one, as a survey cuts them, numbered by those that are not
    empty.

    Raises `ModelError` without text.
    """
    chosen = sample_text(model, TOKENS) if texts is None else texts
    cut = windows(model, list(enumerate(text for text in chosen if text.strip())))
    if not cut:
        raise ModelError("there is no text to run the model on")
    return cut


def _through(
    model: Model, read: Sequence[Window], *points: str
) -> Iterator[tuple[list[Window], dict[str, Tensor]]]:
    """Batches of equally long windows, and the points without what stands before a text: all
    layers of one run, to be compared."""
    for chosen in by_length(read, lambda window: len(window.ids), BUDGET):
        batch = [read[i] for i in chosen]
        reads = model.read(model.ids([window.ids for window in batch]), *points)
        yield batch, {point: tensor[:, batch[0].before :] for point, tensor in reads.items()}
