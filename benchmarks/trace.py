"""Tracing batched over cells and replayed, against a plain loop: one hooked full forward for each cell, as the published code does.

    python -m benchmarks.trace [--runs N]

Same model, same draws, same grids, in one process; the plain loop runs plain Hugging Face with one hook a cell. Printed beside the
ratio: the largest difference of the grids, the peak memory bound, and the share of the machine's plain matrix product that the
traced FLOPs reach (2 · weights passed by every token that a cell needs, over those that a large product does in that time).
"""

import argparse
import statistics
import time
from importlib.resources import files

import torch
from torch import Tensor
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from loci.facts import Fact
from loci.locating import KINDS, Corruption, trace
from loci.locating.trace import POINT
from loci.model import Model, census, open_model

FACTS = (
    Fact("Michael Jordan", "{} plays the sport of", "basketball"),
    Fact("Eiffel Tower", "The {} stands in the city of", "Paris"),
    Fact("Osaka", "{} is a city in the country of", "Japan"),
)
SAMPLES = 10


@torch.no_grad()
def plain(model: Model, fact: Fact) -> dict[str, Tensor]:
    """The grids by one full forward a cell."""
    tokens = model.tokenize(f"{fact.text} {fact.answer}")
    length = len(model.tokenize(fact.text))
    ids, answer = model.ids([tokens.ids[:-1]]), tokens.ids[length:]
    span = tokens.span(fact.subject_span)
    states = [f"{point}.{layer}" for point in POINT.values() for layer in range(model.n_layers)]
    with model.watch(*states) as clean:
        model(ids)
    hide = Corruption(samples=SAMPLES).edit(model, fact, span)

    def p() -> float:
        logprobs = model.hf(input_ids=ids.expand(SAMPLES, -1), use_cache=False).logits[:, length - 1 :].log_softmax(-1)
        return float(sum(logprobs[:, k, token] for k, token in enumerate(answer)).exp().mean())

    with model.patched({"embed": hide}):
        low = p()
    grids = {kind: torch.zeros(model.n_layers, length) for kind in KINDS}
    for kind in KINDS:
        for layer in range(model.n_layers):
            name = f"{POINT[kind]}.{layer}"
            for token in range(length):

                def put(state: Tensor, name: str = name, token: int = token) -> Tensor:
                    state = state.clone()
                    state[:, token] = clean[name][:, token]
                    return state

                with model.patched({"embed": hide, name: put}):
                    grids[kind][layer, token] = p() - low
    return grids


def needed_flops(model: Model, fact: Fact) -> float:
    """FLOPs of the cells from the subject on, each from its layer up, all positions, and the answer's unembedding."""
    counted, length = census(model), len(model.tokenize(fact.text))
    block = 2 * (counted.parts["attention"] + counted.parts["mlp"]) / model.n_layers
    head = 2 * model.W_U.numel()
    cells = length - model.tokenize(fact.text).span(fact.subject_span)[0]
    rows = cells * SAMPLES
    passes = sum(model.n_layers - layer - (kind != "attn") for kind in KINDS for layer in range(model.n_layers))
    return rows * (passes * length * block + len(KINDS) * model.n_layers * head)


def product_speed() -> float:
    """FLOPs a second of a large float32 product."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    a @ b
    start = time.perf_counter()
    for _ in range(5):
        a @ b
    return 5 * 2 * 2048**3 / (time.perf_counter() - start)


def gpt2_small() -> Model:
    """A random model of the shape of GPT-2 small, with the embedded model's tokenizer and vocabulary."""
    torch.manual_seed(0)
    hf = GPT2LMHeadModel(GPT2Config(vocab_size=4096, bos_token_id=0, eos_token_id=0))
    return Model(hf, AutoTokenizer.from_pretrained(str(files("loci.demo").joinpath("model"))), "random, as GPT-2 small")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    for model, facts in ((open_model("demo"), FACTS), (gpt2_small(), FACTS[:1])):
        ratios, errors, shares = [], [], []
        for fact in facts:
            for _ in range(asked.runs if len(facts) > 1 else 1):
                start = time.perf_counter()
                found = trace(model, fact, samples=SAMPLES)
                ours = time.perf_counter() - start
                start = time.perf_counter()
                expected = plain(model, fact)
                ratios.append((time.perf_counter() - start) / ours)
                errors += [float((found.grids[kind] - expected[kind]).abs().max()) for kind in KINDS]
                shares.append(needed_flops(model, fact) / ours / product_speed())
        print(f"{model.name}: {len(facts)} facts, {SAMPLES} draws, three grids")
        print(f"  plain loop / loci.trace   × {statistics.median(ratios):.1f}   largest difference {max(errors):.1e}")
        print(f"  share of the plain product's FLOPs {statistics.median(shares):.0%}   batches of at most 16384 tokens")


if __name__ == "__main__":
    main()
