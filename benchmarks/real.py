"""What the verbs cost on a real model, as multiples of its bare forward pass, in one run on one
machine.

    python -m benchmarks.real [MODEL] [WORK …]      gemma3-270m and all work by default

B is the processor time of a bare fp32 forward of 1,000 tokens, 64 a row, hidden states only.
Processor time is measured throughout, so that what else the machine does counts for nothing. An
empty cache is used, so that nothing is kept from earlier runs, but where a line says so.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import loci
from loci.circuits import head_scores
from loci.editing.statistics import key_moments
from loci.facts import Fact
from loci.model import Model, open_model
from loci.text import background

ROWS, LENGTH = 16, 64
JORDAN = Fact(
    "Michael Jordan",
    "{} plays the sport of",
    "basketball",
    paraphrases=(
        "{} plays professionally in the sport of",
        "What sport does {} play? They play",
        "The sport that {} plays is",
    ),
)
ATLAS_TOKENS = 4_000


def seconds(work: Callable[[], object]) -> float:
    """Processor time of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


def bare(model: Model) -> float:
    """Processor time of 1,000 tokens' forward pass, the least of three."""
    ids = torch.randint(10, 10_000, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))

    def run() -> None:
        with torch.no_grad():
            model.hf.base_model(input_ids=ids, use_cache=False)

    run()
    return min(seconds(run) for _ in range(3)) * 1000 / (ROWS * LENGTH)


def atlas(model: Model, folder: str) -> None:
    texts = background(model).first(model, ATLAS_TOKENS)
    loci.build_atlas(
        model, lambda: texts, Path(folder) / "atlas", source="own samples", limit=ATLAS_TOKENS
    )


def statistics(model: Model) -> None:
    layer = model.n_layers // 4
    key_moments(model, [layer], texts=background(model).first(model, 8_192))


def works(model: Model, folder: str) -> dict[str, tuple[Callable[[], Any], str]]:
    """What is done, and at most how many B it may cost."""
    return {
        "doctor": (lambda: loci.doctor(model), "30"),
        "trace": (lambda: loci.trace(model, JORDAN), "20"),
        "neurons": (lambda: loci.knowledge_neurons(model, JORDAN), "60"),
        "routes": (lambda: loci.routes(model, JORDAN), "10"),
        "heads": (lambda: head_scores(model), "40"),
        "text": (lambda: background(model), "–"),
        "statistics": (lambda: statistics(model), "20"),
        "edit": (lambda: loci.edit(model, JORDAN.to("baseball")), "120"),
        "edit again": (
            lambda: loci.edit(model, JORDAN.to("baseball"), layers=[model.n_layers // 4]),
            "25",
        ),
        "atlas": (lambda: atlas(model, folder), f"{1.6 * ATLAS_TOKENS / 1000:.1f}"),
    }


def main(name: str, chosen: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        model = open_model(name)
        os.environ["LOCI_CACHE"] = str(Path(folder) / "cache")
        unit = bare(model)
        print(
            f"{name}, {torch.get_num_threads()} threads: B = {unit:.2f} s of processor"
            f" time\n\n{'work':12} {'s':>8} {'B':>8} {'at most':>8}",
            flush=True,
        )
        for work, (run, most) in works(model, folder).items():
            if not chosen or work in chosen:
                took = seconds(run)
                print(f"{work:12} {took:8.1f} {took / unit:8.1f} {most:>8}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "gemma3-270m", sys.argv[2:])
