"""A survey of all neurons against a bare forward over the same text, and finding a word in an atlas
of 300,000 neurons.

    python -m benchmarks.atlas [--tokens N] [--runs N]
        (half an hour on two cores; --tokens 20000: five minutes)

Both passes stream the same texts in the same batches, tokenisation included; the bare one computes
logits and drops them. The atlas to search has random values of the usual shape (20 value tokens and
8 triggers a neuron, a vocabulary of 50,257); a search counts warm.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb
import torch

from benchmarks.trace import gpt2_small
from loci.facts import corpus
from loci.model import Model, by_length, open_model
from loci.model.tokens import tokenize_all
from loci.reading.atlas_files import Atlas
from loci.reading.atlas_folder import PROVENANCE
from loci.reading.atlas_tables import THINNED, TRIGGERS
from loci.survey import Extremes, FiringRate, Histogram, Moments, TopTriggers, survey
from loci.survey.text_pass import PAGE
from loci.text import sample_text

BUDGET = 4096


@torch.no_grad()
def bare(model: Model, texts: list[str]) -> None:
    for start in range(0, len(texts), PAGE):
        page = tokenize_all(model.tokenizer, texts[start : start + PAGE], None, model.bos)
        for batch in by_length(page, len, BUDGET):
            model(model.ids([page[i].ids for i in batch]))


def gathered(model: Model, texts: list[str]) -> None:
    many = (
        FiringRate,
        Moments,
        Extremes,
        lambda: Histogram(THINNED),
        lambda: TopTriggers(k=TRIGGERS),
    )
    survey(
        model,
        texts,
        {point: [make() for make in many] for point in model.names("mlp_act")},
        budget=BUDGET,
    )


def seconds(job: Callable[[], None]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def random_atlas(folder: Path, layers: int = 30, width: int = 10_000) -> Atlas:
    """Tables of the shape that `build_atlas` writes."""
    database = duckdb.connect()
    neurons = f"(SELECT l.i AS layer, n.i AS neuron FROM range({layers}) l(i), range({width}) n(i))"
    word = "'word' || (random() * 50257)::INT"
    tables = {
        "neurons": f"SELECT *, random() AS cosine, random() AS firing_rate FROM {neurons}",
        "values": (
            f"SELECT {word} AS word, *, if(r.i < 10, 'promotes', 'suppresses') AS side, r.i % 10 AS"
            f" rank, random() AS score FROM {neurons}, range(20) r(i)"
        ),
        "triggers": (
            f"SELECT {word} AS word, *, r.i AS rank, random() AS activation FROM {neurons},"
            f" range({TRIGGERS}) r(i)"
        ),
        "histograms": f"SELECT *, [1, 2] AS counts FROM {neurons}",
        "texts": "SELECT 0 AS text, 'word' AS content",
    }
    for name, sql in tables.items():
        database.execute(
            f"COPY (SELECT * FROM ({sql}) ORDER BY ALL) TO '{folder}/{name}.parquet' (FORMAT"
            " parquet, ROW_GROUP_SIZE 65536)"
        )
    (folder / PROVENANCE).write_text("{}", encoding="utf-8")
    return Atlas(folder, {"model": "random", "layers": layers, "d_mlp": width})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tokens",
        type=int,
        default=200_000,
        help="of text for the random GPT-2 small, which runs once",
    )
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(2)
    for model, texts in ((open_model("demo"), corpus()[:8192]), (gpt2_small(), [])):
        runs = asked.runs if texts else 1
        texts = texts or sample_text(model, asked.tokens)
        both = [partial(work, model, texts) for work in (gathered, bare)]
        ratios = [seconds(both[0]) / seconds(both[1]) for _ in range(runs)]
        tokens = sum(map(len, tokenize_all(model.tokenizer, texts, None, model.bos)))
        print(f"{model.name}: {tokens:,} tokens, {model.n_layers} × {model.d_mlp} neurons")
        print(
            f"  survey with all accumulators / bare forward   × {statistics.median(ratios):.2f}"
            f" ({min(ratios):.2f} … {max(ratios):.2f})"
        )
        print(
            "  peak memory of the process  "
            f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
        )
    with tempfile.TemporaryDirectory() as folder:
        atlas = random_atlas(Path(folder))
        atlas.find("word77")
        times = [seconds(lambda i=i: atlas.find(f"word{i}")) for i in range(100, 120)]
        print(
            f"find in 300,000 neurons: {1000 * statistics.median(times):.0f} ms (slowest"
            f" {1000 * max(times):.0f} ms)"
        )


if __name__ == "__main__":
    main()
