"""Which layer to edit and what λ to take, tried on a few of the user's own facts.

    loss(layer, λ)   =  mean −log P(new answer)     over edit prompts that were not searched
                        + mean KL(before ‖ after)     over retain prompts
                        + mean KL(before ‖ after)     over text

All three are in nats a token or position, so no weight stands between them. Targets are searched
once a layer on every other edit prompt, the bare one among them; each λ is one more solve. The
facts are edited together, as they will be.

Of many layers a few are tried in full (`screened`): those where a short search of δ on the searched
prompts, with δ added at the subject itself, says most on the others. That needs no statistics of
the layer, no solve and no text. Published layers were found by sweeps of this kind, by hand, once
for each model (MEMIT, section 5; a trace does not tell them: Hase et al. 2023).
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.resources import files
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor

from loci.editing.objective import EditObjective, token_losses
from loci.editing.prompts import TrainingPrompt, subject_reads, training_prompts
from loci.editing.solver import Metric, response, solve
from loci.editing.targets import LEAN, find_targets, loss_with
from loci.editing.vocabulary import Vocabulary
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model, by_length
from loci.model.answers import BUDGET
from loci.patches import Patch
from loci.progress import Progress, silent
from loci.survey.drift import Drift
from loci.text import BackgroundText
from loci.text.background_text import first_texts

FACTS = 8
LAYERS = 12
"""Most layers that are tried, evenly spaced."""
LAMBDAS = {"memit": (0.01, 0.03, 0.1, 0.3, 1.0), "alphaedit": (0.01, 0.1, 1.0)}
TEXTS, TEXT_TOKENS = 32, 512
"""Texts on which a trial's drift is measured, and about how many tokens of them."""
FINALISTS = 3
"""Layers that are tried in full."""
SETTINGS = replace(LEAN, contexts=3, own=4)
SHORT = replace(SETTINGS, steps=8)
"""Of the short search."""


class Trial(NamedTuple):
    """One choice and its loss: infinite where the method refused."""

    layer: int
    lam: float
    """λ in units of the keys' mean response kᵀ M k."""
    loss: float


class Calibration(NamedTuple):
    """The best choice, and all that were tried."""

    best: Trial
    trials: tuple[Trial, ...]
    facts: int

    def to_dict(self) -> dict[str, Any]:
        return {
            "facts": self.facts,
            "trials": [
                {"layer": trial.layer, "slack": trial.lam, "loss": trial.loss}
                for trial in self.trials
                if trial.loss < float("inf")
            ],
        }


class Sample(NamedTuple):
    """Some of the facts, and the prompts of each by what they are for."""

    facts: list[Fact]
    searched: list[list[TrainingPrompt]]
    judged: list[list[TrainingPrompt]]
    """Edit prompts that are not searched."""
    kept: list[list[TrainingPrompt]]
    vocabulary: Vocabulary

    @classmethod
    def of(
        cls, model: Model, facts: Sequence[Fact], background: BackgroundText | None, seed: int
    ) -> "Sample":
        """At most `FACTS` facts. Cost: that of `training_prompts`."""
        chosen = random.Random(seed).sample(list(facts), min(FACTS, len(facts)))
        prompts = training_prompts(model, chosen, replace(SETTINGS, seed=seed), background)
        wanted = [[prompt for prompt in own if prompt.answer] for own in prompts]
        kept = [[prompt for prompt in own if not prompt.answer] for own in prompts]
        vocabulary = Vocabulary.of(model, [prompt for own in prompts for prompt in own])
        return cls(
            chosen, [own[::2] for own in wanted], [own[1::2] for own in wanted], kept, vocabulary
        )


def screened(
    model: Model, layers: Sequence[int], sample: Sample, most: int = FINALISTS
) -> dict[int, float]:
    """The layers to try in full, with their losses: mean −log P(new answer) + mean KL over prompts
    that were not searched, δ in place.

    All of them, without a loss, where there are no more than `most`. Cost: for each layer a short
    search. Raises `EditError` where every layer is refused.
    """
    if len(layers) <= most:
        return dict.fromkeys(layers, 0.0)
    losses, reason = dict[int, float](), ""
    rest = [a + b for a, b in zip(sample.judged, sample.kept, strict=True)]
    rest = [own or searched for own, searched in zip(rest, sample.searched, strict=True)]
    for layer in layers:
        try:
            targets = find_targets(
                model, sample.facts, layer, SHORT, sample.searched, sample.vocabulary
            )
            losses[layer] = loss_with(model, rest, layer, targets, sample.vocabulary)
        except EditError as error:
            reason = str(error)
    if not losses:
        raise EditError(f"every layer is refused: {reason}")
    return {layer: losses[layer] for layer in sorted(sorted(losses, key=losses.__getitem__)[:most])}


