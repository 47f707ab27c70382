"""The grid of a causal trace, estimated by gradients, and how far it may be trusted.

    effect (layer, token) ≈ (clean state − corrupted state) · ∂P(answer) / ∂state

"gradient" takes the derivative in the corrupted run (attribution patching): one run forward and
back for all cells. "integrated" takes its mean over `steps` runs whose subject embeddings lie on
the line from corrupted to clean. Both are linear where tracing is exact, so they come with their
rank correlation to exact tracing over the cells from the subject on: believe a ranking where that
is near 1. Sources: Nanda 2023 (attribution patching); Hanna et al. 2024 (EAP-IG); Sundararajan et
al. 2017.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from loci.errors import FactError
from loci.facts import Fact, Span
from loci.locating.asking import probability
from loci.locating.corruption import Corruption, How
from loci.locating.patched_runs import BATCH_TOKENS
from loci.locating.runs import KINDS, POINT, Kind, Runs, Traced, prepare
from loci.locating.trace_words import effect_tables
from loci.model import Edit, Model
from loci.model.given import fact_given
from loci.progress import Progress, silent
from loci.result import About, Grade, graded
from loci.stats import rank_correlation, spelt
from loci.tables import Table, columns

Method = Literal["gradient", "integrated"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, kw_only=True)
class Attribution(Traced):
    """Estimated effects by kind, [layer, token], beside the exact ones where those were asked
    for.
    """

    about: ClassVar[About] = About(
        "an estimated trace",
        "The effects of putting clean states back, estimated by gradients instead of "
        "run one by one.",
        "Rows are tokens (* the subject), columns are layers; the darker the blue, the "
        "more of P(answer) that one clean state brings back.",
        "trace.attribution_figure",
    )

    tokens: tuple[str, ...]
    subject_span: Span
    method: Method
    steps: int
    grids: dict[str, Float[Tensor, "layer token"]]
    exact: dict[str, Float[Tensor, "layer token"]]

    @property
    def agreement(self) -> dict[str, float]:
        """Rank correlation (Spearman) of estimate and exact effect, by kind, over the cells from
        the subject on.
        """
        first = self.subject_span[0]
        return {
            kind: rank_correlation(
                self.grids[kind][:, first:].flatten().tolist(), exact[:, first:].flatten().tolist()
            )
            for kind, exact in self.exact.items()
        }

    def summary(self) -> tuple[str, ...]:
        if not self.agreement:
            return ("The estimate was not compared with exact tracing.",)
        agreement = ", ".join(f"{kind} {spelt(rho, '.2f')}" for kind, rho in self.agreement.items())
        return (f"Rank correlation of the estimate with exact tracing: {agreement}.",)

    def grade(self) -> Grade:
        return graded(min(self.agreement.values()), 0.8, 0.5) if self.agreement else ""

    def title(self) -> str:
        method = "gradients" if self.method == "gradient" else f"{self.method} gradients"
        return f"{self.prompt} → {self.answer}, effects estimated by {method}"

    def tables(self) -> tuple[Table, ...]:
        agreement = tuple(self.agreement.items())
        shown = columns("kind", "rank correlation to exact tracing|+.2f")
        return (
            *effect_tables(self.grids, self.tokens, self.subject_span),
            *([Table("Agreement", shown, agreement)] if agreement else []),
        )

    def to_dict(self) -> dict[str, Any]:
        plain = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("grids", "exact")
        }
        grids = {
            side: {kind: grid.tolist() for kind, grid in getattr(self, side).items()}
            for side in ("grids", "exact")
        }
        lists = {"tokens": list(self.tokens), "subject_span": list(self.subject_span)}
        return {
            "schema": "loci.attribution/1",
            **plain,
            **lists,
            **grids,
            "agreement": self.agreement,
        }


@torch.no_grad()
def attribute(
    model: Model,
    fact: Fact | str,
    *,
    method: Method = "integrated",
    steps: int = 8,
    compare: bool = True,
    samples: int = 10,
    noise: float = 3.0,
    corruption: How = "noise",
    seed: int = 0,
    budget: int = BATCH_TOKENS,
    progress: Progress = silent,
) -> Attribution:
    """Estimate the effects of all states, MLPs and attentions; with `compare`, trace them exactly
    too.

        loci.attribute(model, "Michael Jordan plays the sport of").agreement

    Cost: one run forward and back, or `steps` of them, and a trace where compared. Raises
    `FactError`, `ModelError`.
    """
    if method not in METHODS or steps < 1:
        raise FactError(
            f"attribution is by {' or '.join(METHODS)} with at least one step, not {method!r} with"
            f" {steps}"
        )
    fact = fact_given(model, fact)
    runs = prepare(model, fact, Corruption(corruption, noise, samples, seed), 1, budget)
    alphas = [0.0] if method == "gradient" else [(step + 0.5) / steps for step in range(steps)]
    slopes: dict[str, Tensor] = {}
    for alpha in alphas:
        for name, slope in _slopes(runs, alpha).items():
            slopes[name] = slopes.get(name, 0) + slope / len(alphas)
        progress(1, len(alphas))
    return Attribution(
        **runs.about,
        tokens=runs.asked.labels,
        subject_span=runs.asked.subject,
        method=method,
        steps=len(alphas),
        grids={kind: _grid(runs, kind, slopes) for kind in KINDS},
        exact=runs.grids(KINDS) if compare else {},
    )


def _grid(runs: Runs, kind: Kind, slopes: dict[str, Tensor]) -> Float[Tensor, "layer token"]:
    """(clean − corrupted) · slope, summed over the draws."""
    rows = []
    for layer in range(runs.model.n_layers):
        name = f"{POINT[kind]}.{layer}"
        step = (runs.clean_states[name] - runs.corrupted_states[name]).float()
        rows.append((step * slopes[name].float()).sum((0, -1))[: len(runs.asked.labels)].cpu())
    return torch.stack(rows)


@torch.enable_grad()
def _slopes(runs: Runs, alpha: float) -> dict[str, Float[Tensor, "draw position d_model"]]:
    """∂P(answer) / ∂ every state, with the subject's embeddings at `alpha` of the way from
    corrupted to clean.
    """
    nodes: dict[str, Tensor] = {}

    def node(name: str) -> Edit:
        def keep(state: Tensor) -> Tensor:
            nodes[name] = state.clone()
            return nodes[name]

        return keep

    def between(embed: Tensor) -> Tensor:
        hidden = runs.hide(embed)
        assert hidden is not None
        return (hidden + alpha * (embed - hidden)).detach().requires_grad_()

    names = runs.model.names(*POINT.values())
    with runs.model.patched({"embed": between, **{name: node(name) for name in names}}):
        logits = runs.model(runs.asked.ids.expand(runs.draws, -1), last=len(runs.asked.targets))
    slopes = torch.autograd.grad(
        probability(logits, runs.asked.targets), [nodes[name] for name in names]
    )
    return dict(zip(names, slopes, strict=True))
