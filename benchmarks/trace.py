"""Tracing batched over cells and replayed, against a plain loop: one hooked full forward for each
cell, as the published code does.

    python -m benchmarks.trace [--runs N]

Same model, same draws, same grids, in one process. The plain loop is the published procedure on
plain Hugging Face: for each cell one forward of the clean row and the corrupted ones, in which a
hook copies the clean row's state to the others. Printed beside the ratio: the largest difference of
the grids; the FLOP floor (those the grid needs: for each cell the positions from its token on, in
the blocks above its layer, the last block at the position read alone) as a share of what the
machine's plain matrix product does in that time; and how far the process grew, in a process of its
own, at several bounds of a batch.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from typing import TypeVar

import torch
from torch import Tensor
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from loci.facts import Fact
from loci.locating import KINDS, Corruption, trace
from loci.locating.runs import POINT, prepare
from loci.model import Model, census, open_model

FACTS = (
    Fact("Michael Jordan", "{} plays the sport of", "basketball"),
    Fact("Eiffel Tower", "The {} stands in the city of", "Paris"),
    Fact("Osaka", "{} is a city in the country of", "Japan"),
)
SAMPLES = 10
T = TypeVar("T")


@torch.no_grad()
def plain(model: Model, fact: Fact) -> dict[str, Tensor]:
    """The grids by one full forward a cell: row 0 is clean, and its states are copied to the
    corrupted rows.
    """
    tokens = model.tokenize(f"{fact.text} {fact.answer}")
    length = len(model.tokenize(fact.text))
    ids, answer = model.ids([tokens.ids[:-1]]).expand(1 + SAMPLES, -1), tokens.ids[length:]
    hide = Corruption(samples=SAMPLES).edit(model, fact, tokens.span(fact.subject_span))

    def corrupt(embed: Tensor) -> Tensor:
        return torch.cat([embed[:1], hide(embed[1:])])

    def p() -> float:
        logprobs = model.hf(input_ids=ids, use_cache=False).logits[1:, length - 1 :].log_softmax(-1)
        return float(sum(logprobs[:, k, token] for k, token in enumerate(answer)).exp().mean())

    with model.patched({"embed": corrupt}):
        low = p()
    grids = {kind: torch.zeros(model.n_layers, length) for kind in KINDS}
    for kind in KINDS:
        for layer in range(model.n_layers):
            for token in range(length):

                def put(state: Tensor, token: int = token) -> Tensor:
                    state = state.clone()
                    state[1:, token] = state[0, token]
                    return state

                with model.patched({"embed": corrupt, f"{POINT[kind]}.{layer}": put}):
                    grids[kind][layer, token] = p() - low
    return grids


def floor_flops(model: Model, fact: Fact) -> float:
    """FLOPs that the grids need, of matrices with weights alone: attention's own products are left
    out.
    """
    counted, n_layers = census(model), model.n_layers
    block = 2 * (counted.parts["attention"] + counted.parts["mlp"]) / n_layers
    keys = 2 * (model.W_K(0, expand=False).numel() + model.W_V(0, expand=False).numel())
    length, read = (
        len(model.tokenize(fact.text)),
        len(model.tokenize(f"{fact.text} {fact.answer}")) - 1,
    )
    answer, total = read - length + 1, 0.0
    for token in range(model.tokenize(fact.text).span(fact.subject_span)[0], length):
        asking = read - token
        for layer in range(n_layers):
            full = max(0, n_layers - 2 - layer) * asking * block
            last = (
                (asking * keys + answer * block if layer < n_layers - 1 else 0.0)
                if token < length - 1
                else 0.0
            )
            alone = (
                max(0, min(1, n_layers - 1 - layer)) * asking * block
                if token == length - 1
                else 0.0
            )
            total += full + last + alone + answer * 2 * model.W_U.numel()
    return len(KINDS) * SAMPLES * total


def product_speed() -> float:
    """FLOPs a second of a large float32 product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    a @ b
    start = time.perf_counter()
    for _ in range(5):
        a @ b
    return 5 * 2 * 2048**3 / (time.perf_counter() - start)


