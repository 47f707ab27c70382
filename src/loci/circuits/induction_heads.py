"""Induction: does the model say again what it has seen, which heads find it, and by whom do they
know where to look?

    loss by block        mean −ln P(token) in the first block and in each repetition; the fall is
                         what repetition is worth
    greedy               share of tokens in repetitions that are the likeliest
    heads                prefix matching (offset +1), with the heads they K-compose with most, and
                         how much those look one back

On repeated random tokens nothing but the repetition helps; on a text of one's own the text itself
does too. Sources: Elhage et al. 2021; Olsson et al. 2022.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from loci.circuits.attention_patterns import AttentionPatterns, patterns_on
from loci.circuits.composition import compose
from loci.circuits.composition_results import Composition
from loci.circuits.heads import View
from loci.circuits.measured_scores import scores_on
from loci.circuits.repeated import REPEATS, SAMPLES, RepeatedTokens, repeat, repeated_tokens
from loci.model import Model
from loci.model.names import head_name, parse_head
from loci.model.unembedding import last_streams, unembedded
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.stats import Estimate, mean, percent, share
from loci.tables import Table, columns

HEADS, PARTNERS = 5, 3


class Partner(NamedTuple):
    """An earlier head that makes an induction head's keys."""

    head: str
    k_composition: float
    previous_token: float


@dataclass(frozen=True)
class InductionHead:
    """A head that looks at what came after the earlier place."""

    head: str
    induction: Estimate
    copying: Estimate
    partners: tuple[Partner, ...]

    def to_dict(self) -> dict[str, Any]:
        partners = [partner._asdict() for partner in self.partners]
        return {
            "head": self.head,
            "induction": self.induction.to_dict(),
            "copying": self.copying.to_dict(),
            "partners": partners,
        }


