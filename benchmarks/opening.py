"""Opening a model costs no copy: time and peak memory of `loci.open` over plain `from_pretrained`,
both in float32.

    python -m benchmarks.opening [--layers N] [--runs N]

A random Llama of the shape of Llama-3.2-1B is written to a temporary folder in shards, in bfloat16
as most checkpoints are, and in float32; each opening runs in a process of its own, in turn. The
time counts from after the imports to an opened model and tokenizer; Loci's includes its check. What
is stored as it is wanted is mapped, not read, until it is used: there a forward pass over 32 tokens
is timed along, for both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from importlib.resources import files

PLAIN = """
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(source)
start = time.perf_counter()
tokenizer = AutoTokenizer.from_pretrained(source)
model = hf = AutoModelForCausalLM.from_pretrained(
    source, dtype=torch.float32, use_safetensors=True
).eval()
"""
OURS = """
from transformers import AutoModelForCausalLM, AutoTokenizer
import loci.model
tokenizer = AutoTokenizer.from_pretrained(source)
start = time.perf_counter()
model = loci.open(source)
hf = model.hf
"""
FORWARD = """
with torch.no_grad():
    hf(input_ids=torch.arange(32)[None], use_cache=False)
"""
AROUND = """
import json, resource, sys, time
import torch, loci
torch.set_num_threads(2)
source = sys.argv[1]
{body}
seconds = time.perf_counter() - start
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def write_model(folder: str, layers: int, stored: str) -> float:
    """A random Llama, with the embedded model's tokenizer; its billions of parameters."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=128256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, stored))
    model.save_pretrained(folder, max_shard_size="500MB")
    AutoTokenizer.from_pretrained(str(files("loci.demo").joinpath("model"))).save_pretrained(folder)
    return sum(p.numel() for p in model.parameters()) / 1e9


def measure(body: str, folder: str) -> tuple[float, float]:
    """Seconds, and peak resident memory in MiB, of a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", AROUND.format(body=body), folder],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--runs", type=int, default=6)
    asked = parser.parse_args()
    for stored, after in (("bfloat16", ""), ("float32", FORWARD)):
        with tempfile.TemporaryDirectory() as folder:
            size = write_model(folder, asked.layers, stored)
            runs = [
                (measure(PLAIN + after, folder), measure(OURS + after, folder))
                for _ in range(asked.runs + 1)
            ]
        plain, ours = zip(*runs[1:], strict=True)  # the first fills the disk cache
        print(
            f"a Llama of {size:.2f} billion parameters stored in {stored}, opened in"
            f" float32{' and run once' if after else ''}: least of {asked.runs}"
        )
        for name, which, unit in (("time", 0, "s"), ("peak memory", 1, "MiB")):
            a, b = (min(run[which] for run in found) for found in (plain, ours))
            print(
                f"  {name:12} plain from_pretrained {a:8.2f} {unit}   loci.open {b:8.2f} {unit}  "
                f" ratio {b / a:.3f}"
            )


if __name__ == "__main__":
    main()