def gpt2_small(vocabulary: int = 50_257) -> Model:
    """A random model of GPT-2 small's shape and by default its vocabulary, of which the embedded
    model's tokenizer needs 4,096.
    """
    torch.manual_seed(0)
    hf = GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, bos_token_id=0, eos_token_id=0))
    return Model(
        hf,
        AutoTokenizer.from_pretrained(str(files("loci.demo").joinpath("model"))),
        f"random, as GPT-2 small, vocabulary {vocabulary:,}",
    )


def grown(budget: int) -> float:
    """MiB by which a process grew at most while it traced, over what it held once open and warm
    (Linux).
    """
    script = f"""
import torch
from benchmarks.trace import FACTS, SAMPLES, gpt2_small, trace
torch.set_num_threads(2)
def kib(field):
    lines = open("/proc/self/status")
    return int(next(line for line in lines if line.startswith(field)).split()[1])
model = gpt2_small()
trace(model, FACTS[1], samples=1, kinds=("mlp",))
open("/proc/self/clear_refs", "w").write("5")
before = kib("VmRSS")
trace(model, FACTS[1], samples=SAMPLES, budget={budget})
print((kib("VmHWM") - before) / 1024)
"""
    return float(
        subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        ).stdout
    )


def beside_transformer_lens(model: Model) -> str:
    """Its activation patching from another subject's prompt, one draw, the same grids."""
    from transformer_lens import patching

    from benchmarks.oracle import lens_of

    fact, other = FACTS[0], replace(FACTS[0], subject="Larry Bird")
    lens, clean, corrupted = (
        lens_of(model),
        *(model.ids([model.tokenize(f.text).ids]) for f in (fact, other)),
    )
    token = model.tokenize(f"{fact.text} {fact.answer}").ids[-1]

    def p(logits: Tensor) -> Tensor:
        return logits[0, -1].softmax(-1)[token]

    def theirs() -> dict[str, Tensor]:
        _, cache = lens.run_with_cache(clean)
        low = p(lens(corrupted))
        patch = partial(
            patching.generic_activation_patch,
            lens,
            corrupted,
            cache,
            p,
            patching.layer_pos_patch_setter,
            index_axis_names=["layer", "pos"],
        )
        return {kind: patch(activation_name=point) - low for kind, point in POINT.items()}

    def ours() -> dict[str, Tensor]:
        return prepare(
            model, fact, Corruption("resample", samples=1, subjects=(other.subject,))
        ).grids(KINDS)

    with torch.no_grad():
        (found, mine), (expected, their) = timed(ours), timed(theirs)
    error = max(float((found[kind] - expected[kind]).abs().max()) for kind in KINDS)
    return (
        f"  TransformerLens's patching / loci.trace (one draw)   × {their / mine:.1f}   largest"
        f" difference {error:.1e}"
    )


def timed(job: Callable[[], T]) -> tuple[T, float]:
    """What a job gives the second time, and the seconds it takes."""
    job()
    start = time.perf_counter()
    return job(), time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    for model, runs in ((open_model("demo"), asked.runs), (gpt2_small(), 1), (gpt2_small(4096), 1)):
        ratios, errors, shares = [], [], []
        for fact in FACTS * runs:
            found, ours = timed(partial(trace, model, fact, samples=SAMPLES))
            start = time.perf_counter()
            expected = plain(model, fact)
            ratios.append((time.perf_counter() - start) / ours)
            errors += [float((found.grids[kind] - expected[kind]).abs().max()) for kind in KINDS]
            shares.append(floor_flops(model, fact) / ours / product_speed())
        print(f"{model.name}: {len(FACTS)} facts × {runs} runs, {SAMPLES} draws, three grids")
        print(
            f"  plain loop / loci.trace   × {statistics.median(ratios):.1f} ({min(ratios):.1f} …"
            f" {max(ratios):.1f})",
            end="",
        )
        print(f"   largest difference {max(errors):.1e}")
        print(f"  FLOP floor / plain products in that time   {statistics.median(shares):.0%}")
        if find_spec("transformer_lens") and model.name == "demo":
            print(beside_transformer_lens(model))
    sizes = ", ".join(
        f"{budget} tokens {grown(budget):.0f} MiB" for budget in (256, 1536, 4096, 16384)
    )
    print(f"  growth of the process by the bound of a batch: {sizes}")


if __name__ == "__main__":
    main()