@dataclass(frozen=True, eq=False)
class Induction(Result):
    """The loss that repetition saves a model, and the heads that save it."""

    about: ClassVar[About] = About(
        "induction",
        "Does the model go on with what it has seen, and by which heads?",
        "Loss by repetition, and the heads that look behind the earlier place.",
        "circuits_patterns.induction_figure",
    )

    model: str
    bos: bool
    text: str | None
    """The text that was repeated; None for random tokens."""
    length: int
    repeats: int
    samples: int
    seed: int
    losses: tuple[Estimate, ...]
    """By block, each without its first token, which nothing announces the first time it comes
    again."""
    greedy: Estimate
    null: float
    heads: tuple[InductionHead, ...]
    patterns: AttentionPatterns | None
    """Of the best induction head and its partners, on the first sample, two blocks of it."""

    @property
    def fall(self) -> float:
        """Nats a token that the first repetition saves."""
        return self.losses[0].value - self.losses[1].value

    def summary(self) -> tuple[str, ...]:
        best = max(self.heads, key=lambda head: head.induction.value, default=None)
        said = f"The strongest head is {best.head}: {best.induction}. " if best else ""
        return (
            f"{said}Of the repeated tokens {percent(self.greedy)} are the likeliest; loss falls"
            " from"
            f" {self.losses[0]} to {self.losses[-1]} nats.",
        )

    def title(self) -> str:
        random = f"{self.samples} × {self.length} random tokens"
        what = f"“{self.text}”" if self.text else random
        return f"Induction in {self.model}, {what}, {self.repeats} times"

    def tables(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                head.head,
                head.induction,
                head.copying,
                ", ".join(
                    f"{own.head} ({own.k_composition:.3f}, {own.previous_token:.2f})"
                    for own in head.partners
                ),
            )
            for head in self.heads
        )
        keys = "keys made by (K-composition, looks one back)"
        losses = tuple((f"block {i}", loss) for i, loss in enumerate(self.losses))
        return (
            Table("Loss", columns("", "loss|.3g|nats"), losses),
            Table(
                "Heads",
                columns("head", "induction", "copying", keys),
                rows,
                note=f"random pairs compose with {self.null:.3f}",
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.induction/1",
            **{name: value for name, value in vars(self).items() if name != "patterns"},
            "losses": [loss.to_dict() for loss in self.losses],
            "greedy": self.greedy.to_dict(),
            "heads": [head.to_dict() for head in self.heads],
        }


@torch.no_grad()
def induction(
    model: Model,
    text: str | None = None,
    *,
    length: int | None = None,
    repeats: int = REPEATS,
    samples: int = SAMPLES,
    seed: int = 0,
    view: View = "gain",
    progress: Progress = silent,
) -> Induction:
    """Find induction heads, and the earlier heads that they compose with.

    Args:
        model: an open model; it is left as it was.
        text: a text to repeat; None: random tokens.
        length: tokens of a block; None: 25, or what the context has room for.
        repeats: how often each block stands.
        samples: blocks drawn; the units of the intervals.
        seed: seed of every random draw.
        view: how much of the norms is folded into the weights: "gain", "centred" or "none".
        progress: called with (steps done, steps in all).

    Returns: `Induction`: loss by block, greedy share, heads with their partners.
    Raises: `CircuitError` for a length that does not fit.
    Cost: As `head_scores` without weights, and `compose`.
    Source: Olsson et al. 2022.
    """
    if text is None:
        repeated = repeated_tokens(
            model, length=length, repeats=repeats, samples=samples, seed=seed
        )
    else:
        own = model.tokenize(text)
        repeated = repeat(model, [own.ids[own.special :]], repeats)
    blocks, hits = by_block(model, repeated)
    scores = {
        head_name(layer, h): measured for layer, h, measured in scores_on(model, repeated, progress)
    }
    best = sorted(scores, key=lambda name: -scores[name]["induction"].value)[:HEADS]
    composed = compose(model, view=view) if model.n_layers > 1 else None
    heads = tuple(
        InductionHead(
            name,
            scores[name]["induction"],
            scores[name]["copying"],
            _partners(composed, name, scores),
        )
        for name in best
    )
    return Induction(
        model=model.name,
        bos=model.with_bos,
        text=text,
        length=repeated.length,
        repeats=repeats,
        samples=len(repeated.ids),
        seed=seed,
        losses=tuple(mean(block.tolist()) for block in blocks),
        greedy=share(hits.tolist()),
        null=model.d_model**-0.5,
        heads=heads,
        patterns=_patterns(model, repeated, heads),
    )


@torch.no_grad()
def by_block(
    model: Model, text: RepeatedTokens
) -> tuple[Float[Tensor, "block sample"], Float[Tensor, " sample"]]:
    """Loss of every block without its first token, and the share of repeated tokens that are the
    likeliest."""
    losses, hits = [], []
    for ids in text.ids.split(8):
        following = ids[:, 1:]
        streams = last_streams(model, ids)[:, :-1].flatten(0, 1)
        loss, right = torch.empty(len(streams)), torch.empty(len(streams), dtype=torch.bool)
        for some, logits in unembedded(model, streams):  # never all positions × vocabulary
            target = following.flatten()[some].to(logits.device)
            chosen = logits.gather(-1, target[:, None])[:, 0]
            loss[some], right[some] = (
                (logits.logsumexp(-1) - chosen).cpu(),
                (logits.argmax(-1) == target).cpu(),
            )
        losses.append(loss.view(following.shape))
        hits.append(right.view(following.shape)[:, text.again.start :].float().mean(-1))
    whole: Float[Tensor, "sample position"] = torch.cat(losses)
    ends = [text.start + text.length * k for k in range(text.repeats + 1)]
    return torch.stack(
        [whole[:, first : end - 1].mean(-1) for first, end in pairwise(ends)]
    ), torch.cat(hits)


def _partners(
    composed: Composition | None, name: str, scores: dict[str, dict[str, Estimate]]
) -> tuple[Partner, ...]:
    """The earlier heads that a head's keys are made of most."""
    if composed is None or name not in composed.readers["k"]:
        return ()
    row = composed.scores["k"][composed.readers["k"].index(name)].nan_to_num(-1)
    best = [i for i in row.topk(min(PARTNERS, len(row))).indices.tolist() if float(row[i]) >= 0]
    return tuple(
        Partner(
            composed.writers[i], float(row[i]), scores[composed.writers[i]]["previous_token"].value
        )
        for i in best
    )


def _patterns(
    model: Model, text: RepeatedTokens, heads: tuple[InductionHead, ...]
) -> AttentionPatterns | None:
    if not heads:
        return None
    ids = text.ids[0, : text.start + 2 * text.length].tolist()
    labels = [model.token_text(token) for token in ids]
    names = [heads[0].head, *(partner.head for partner in heads[0].partners)]
    return patterns_on(
        model, "".join(labels), ids, labels, [parse_head(name, model) for name in names]
    )
