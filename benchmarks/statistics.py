"""How much text an edit's statistics need: the same targets written with C from more and more
tokens.

    python -m benchmarks.statistics [--edits 48] [--layer 0]

Keys and targets are searched once; only the metric differs. `condition` is that of C with its
ridge. Seconds are of the pass over the text.
"""

import argparse
import time

import torch

from loci.auditing import audit, counterfactuals
from loci.editing import LEAN, Covariance, find_targets, key_moments, solve, training_prompts
from loci.editing.prompts import subject_reads
from loci.facts import known_facts
from loci.model import open_model
from loci.patches import Patch
from loci.text import sample_text

PER_NEURON = (0.25, 1, 2, 5, 20, 100)
SHOWN = ("efficacy", "paraphrase", "specificity", "same_subject", "drift_kl")


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--edits", type=int, default=48)
    asked.add_argument("--layer", type=int, default=0)
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    model, layer = open_model("demo"), options.layer
    facts = counterfactuals(known_facts(), options.edits, options.seed)
    prompts = training_prompts(model, facts, LEAN)
    R = torch.stack(
        [target.delta for target in find_targets(model, facts, layer, LEAN, prompts)], 1
    )
    K, _ = subject_reads(
        model, [[prompt for prompt in own if prompt.answer] for own in prompts], layer, layer
    )
    print(
        f"{'tokens':>9} {'a neuron':>9} {'seconds':>8} {'condition':>10}  "
        + "  ".join(f"{name:>12}" for name in SHOWN)
    )
    for share in PER_NEURON:
        tokens = int(share * model.d_mlp)
        start = time.perf_counter()
        metric = Covariance.of(key_moments(model, [layer], texts=sample_text(model, tokens))[layer])
        seconds = time.perf_counter() - start
        condition = float(torch.linalg.cond(metric.factor)) ** 2
        factors = {f"W_down.{layer}": solve(metric, K, R).factors}
        card = audit(
            model,
            Patch("emmet", model.fingerprint, model.name, factors, tuple(facts)),
            known_facts(),
            controls=(),
        )
        scores = "  ".join(f"{card.metrics[name].value:12.4f}" for name in SHOWN)
        print(f"{tokens:9,} {share:9g} {seconds:8.1f} {condition:10.1e}  {scores}", flush=True)


if __name__ == "__main__":
    main()
