"""Is a dictionary any good? Reconstruction, what the model loses with it, and whether its features
mean facts.

    found = loci.dictionaries.judge(model, dictionary)
    found.fit.fvu, found.recovered.ce_recovered, found.labels["features"].clean

Beside the features stand what costs nothing: the neurons of the same layer, random directions and
principal components at the same place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cosine_similarity

from loci.dictionaries.activations import read_rows
from loci.dictionaries.conventions import OpenedDictionary, dictionary_of
from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.fact_labels import (
    POSITIONS,
    LabelledFacts,
    UnitLabels,
    label_facts,
    score_units,
)
from loci.dictionaries.measures import Fit, fit
from loci.dictionaries.splicing import Recovered, recovered
from loci.facts import Fact, known_facts
from loci.linalg import symmetric_eigen
from loci.model import Model
from loci.progress import Progress, silent
from loci.result import About, Result
from loci.tables import Table, columns
from loci.text import sample_text

TOKENS, FACTS = 20_000, 3000


@dataclass(frozen=True)
class DictionaryJudgement(Result):
    """Scores of a dictionary on a model: reconstruction, sparsity, and the loss that the model
    recovers.
    """

    about: ClassVar[About] = About(
        "a dictionary's scores",
        "What does the model lose when it runs on the reconstruction?",
        "Recovered loss is between ablation (0) and the model itself (1).",
    )

    dictionary: Dictionary
    model: str
    fit: Fit
    recovered: Recovered
    labels: dict[str, UnitLabels]
    """Of features, and of what stands beside them; empty where no facts were asked."""
    facts: int

    def title(self) -> str:
        own = self.dictionary
        return f"{own.features:,} features of {own.point} in {self.model}"

    def summary(self) -> tuple[str, ...]:
        fit = self.fit
        return (
            f"FVU {fit.fvu:.3f} · L0 {fit.l0:.1f} · dead {1 - fit.alive:.1%} of {fit.tokens:,}"
            f" tokens · ‖ŷ‖/‖y‖ {fit.ratio:.2f} · cosine {fit.cosine:.3f}",
        )

    def tables(self) -> tuple[Table, ...]:
        lost = self.recovered
        rows = tuple(
            (
                name,
                lost.ce_recovered[name],
                lost.kl_recovered[name],
                lost.ce,
                lost.ce_spliced,
                getattr(lost, f"ce_{name}"),
            )
            for name in ("zero", "mean")
        )
        shares = ("CE recovered|.1%", "KL recovered|.1%", "CE|.4f", "spliced|.4f", "ablated|.4f")
        return (Table("Loss", columns("ablation", *shares), rows), *self._labels())

    def _labels(self) -> tuple[Table, ...]:
        if not self.labels:
            return ()
        rows = tuple(
            (
                name,
                own.units,
                own.clean,
                own.shuffled_clean,
                own.covered,
                own.shuffled_covered,
                own.auc,
                own.f1,
            )
            for name, own in self.labels.items()
        )
        shares = ("clean label|.1%", "shuffled|.1%", "labels found|.1%", "shuffled|.1%")
        best = self.labels["features"]
        return (
            Table(
                "Labels",
                columns("what", "units", *shares, "mean AUC|.3f", "mean F1|.3f"),
                rows,
                note=f"{best.labels} labels from {self.facts:,} facts; clean: F1 of 0.8 on held-out"
                " facts",
            ),
            Table(
                "The clearest features",
                columns("feature", "label", "F1|.2f", "AUC|.3f"),
                tuple((f"feature {unit}", label, f1, auc) for unit, label, auc, f1 in best.best),
                shown=10,
            ),
        )

    def to_dict(self) -> dict[str, Any]:
        d, f = self.dictionary, self.fit
        labels: dict[str, Any] = {}
        if "features" in self.labels:
            own = self.labels["features"]
            others = {name: each.to_dict() for name, each in self.labels.items()}
            labels = {"clean": own.clean.value, "n": own.labels, "facts": self.facts, **others}
        return {
            "schema": "loci.dictionary_judgement/1",
            "model": self.model,
            "point": d.point,
            "target": d.target,
            "features": d.features,
            "k": d.k,
            "fvu": f.fvu,
            "l0": f.l0,
            "dead": 1 - f.alive,
            "tokens": f.tokens,
            "ce_recovered": self.recovered.ce_recovered["zero"],
            "ablation": "zero",
            "recovered": self.recovered.to_dict(),
            "labels": labels,
            "saebench": saebench(d, f, self.recovered),
        }


def judge(
    model: Model,
    dictionary: Dictionary | OpenedDictionary,
    *,
    texts: Sequence[str] | None = None,
    facts: Sequence[Fact] | None = None,
    tokens: int = TOKENS,
    most_facts: int = FACTS,
    seed: int = 0,
    progress: Progress = silent,
) -> DictionaryJudgement:
    """Judge a dictionary whose point and target are known (as `open_dictionary` leaves it).

    Args:
        texts: what reconstruction and losses are measured on; by default the embedded text.
        facts: what labels are made of; by default those of the embedded model. An empty list: no
            labels.
        tokens: of the embedded text, where no texts are given.
        most_facts: at most so many facts, evenly spread.

    Cost: four passes over the texts, one over the facts' prompts.
    """
    d = dictionary_of(dictionary)
    assert d.point is not None
    target = d.target or d.point
    chosen = sample_text(model, tokens) if texts is None else list(texts)
    rows = read_rows(model, chosen, [d.point, target])
    scores = fit(d, rows.values[d.point], rows.values[target])
    lost = recovered(model, [d], chosen, {target: rows.values[target].mean(0)}, progress=progress)
    asked = list(known_facts() if facts is None else facts)
    asked = asked[:: max(1, -(-len(asked) // most_facts))]
    labels = {} if not asked else _labelled(model, d, asked, rows.values[d.point], seed)
    return DictionaryJudgement(d, model.name, scores, lost, labels, len(asked))


def _labelled(
    model: Model, d: Dictionary, facts: Sequence[Fact], x: Tensor, seed: int
) -> dict[str, UnitLabels]:
    """Features, neurons, random directions and principal components against the same labels."""
    assert d.point is not None
    layer = d.point.partition(".")[2]
    neurons = f"mlp_act.{layer}" if layer and not model.n_experts else None
    known = label_facts(
        model, facts, [d.point, *([neurons] if neurons and neurons != d.point else [])], seed=seed
    )
    bases = {"features": {at: d.encode(known.values[d.point][at]) for at in POSITIONS}}
    if neurons:
        bases["neurons"] = known.values[neurons]
    count = len(bases["neurons"]["end"][0]) if neurons else d.features
    random = torch.randn(d.d_in, count, generator=torch.Generator().manual_seed(seed))
    bases["random directions"] = _projected(known, d.point, random)
    components = principal(x)
    bases["principal components"] = _projected(
        known, d.point, torch.cat([components, -components], 1)
    )
    return {name: score_units(known, units, seed=seed) for name, units in bases.items()}


def _projected(known: LabelledFacts, point: str, directions: Tensor) -> dict[str, Tensor]:
    return {at: known.values[point][at] @ directions for at in POSITIONS}


def principal(x: Float[Tensor, "token width"]) -> Float[Tensor, "width component"]:
    """The principal components of vectors, orthonormal columns."""
    wide = x.double() - x.double().mean(0)
    return symmetric_eigen(wide.T @ wide / len(x), "the covariance of activations").vectors.float()


def saebench(d: Dictionary, scores: Fit, lost: Recovered) -> dict[str, Any]:
    """The core numbers under SAEBench's names (0.6); ablation there is zero ablation."""
    density = scores.density
    encoder_decoder = d.d_in == d.d_out
    cosines = (
        cosine_similarity(d.W_enc, d.W_dec, dim=1)
        if encoder_decoder
        else torch.full((d.features,), float("nan"))
    )
    nearest = {name: _nearest(getattr(d, name)) for name in ("W_enc", "W_dec")}
    return {
        "model_behavior_preservation": {
            "kl_div_score": lost.kl_recovered["zero"],
            "kl_div_with_ablation": lost.kl_zero,
            "kl_div_with_sae": lost.kl_spliced,
        },
        "model_performance_preservation": {
            "ce_loss_score": lost.ce_recovered["zero"],
            "ce_loss_with_ablation": lost.ce_zero,
            "ce_loss_with_sae": lost.ce_spliced,
            "ce_loss_without_sae": lost.ce,
        },
        "reconstruction_quality": {
            "explained_variance": 1 - scores.fvu,
            "mse": scores.mse,
            "cossim": scores.cosine,
        },
        "shrinkage": {"l2_ratio": scores.ratio},
        "sparsity": {"l0": scores.l0, "l1": scores.l1},
        "token_stats": {
            "total_tokens_eval_reconstruction": lost.tokens,
            "total_tokens_eval_sparsity_variance": scores.tokens,
        },
        "misc_metrics": {
            "freq_over_1_percent": float((density > 0.01).float().mean()),
            "freq_over_10_percent": float((density > 0.1).float().mean()),
            "average_max_encoder_cosine_sim": float(nearest["W_enc"].mean()),
            "average_max_decoder_cosine_sim": float(nearest["W_dec"].mean()),
            "average_encoder_decoder_cosine_sim": float(cosines.mean()),
            "frac_alive": scores.alive,
        },
    }


def _nearest(rows: Float[Tensor, "features width"]) -> Float[Tensor, " features"]:
    """Each row's largest cosine with another."""
    unit = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)
    largest = []
    for start in range(0, len(unit), 2048):
        cosines = unit[start : start + 2048] @ unit.T
        cosines[torch.arange(len(cosines)), torch.arange(start, start + len(cosines))] = -1
        largest.append(cosines.max(1).values)
    return torch.cat(largest)