def is_embedded(model: Model) -> bool:
    """Whether these are the embedded model's weights: `default_layer` is what calibration finds for
    it.
    """
    card = files("loci.demo").joinpath("card.json").read_text(encoding="utf-8")
    return bool(json.loads(card)["fingerprint"] == model.fingerprint)


def candidates(model: Model) -> list[int]:
    """Layers to try."""
    count = min(LAYERS, model.n_layers)
    return [round(i * (model.n_layers - 1) / max(1, count - 1)) for i in range(count)]


def calibrate(
    model: Model,
    facts: Sequence[Fact],
    method: str,
    metrics: Mapping[int, Metric],
    texts: Sequence[str],
    *,
    sample: Sample | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Calibration:
    """Try the layers in `metrics`, on a `sample` of the facts, or one that is drawn. Cost: for each
    layer a search of at most `FACTS` facts.

    Raises `EditError` where every layer is refused.
    """
    sample = sample or Sample.of(model, facts, None, seed)
    chosen, searched, kept = sample.facts, sample.searched, sample.kept
    judged = [prompt for own in (*sample.judged, *kept) for prompt in own]
    before, drift = (
        said(model, judged),
        Drift(model, first_texts(model, texts[:TEXTS], TEXT_TOKENS, page=1)),
    )
    trials: list[Trial] = []
    reason = ""
    for layer, metric in metrics.items():
        try:
            both = [a + b for a, b in zip(searched, kept, strict=True)]
            targets = find_targets(model, chosen, layer, SETTINGS, both, sample.vocabulary)
            K, _ = subject_reads(model, searched, layer, layer)
            R = torch.stack([target.delta for target in targets], 1).cpu()
            for lam in LAMBDAS.get(method, (0.0,)):
                factors = {
                    f"W_down.{layer}": solve(metric, K, R, lam * response(metric, K)).factors
                }
                with Patch(method, model.fingerprint, model.name, factors, ()).applied(model):
                    trials.append(
                        Trial(
                            layer,
                            lam,
                            loss(judged, before, said(model, judged), fmean(drift.now().kl)),
                        )
                    )
        except EditError as error:
            reason = str(error)
        progress(1, len(metrics))
    if not trials:
        raise EditError(f"{method} is refused at every layer: {reason}")
    return Calibration(min(trials, key=lambda trial: trial.loss), tuple(trials), len(chosen))


@torch.no_grad()
def said(model: Model, prompts: Sequence[TrainingPrompt]) -> list[Tensor]:
    """Log-probabilities of the next token at the positions of each prompt that are read: [position,
    d_vocab], on the CPU.
    """
    found = [torch.empty(0)] * len(prompts)
    for batch in by_length(
        prompts, lambda prompt: len(prompt.ids), min(BUDGET, model.rows_at_once)
    ):
        logits = model(model.ids([prompts[i].ids for i in batch]))
        for row, i in enumerate(batch):
            found[i] = logits[row, list(prompts[i].positions)].float().log_softmax(-1).cpu()
    return found


def loss(
    prompts: Sequence[TrainingPrompt],
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    text: float = 0.0,
) -> float:
    """The objective, from log-probabilities at the prompts' positions and the KL on text."""
    terms = dict[str, list[float]]()
    for prompt, meant, now in zip(prompts, before, after, strict=True):
        tokens = torch.tensor(prompt.answer or [-1] * len(prompt.positions))
        losses = token_losses(now, tokens, meant[tokens < 0])
        terms.setdefault("edit" if prompt.answer else "retain", []).append(float(losses.mean()))
    means = {term: fmean(values) for term, values in terms.items()}
    return EditObjective(text=1.0)(**means, text=text)
