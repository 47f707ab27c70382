"""A model of eight times the memory that it is given: peak memory, seconds, and the same numbers.

    python -m benchmarks.large_model FOLDER [--layers 44] [--limit 950]

A random Llama of 1.9 B parameters (44 layers, d_model 2,048, float32: 7.4 GB) is written to FOLDER,
block by block. Then processes of their own open it and do the same work, one after the other:

mapped       device_map="disk": statistics, a trace, an edit, an audit; its peak has a limit
memory       the same in memory, whose numbers have to be equal
accelerate   device_map={"": "disk"}, accelerate's offloading: statistics, a trace

The peak is VmHWM: all pages of the process, those of mapped files too. Nothing is written after
the model, so the system's cache may hold the files; seconds are those of a warm cache.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig

import loci
from loci.editing.targets import TargetSettings
from loci.facts import Fact, FactSet, corpus
from loci.model import Model, open_model
from loci.survey import SecondMoment, survey

D_MODEL, D_MLP, VOCABULARY = 2048, 4096, 4096
FACT = Fact("Michael Jordan", "{} plays the sport of", "basketball")
LAYER = 2


def make(folder: Path, layers: int, d_model: int, d_mlp: int, dtype: str = "float32") -> None:
    """A random Llama, a file a block: no more than a block is in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=d_model,
        intermediate_size=d_mlp,
        num_hidden_layers=layers,
        num_attention_heads=max(1, d_model // 128),
        num_key_value_heads=max(1, d_model // 128),
        max_position_embeddings=512,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        dtype=dtype,
        architectures=["LlamaForCausalLM"],
    )
    config.save_pretrained(folder)
    open_model("demo").tokenizer.save_pretrained(folder)
    kind, generator = getattr(torch, dtype), torch.Generator().manual_seed(0)
    places: dict[str, str] = {}

    def write(name: str, shapes: dict[str, tuple[int, ...]]) -> None:
        tensors = {
            each: torch.ones(shape, dtype=kind)
            if len(shape) == 1
            else (0.02 * torch.randn(shape, generator=generator)).to(kind)
            for each, shape in shapes.items()
        }
        save_file(tensors, folder / name, metadata={"format": "pt"})
        places.update(dict.fromkeys(tensors, name))

    square, wide, norm = (d_model, d_model), (d_mlp, d_model), (d_model,)
    ends = {"model.embed_tokens.weight": (VOCABULARY, d_model)}
    ends |= {"lm_head.weight": (VOCABULARY, d_model), "model.norm.weight": norm}
    write("ends.safetensors", ends)
    for layer in range(layers):
        parts = {f"self_attn.{part}_proj": square for part in "qkvo"}
        parts |= {"mlp.gate_proj": wide, "mlp.up_proj": wide, "mlp.down_proj": wide[::-1]}
        parts |= {"input_layernorm": norm, "post_attention_layernorm": norm}
        shapes = {f"model.layers.{layer}.{part}.weight": shape for part, shape in parts.items()}
        write(f"block{layer:03}.safetensors", shapes)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def statistics(model: Model) -> object:
    moment = SecondMoment()
    survey(model, corpus()[:12], {f"mlp_act.{LAYER}": [moment]}, budget=128)
    moments[LAYER] = moment.mean
    return hashlib.sha256(moment.mean.numpy().tobytes()).hexdigest()


def tracing(model: Model) -> object:
    found = loci.trace(model, FACT, kinds=("mlp",), samples=1)
    return found.grids["mlp"].tolist()


def editing(model: Model) -> object:
    patch = loci.edit(
        model,
        FACT.to("baseball"),
        method="rome",
        layers=[LAYER],
        settings=TargetSettings(steps=2, contexts=0, own=1, essence=1),
        moments=moments,
        report=False,
    )
    patches.append(patch)
    return {name: [float(t.double().sum()) for t in pair] for name, pair in patch.factors.items()}


def auditing(model: Model) -> object:
    card = loci.audit(model, patches[0], FactSet((FACT,)), controls=(), neighbours=0, samples=1)
    return str(card.metrics)


moments: dict[int, torch.Tensor] = {}
patches: list[loci.Patch] = []
WORK: dict[str, Callable[[Model], object]] = {
    work.__name__: work for work in (statistics, tracing, editing, auditing)
}
WAYS = {"mapped": "disk", "accelerate": {"": "disk"}, "memory": None}


def peak() -> int:
    """Peak memory of this process in bytes, pages of mapped files included."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def child(folder: Path, way: str) -> None:
    torch.set_num_threads(1)
    started = time.perf_counter()
    model = open_model(folder, dtype="auto", device_map=WAYS[way])  # type: ignore[arg-type]
    said: dict[str, object] = {"opening": ("", time.perf_counter() - started, peak())}
    for name in list(WORK)[: 2 if way == "accelerate" else 4]:
        started = time.perf_counter()
        found = WORK[name](model)
        said[name] = (str(found), time.perf_counter() - started, peak())
    print(json.dumps(said))


def main() -> int:
    asked = argparse.ArgumentParser()
    asked.add_argument("folder", type=Path)
    asked.add_argument("--layers", type=int, default=44)
    asked.add_argument("--d-model", type=int, default=D_MODEL)
    asked.add_argument("--d-mlp", type=int, default=D_MLP)
    asked.add_argument("--limit", type=float, default=950, help="MB that the process may take")
    asked.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    asked.add_argument("--child")
    options = asked.parse_args()
    if options.child:
        child(options.folder, options.child)
        return 0
    if not (options.folder / "config.json").exists():
        make(options.folder, options.layers, options.d_model, options.d_mlp)
    size = sum(path.stat().st_size for path in options.folder.glob("*.safetensors"))
    print(f"model     {size / 1e9:.2f} GB of weights, limit {options.limit:,.0f} MB")
    found: dict[str, dict[str, tuple[str, float, int]]] = {}
    for way in options.ways:
        command = [sys.executable, "-m", "benchmarks.large_model", options.folder, "--child", way]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            print(f"{way:10}failed: {run.stderr.strip().splitlines()[-1:]}")
            continue
        found[way] = json.loads(run.stdout.splitlines()[-1])
        for name, (_, seconds, most) in found[way].items():
            print(f"{way:10}{name:11}{seconds:8.1f} s   peak so far {most / 1e6:6,.0f} MB")
    first = found[options.ways[0]]
    for way, other in found.items():
        same = all(other[name][0] == first[name][0] for name in other)
        print(f"{way:10}numbers equal to those of {options.ways[0]}: {same}")
    most = first["opening" if len(first) == 1 else list(first)[-1]][2]
    fits = most <= options.limit * 1e6
    print(
        f"{options.ways[0]:10}peak {most / 1e6:,.0f} MB: the model is {size / most:.1f} times that"
    )
    return 0 if fits else 1


if __name__ == "__main__":
    raise SystemExit(main())
