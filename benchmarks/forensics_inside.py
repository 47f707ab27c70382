"""Single ROME edits told without the base, and innocent changes that must not be accused.

    python -m benchmarks.forensics_inside --edits 16                            the embedded model
    python -m benchmarks.forensics_inside --model FOLDER --facts wished.jsonl --edits 50

Each edit is made by the published procedure (`published_editors.value_for`, without prefixes) at a
layer that is drawn, on the untouched model, and undone again. Second moments are those of the
untouched model: one edit of one layer hardly moves them.

    said    of the edits, those whose new answer is said; only these are judged
    layer   the edited layer stands out most      seen   and it does so by more than the threshold
    back    with the undo of that layer on, the old answer is said again
    miss    ‖Δ̂ − Δ‖ / ‖Δ‖ at the edited layer
"""

import argparse
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.published_editors import prompts_of, reads, value_for
from loci.auditing import counterfactuals
from loci.auditing.forensics.edit_traces import SEEN, TOKENS_PER_NEURON, standing
from loci.auditing.forensics.written_direction import Whitening, written_direction
from loci.editing import key_moments
from loci.facts import Fact, known_facts, load_facts
from loci.model import Model, open_model, score_answers
from loci.stats import share
from loci.text import sample_text


def rounded(bits: int) -> Callable[[Tensor], Tensor]:
    """Symmetric rounding in blocks of 32, as Q8_0 does it."""

    def change(W: Tensor) -> Tensor:
        blocks = W.float().reshape(-1, 32)
        step = blocks.abs().amax(1, keepdim=True).clamp(min=1e-12) / (2 ** (bits - 1) - 1)
        return ((blocks / step).round() * step).reshape(W.shape)

    return change


INNOCENT: dict[str, Callable[[Tensor], Tensor]] = {
    "untouched": lambda W: W,
    "bfloat16": lambda W: W.bfloat16().float(),
    **{f"{bits} bits": rounded(bits) for bits in (8, 4, 3)},
}


def edited(model: Model, fact: Fact, layer: int, C: Tensor) -> tuple[Tensor, Tensor]:
    """Δ = r vᵀ of one edit."""
    prompts = prompts_of(model, fact, ())
    with model.frozen():
        r = value_for(model, fact, prompts, layer, block=False, steps=20, clamp=4.0)
        k = reads(model, [prompts], layer, layer)[0]
    ridge = 1e-6 * C.diagonal().mean() * torch.eye(len(C), dtype=C.dtype)
    u = torch.linalg.solve(C + ridge, k)
    return r, (u / (k * u).sum())[:, 0].float()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="demo")
    parser.add_argument("--facts", type=Path, help="known facts with new answers")
    parser.add_argument("--edits", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    model, rng = open_model(given.model), random.Random(given.seed)
    wished = (
        load_facts(given.facts).sample(given.edits, given.seed)
        if given.facts
        else counterfactuals(known_facts(), given.edits, given.seed)
    )
    layers = list(range(model.n_layers))
    moments = key_moments(model, layers, texts=sample_text(model, TOKENS_PER_NEURON * model.d_mlp))
    keys = {layer: Whitening.of(C) for layer, C in moments.items()}
    for name, change in INNOCENT.items():
        first, *_ = standing(
            [written_direction(change(model.W_down(i)), keys[i], i) for i in layers]
        )
        print(f"{name}: z {first.z:.1f} at layer {first.layer}", flush=True)
    base = {i: written_direction(model.W_down(i), keys[i], i) for i in layers}
    hits: dict[str, list[float]] = {"layer": [], "seen": [], "back": []}
    for fact in wished:
        layer = rng.randrange(2 * model.n_layers // 3)
        left, right = edited(model, fact, layer, moments[layer].double())
        W = model.weight(f"W_down.{layer}")
        before = W.clone()
        with torch.no_grad():
            W += torch.outer(left, right)
        if score_answers(model, [(fact.text, fact.new_answer or "")])[0].said:
            own = written_direction(W, keys[layer], layer)
            first, *_ = standing([*(base[i] for i in layers if i != layer), own])
            change = torch.outer(left, right)
            miss = float((own.delta.float() - change).norm() / change.norm())
            with torch.no_grad():
                W -= own.delta.float()
            right_layer = first.layer == layer
            back = score_answers(model, [(fact.text, fact.answer)])[0].said and right_layer
            for name, hit in zip(
                hits, (right_layer, right_layer and first.z >= SEEN, back), strict=True
            ):
                hits[name].append(float(hit))
            print(f"layer {layer}: z {first.z:.1f} at {first.layer}, miss {miss:.2f}, back {back}")
        with torch.no_grad():
            W.copy_(before)
    print({name: str(share(own)) for name, own in hits.items()}, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
