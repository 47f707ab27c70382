"""Reading one point costs next to nothing, and a replay computes only what stands above it: ratios
to a bare forward pass.

    python -m benchmarks.runs [--runs N]

The baseline is `hf(input_ids=ids, use_cache=False)` of plain Hugging Face on the same module. Each
measurement is one of many, in turn with the baseline; medians, float32, two threads.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.resources import files

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from loci.model import Model, open_model


def medium() -> Model:
    """A random Llama of 12 layers × 512."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=512,
        intermediate_size=1408,
        num_hidden_layers=12,
        num_attention_heads=8,
        num_key_value_heads=4,
    )
    return Model(
        LlamaForCausalLM(config),
        AutoTokenizer.from_pretrained(str(files("loci.demo").joinpath("model"))),
        "llama 12 × 512",
    )


def ratios(model: Model, runs: int, batch: int, width: int) -> dict[str, float]:
    """Median seconds of each kind of run over those of the bare forward pass next to it."""
    ids = torch.arange(batch * width).view(batch, width) % model.d_vocab
    half = model.n_layers // 2
    recorded = model.record(ids)
    resid = recorded.resid_pre(half)

    def watched() -> None:
        with model.watch(f"mlp_act.{model.n_layers - 1}"):
            model(ids)

    def bare() -> None:
        model.hf(input_ids=ids, use_cache=False)

    kinds: dict[str, Callable[[], object]] = {
        "forward through Loci": lambda: model(ids),
        "forward, one point read": watched,
        "read, stopping above its layer": lambda: model.read(ids, f"mlp_act.{half - 1}"),
        "replay of the upper half": lambda: recorded.replay(half, resid),
        "replay, last position unembedded": lambda: recorded.replay(half, resid, last=1),
    }
    with torch.no_grad():
        for run in (bare, *kinds.values()):
            run()
        return {
            name: statistics.median(seconds(run) / seconds(bare) for _ in range(runs))
            for name, run in kinds.items()
        }


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=41)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    for model in (open_model("demo"), medium()):
        print(
            f"{model.name}: batches of 16 × 64 tokens; ratio to a bare forward, medians of"
            f" {asked.runs}"
        )
        for name, ratio in ratios(model, asked.runs, 16, 64).items():
            print(f"  {name:34} {ratio:.3f}")


if __name__ == "__main__":
    main()
