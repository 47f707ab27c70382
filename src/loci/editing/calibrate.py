"""Which layer to edit and how much slack to leave, tried on a few of the user's own facts.

    loss(layer, slack) =  mean −log P(new answer)     over wanted lines that were not searched
                        + mean KL(before ‖ after)     over kept lines
                        + mean KL(before ‖ after)     over text

All three are in nats a token or position, so no weight stands between them. Targets are searched once a layer on every other wanted line, the
prompt among them; each slack is one more solve. The facts are edited together, as they will be.
Published layers were found by sweeps of this kind, by hand, once for each model (MEMIT, section 5; a trace does not tell them: Hase et al. 2023).
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
from torch.nn.functional import kl_div

from loci.editing.lines import Line, lines_about
from loci.editing.solver import Metric, response, solve
from loci.editing.targets import LEAN, find_targets, subject_reads
from loci.errors import EditError
from loci.facts import Fact
from loci.model import Model, by_length
from loci.model.answers import BUDGET
from loci.patches import Patch
from loci.progress import Progress, silent
from loci.survey.drift import Drift
from loci.text import BackgroundText

FACTS = 8
LAYERS = 12
"""Most layers that are tried, evenly spaced."""
SLACKS = {"memit": (0.01, 0.03, 0.1, 0.3, 1.0), "alphaedit": (0.01, 0.1, 1.0)}
TEXTS = 32
SETTINGS = replace(LEAN, contexts=3, own=4)


class Trial(NamedTuple):
    """One choice and its loss: infinite where the method refused."""

    layer: int
    slack: float
    loss: float


class Calibration(NamedTuple):
    """The best choice, and all that were tried."""

    best: Trial
    trials: tuple[Trial, ...]
    facts: int

    def to_dict(self) -> dict[str, Any]:
        return {"facts": self.facts, "trials": [trial._asdict() for trial in self.trials if trial.loss < float("inf")]}


def is_embedded(model: Model) -> bool:
    """Whether these are the embedded model's weights: `default_layer` is what calibration finds for it."""
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
    background: BackgroundText | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Calibration:
    """Try the layers in `metrics`; `background` is where the prefixes of prompts come from. Cost: for each a search of at most `FACTS` facts. Raises `EditError` where every layer is refused."""
    chosen = random.Random(seed).sample(list(facts), min(FACTS, len(facts)))
    lines = lines_about(model, chosen, replace(SETTINGS, seed=seed), background)
    wanted = [[line for line in own if line.wanted] for own in lines]
    kept = [[line for line in own if not line.wanted] for own in lines]
    searched = [own[::2] for own in wanted]
    judged = [line for own in wanted for line in own[1::2]] + [line for own in kept for line in own]
    before, drift = said(model, judged), Drift(model, texts[:TEXTS])
    trials: list[Trial] = []
    reason = ""
    for layer, metric in metrics.items():
        try:
            targets = find_targets(model, chosen, layer, SETTINGS, [a + b for a, b in zip(searched, kept, strict=True)])
            K, _ = subject_reads(model, searched, layer, layer)
            R = torch.stack([target.delta for target in targets], 1).cpu()
            for slack in SLACKS.get(method, (0.0,)):
                factors = {f"W_down.{layer}": solve(metric, K, R, slack * response(metric, K)).factors}
                with Patch(method, model.fingerprint, model.name, factors, ()).applied(model):
                    trials.append(Trial(layer, slack, loss(judged, before, said(model, judged)) + fmean(drift.now().kl)))
        except EditError as error:
            reason = str(error)
        progress(1, len(metrics))
    if not trials:
        raise EditError(f"{method} is refused at every layer: {reason}")
    return Calibration(min(trials, key=lambda trial: trial.loss), tuple(trials), len(chosen))


@torch.no_grad()
def said(model: Model, lines: Sequence[Line]) -> list[Tensor]:
    """Log-probabilities of the next token at the positions of each line that are read: [position, d_vocab], on the CPU."""
    found = [torch.empty(0)] * len(lines)
    for batch in by_length(lines, lambda line: len(line.ids), min(BUDGET, model.rows_at_once)):
        logits = model(model.ids([lines[i].ids for i in batch]))
        for row, i in enumerate(batch):
            found[i] = logits[row, list(lines[i].read)].float().log_softmax(-1).cpu()
    return found


def loss(lines: Sequence[Line], before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """The means over wanted and over kept lines, summed."""
    wanted: list[float] = []
    kept: list[float] = []
    for line, meant, now in zip(lines, before, after, strict=True):
        if line.wanted:
            wanted.append(float(-now[range(len(line.wanted)), list(line.wanted)].mean()))
        else:
            kept.append(float(kl_div(now, meant, log_target=True, reduction="none").sum(-1).mean()))
    return sum(fmean(values) for values in (wanted, kept) if values)
