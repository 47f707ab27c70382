"""The joint search: what every layer should write for every fact, sought together, in the running model.

    W_down.l ← W_down.l + R_l Q_l            Q_l [n, d_mlp]: orthonormal in C_l, with the same rows' span as the solver's Kᵀ C⁻¹

    min over R   mean −log P(new answer)                over wanted lines
               + kl · mean KL(before ‖ after)           over kept lines
               + text · mean KL(before ‖ after)         over text: the other facts, and everything else
               + decay · Σ_l ‖ΔC^½‖² / ‖W C^½‖²         what the change does to the layer's outputs, relative to them

ROME and MEMIT search a residual for one fact at one token, and hope that many of them get along. Here keys are fixed as there, by facts,
metric and layer, and the residuals are searched with all changes in place, so that facts, layers and text make room for each other. Keys are
those of the last subject token in the lower half of the layers, where subjects are enriched, and of the answering token in the upper half,
where subject and question meet: there an edit can tell the subject's relations apart. ‖ΔC^½‖ = ‖R‖, so a step is of the same size
in all directions that text uses equally.

`text` is found on the way: it grows while the text's KL is above `drift`, and falls below it.
Cost: `steps` forward and backward passes over at most `facts` · 2 · `lines` lines and `texts` texts. Memory: one batch, and the last stream at
every place that is kept, text's too.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import kl_div

from loci.editing.changes import Changes, making, undone
from loci.editing.lines import Line, LineSettings, lines_about, mean_reads
from loci.editing.solver import Covariance
from loci.editing.statistics import output_size
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model, by_length
from loci.model.hooks import Enough
from loci.patches import Factors
from loci.progress import Progress, silent

Moments = Mapping[int, Float[Tensor, "d_mlp d_mlp"]]
PartsOf = Callable[[Model, Sequence[Line], int, Moments, float, Mapping[str, Factors]], "dict[int, Part]"]
BUDGET = 4096
"""Tokens run at a time."""
SETTLED = 32
"""Lines of earlier edits in a step, or as many as facts."""
PACE = 1.03
"""By how much the text's weight changes from step to step."""


@dataclass(frozen=True)
class JointSettings(LineSettings):
    """How the joint search goes. All sizes are relative to the layers' own outputs."""

    contexts: int = 3
    steps: int = 45
    """steps of Adam over all facts once"""
    lr: float = 0.05
    """step size, in units of the layers' mean ‖W C^½‖ / √(d_model · n)"""
    kl: float = 2.0
    """weight of the kept lines"""
    text: float = 6.0
    """weight of the text to begin with"""
    drift: float = 0.015
    """KL on text, in nats, at which its weight stays as it is"""
    decay: float = 0.5
    """weight of the change's size"""
    ridge: float = 1.0
    """added to each C, in units of its mean diagonal"""
    facts: int = 128
    """most facts in a step"""
    lines: int = 2
    """most lines of each kind of a fact in a step"""
    texts: int = 96
    """most texts in a step; a few facts need fewer"""


class Joint(NamedTuple):
    """The changes, and what was measured on the way."""

    factors: dict[str, Factors]
    numbers: dict[str, Any]


def find_jointly(
    model: Model,
    facts: Sequence[Fact],
    moments: Moments,
    texts: Sequence[str],
    settings: JointSettings,
    parts_of: PartsOf,
    *,
    earlier: Sequence[Fact] = (),
    changed: Mapping[str, Factors] | None = None,
    progress: Progress = silent,
) -> Joint:
    """Changes of the down projections of the layers in `moments`. `texts` is what should stay, and the `earlier` edits.

    Text should stay as it was without what is `changed` already in down projections. Raises `EditError`.
    """
    lines = [line for own in lines_about(model, facts, settings) for line in own]
    changed = changed or {}
    parts = parts_of(model, lines, len(facts), moments, settings.ridge, changed)
    search = _Search(model, lines, _settled(model, earlier, settings), texts, parts, changed, settings)
    rounds = math.ceil(len(facts) / settings.facts)
    steps = settings.steps * rounds
    for step in range(steps):
        with model.frozen():
            search.step(min(1.0, (steps - step) / (0.4 * steps)))
        progress(1, steps)
    factors = {f"W_down.{layer}": Factors(part.R.detach().cpu(), part.Q.cpu()) for layer, part in parts.items()}
    change = {layer: float(part.R.detach().norm() / part.size) for layer, part in parts.items()}
    return Joint(factors, {"steps": steps, "output_change": change, **search.numbers()})


class Part(NamedTuple):
    """One layer's change R Q."""

    Q: Float[Tensor, "n d_mlp"]
    R: Float[Tensor, "d_model n"]
    size: float
    """‖W C^½‖: of the layer's outputs over text."""


def joint_parts(
    model: Model, lines: Sequence[Line], facts: int, moments: Moments, ridge: float, changed: Mapping[str, Factors]
) -> dict[int, Part]:
    """Rows in the span of the facts' keys and of earlier changes, which may have to give way; orthonormal in C = F Fᵀ."""
    keys = _keys(model, [line for line in lines if line.wanted], facts, list(moments))
    parts = {}
    for layer, C in moments.items():
        F = Covariance.of(C, ridge).factor
        white = [torch.linalg.solve_triangular(F, keys[layer].double().T, upper=False)]
        if f"W_down.{layer}" in changed:
            white.append((changed[f"W_down.{layer}"].right.double() @ F).T)
        basis = torch.linalg.qr(torch.cat(white, 1)).Q
        parts[layer] = _part(model, layer, C, torch.linalg.solve_triangular(F.T, basis, upper=True).T)
    return parts


def finetune_parts(
    model: Model, lines: Sequence[Line], facts: int, moments: Moments, ridge: float, changed: Mapping[str, Factors]
) -> dict[int, Part]:
    """All entries of the weights alike."""
    return {layer: _part(model, layer, C, torch.eye(len(C)) / C.diagonal().mean().sqrt()) for layer, C in moments.items()}


def _part(model: Model, layer: int, C: Tensor, Q: Tensor) -> Part:
    R = torch.zeros(model.d_model, len(Q), device=model.device, requires_grad=True)
    return Part(Q.float().to(model.device), R, output_size(model, layer, C))


def _settled(model: Model, earlier: Sequence[Fact], settings: JointSettings) -> list[Line]:
    """Lines on which the new answers of earlier edits are wanted again."""
    own = lines_about(model, earlier, replace(settings, essence=0)) if earlier else []
    return [line for lines in own for line in lines]


def _keys(model: Model, lines: Sequence[Line], facts: int, layers: Sequence[int]) -> dict[int, Float[Tensor, "fact d_mlp"]]:
    """Keys of each fact: at the subject below the middle of the model, at the answering token above."""
    lower: dict[bool, Callable[[Line], int]] = {True: lambda line: line.subject, False: lambda line: line.read[0]}
    reads = mean_reads(model, lines, facts, {f"mlp_act.{layer}": lower[2 * layer < model.n_layers] for layer in layers})
    return {layer: reads[f"mlp_act.{layer}"] for layer in layers}


def _length(line: Line) -> int:
    return len(line.ids)


class _Search:
    """The running search: what is drawn for a step, and how the text's weight follows its drift."""

    def __init__(
        self,
        model: Model,
        lines: Sequence[Line],
        settled: Sequence[Line],
        texts: Sequence[str],
        parts: dict[int, Part],
        changed: Mapping[str, Factors],
        settings: JointSettings,
    ) -> None:
        self.model, self.parts, self.settings = model, parts, settings
        self.settled, self.texts = settled, texts
        self.streams: dict[Line, Tensor] = {}
        self.undone = undone(model, changed)
        self.by_fact: dict[int, tuple[list[Line], list[Line]]] = {}
        for line in lines:
            self.by_fact.setdefault(line.fact, ([], []))[0 if line.wanted else 1].append(line)
        typical = sum(part.size for part in parts.values()) / len(parts)
        entries = model.d_model * max(part.R.shape[1] for part in parts.values())
        self.lr = settings.lr * typical / entries**0.5
        self.adam = torch.optim.Adam([part.R for part in parts.values()], lr=self.lr)
        self.random = random.Random(settings.seed)
        self.weight, self.seen = settings.text, {"wanted": 0.0, "kept": 0.0, "text": 0.0}

    def step(self, pace: float) -> None:
        """One step of Adam at a share of its pace."""
        settings = self.settings
        wanted, kept = self._drawn()
        drawn = self.random.sample(self.texts, min(len(self.texts), settings.texts, 16 + 2 * len(self.by_fact)))
        texts = [Line(-1, ids, 0, tuple(range(len(ids)))) for ids in (self.model.tokenize(text).ids for text in drawn)]
        as_is: Changes = {}
        terms = (("wanted", wanted, 1.0, as_is), ("kept", kept, settings.kl, as_is), ("text", texts, self.weight, self.undone))
        for kind, lines, weight, before in terms:
            self.seen[kind] = sum(
                self._backward(lines, batch, weight, before) for batch in by_length(lines, _length, BUDGET)
            ) / max(len(lines), 1)
        size = torch.stack([(part.R.norm() / part.size) ** 2 for part in self.parts.values()]).sum()
        (settings.decay * size).backward()
        if not math.isfinite(sum(self.seen.values())):
            raise EditError("the search diverged: a smaller lr, or fewer edits, may hold")
        self.adam.param_groups[0]["lr"] = self.lr * pace
        self.adam.step()
        self.adam.zero_grad()
        self.weight = min(100.0, max(1.0, self.weight * (PACE if self.seen["text"] > settings.drift else 1 / PACE)))

    def numbers(self) -> dict[str, Any]:
        return {"text_weight": self.weight, **{f"last_{kind}": value for kind, value in self.seen.items()}}

    def _drawn(self) -> tuple[list[Line], list[Line]]:
        facts = self.random.sample(list(self.by_fact), min(len(self.by_fact), self.settings.facts))
        wanted, kept = ([line for i in facts for line in self._some(self.by_fact[i][kind])] for kind in (0, 1))
        return wanted + self._some(self.settled, max(SETTLED, len(facts))), kept

    def _some(self, lines: Sequence[Line], most: int | None = None) -> list[Line]:
        return self.random.sample(lines, min(len(lines), most or self.settings.lines))

    @torch.enable_grad()
    def _backward(self, lines: Sequence[Line], batch: Sequence[int], weight: float, before: Changes) -> float:
        """Add the gradients of one batch of equally long lines; its sum of −log P or KL, each line with its mean.

        KL is to what the model says with the changes `before` in the place of the search's.
        """
        chosen = [lines[i] for i in batch]
        shares = torch.tensor([1 / len(line.read) for line in chosen for _ in line.read], device=self.model.device)
        after = self._said(self._streams(chosen, {layer: (part.Q, part.R) for layer, part in self.parts.items()}))
        if chosen[0].wanted:
            tokens = torch.tensor([token for line in chosen for token in line.wanted], device=after.device)
            each = -after.gather(-1, tokens[:, None])[:, 0]
        else:
            each = kl_div(after, self._said(self._remembered(chosen, before)), log_target=True, reduction="none").sum(-1)
        total = (each * shares).sum()
        (weight / len(lines) * total).backward()
        return total.item()

    @torch.no_grad()
    def _remembered(self, lines: Sequence[Line], before: Changes) -> Float[Tensor, "spot d_model"]:
        """The streams before the search, which are the same in every step."""
        new = [line for line in lines if line not in self.streams]
        if new:
            found = self._streams(new, before).split([len(line.read) for line in new])
            self.streams |= dict(zip(new, found, strict=True))
        return torch.cat([self.streams[line] for line in lines])

    def _streams(self, lines: Sequence[Line], changes: Changes) -> Float[Tensor, "spot d_model"]:
        """The last residual stream where equally long lines are read, with changes of down projections in place."""
        found: list[Tensor] = []

        def stop(resid: Tensor) -> None:
            found.append(resid)
            raise Enough

        with self.model.patched({**making(changes), f"resid_post.{self.model.n_layers - 1}": stop}), suppress(Enough):
            self.model(self.model.ids([line.ids for line in lines]))
        rows = [row for row, line in enumerate(lines) for _ in line.read]
        return found[0][rows, [p for line in lines for p in line.read]]

    def _said(self, streams: Float[Tensor, "spot d_model"]) -> Float[Tensor, "spot d_vocab"]:
        """Log-probabilities of the next token."""
        return self.model.unembed(streams).float().log_softmax(-1)
