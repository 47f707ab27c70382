"""What shards and workers cost, and what they give: measured here, and worked out for a cluster.

    python -m benchmarks.scale [--part overhead workers ray merge memory cluster] [--tokens 60000]

overhead  CPU seconds of a pass in shards over those of one pass, in one process
workers   a plan with one worker and with two: seconds from the first open model on, and CPU seconds
          of all processes
ray       the same plan with two actors of Ray (where it is installed)
merge     1,000 states joined: seconds, bytes, memory
memory    peak memory of a pass over a text and over ten times of it
cluster   800 GPUs over 10⁹ tokens of an 8 B model, worked out: hours, bytes, and the failures that
          it survives

Wall-clock seconds mean something on an idle machine alone; CPU seconds everywhere.
"""

import argparse
import heapq
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch

from loci.facts import corpus
from loci.model import open_model
from loci.survey import (
    ModelSource,
    Plan,
    SurveyQuestion,
    keys_question,
    make_plan,
    neurons_question,
    run_plan,
    survey,
)
from loci.survey.accumulators import Rows
from loci.survey.question import Kind
from loci.survey.shards import run_task, state_path
from loci.survey.states import State, write_state
from loci.survey.tree import MergeNode, nodes, root

SHARD = 8_000


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall-clock and CPU seconds, those of ended children included."""

    def cpu() -> float:
        return sum(
            sum(resource.getrusage(who)[:2])
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )

    wall, before = time.perf_counter(), cpu()
    work()
    return time.perf_counter() - wall, cpu() - before


def planned(place: Path, tokens: int, question: SurveyQuestion) -> Plan:
    plan = make_plan(ModelSource(), question, None, limit=tokens, shard_tokens=SHARD)
    plan.write(place / "plan.json")
    return plan


def overhead(place: Path, tokens: int) -> None:
    torch.set_num_threads(1)
    model = open_model("demo")
    for name, question in (
        ("atlas", neurons_question(range(6))),
        ("keys of 2 layers", keys_question([0, 1])),
    ):
        plan = planned(place, tokens, question)
        read = sum(piece.texts for piece in plan.pieces)
        ratios = []
        for repeat in range(3):
            _, plain = timed(
                lambda q=question, read=read: survey(model, corpus()[:read], q.accumulators())
            )  # type: ignore[misc]
            folder = place / f"{name}-{repeat}"
            _, sharded = timed(
                lambda p=plan, f=folder: [
                    run_task(p, node, f, model) for node in nodes(len(p.pieces))
                ]
            )  # type: ignore[misc]
            ratios.append(sharded / plain - 1)
        print(
            f"overhead  {name}: {len(plan.pieces)} shards, CPU {min(ratios):+.1%} (of three:"
            f" {', '.join(f'{r:+.1%}' for r in sorted(ratios))})"
        )


def workers(place: Path, tokens: int) -> None:
    plan = planned(place, tokens, neurons_question(range(6)))
    seconds = {}
    for count in (1, 2, 1, 2):
        folder = place / f"w{count}-{time.monotonic_ns()}"
        told = []
        _, cpu = timed(lambda: told.append(run_plan(plan, place / "plan.json", folder, count)))  # noqa: B023
        seconds[count] = min(seconds.get(count, (1e9, 1e9)), (told[0].seconds, cpu))
        print(
            f"workers   {count}: {told[0].seconds:.1f} s, {told[0].rate:,.0f} tokens/s, {cpu:.1f}"
            " CPU s with starting"
        )
    print(
        f"workers   efficiency of 1 → 2: {seconds[1][0] / seconds[2][0] / 2:.2f} of wall-clock"
        f" (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)"
    )


def ray(place: Path, tokens: int) -> None:
    if find_spec("ray") is None:
        print("ray       is not installed")
        return
    from loci.survey.ray_pool import RayPool

    plan = planned(place, tokens, neurons_question(range(6)))
    plain = run_plan(plan, place / "plan.json", place / "plain", 2)
    pool = RayPool("local", plan, place / "plan.json", place / "ray", 2)
    actors = run_plan(plan, place / "plan.json", place / "ray", 2, pool=pool)
    same = (
        state_path(plan, root(len(plan.pieces)), place / "ray").read_bytes()
        == state_path(plan, root(len(plan.pieces)), place / "plain").read_bytes()
    )
    print(
        f"ray       {actors.rate:,.0f} tokens/s beside {plain.rate:,.0f} of processes:"
        f" {actors.rate / plain.rate:.2f}; same bytes: {same}"
    )


def merge(place: Path, tokens: int) -> None:
    question = SurveyQuestion(
        {"mlp_act.0": (Kind("SecondMoment"), Kind("Moments"), Kind("TopTriggers"))}
    )
    base = planned(place, 1000, question)
    piece = base.pieces[0]
    plan = replace(base, pieces=tuple(piece._replace(first=number) for number in range(1000)))
    values = torch.randn(8, 16, 256, generator=torch.Generator().manual_seed(0))
    for number in range(1000):
        state = State(question.accumulators(), 8, 128)
        for accumulator in state.gathered["mlp_act.0"]:
            accumulator.update(
                values + number, Rows(torch.arange(8) + 8 * number, torch.ones(8, dtype=torch.long))
            )
        write_state(
            state_path(plan, MergeNode(0, number), place),
            state,
            plan.ids[MergeNode(0, number)],
            plan.head,
        )
    size = sum(path.stat().st_size for path in place.glob("*.safetensors"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = timed(
        lambda: [run_task(plan, node, place, None) for node in nodes(1000) if node.level]
    )
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"merge     1,000 states, {size / 1e6:,.0f} MB: {wall:.1f} s, {cpu:.1f} CPU s, memory"
        f" +{grown:.0f} MB"
    )


MEASURE = """
import resource, sys, torch
from loci.facts import corpus
from loci.model import open_model
from loci.survey import neurons_question
from loci.survey.text_pass import survey
torch.set_num_threads(1)
texts = corpus()[:300]
again = (text for _ in range(int(sys.argv[1])) for text in texts)
survey(open_model("demo"), again, neurons_question([0]).accumulators())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def memory(place: Path, tokens: int) -> None:
    peaks = [
        int(
            subprocess.run(
                [sys.executable, "-c", MEASURE, times], capture_output=True, text=True, check=True
            ).stdout
        )
        for times in ("1", "10")
    ]
    print(f"memory    peak of a pass over a text {peaks[0]} MB, over ten times of it {peaks[1]} MB")


def cluster(place: Path, tokens: int) -> None:
    """An 8 B model of Llama's shape (32 layers, d_mlp 14,336), 10⁹ tokens, 100 machines of 8 GPUs.

    Taken: 4·10¹⁴ FLOP/s of a forward pass in bf16, 4·10¹³ of products in float64, 2 GB/s a machine
    to shared storage, 120 s until a worker is back with its model.
    """
    width, forward, fast, wide, disk = 14_336, 2 * 7.5e9, 4e14, 4e13, 2e9 / 8
    for layers, shard in ((5, 625_000), (32, 1_250_000)):
        state = layers * 8 * width**2
        compute = shard * (forward * max(layers, 9) / 32 / fast + layers * 2 * width**2 / wide)
        write, shards = state / disk, round(1e9 / shard)
        ideal = 1e9 / shard * compute / 800
        print(
            f"cluster   keys of {layers} layers: a state {state / 1e9:.1f} GB, {shards:,} shards of"
            f" {compute:.0f} s and {write:.0f} s of writing"
        )
        for hours in (float("inf"), 100, 10, 1):
            took, lost = simulated(800, shards, compute + write, hours * 3600, 120.0)
            join = shards / 800 * 16 / 15 * 3 * write
            moved = 2 * state * shards * 16 / 15
            print(
                f"cluster     a worker dies every {hours:5g} h: {(took + join) / 3600:5.2f} h"
                f" ({ideal / (took + join):.0%} of it the model), {lost:,} deaths,"
                f" {moved / 1e12:,.0f} TB to and from storage"
            )


def simulated(
    count: int, shards: int, seconds: float, mean_life: float, restart: float, seed: int = 0
) -> tuple[float, int]:
    """Seconds until all shards are done, and deaths: workers with exponential lives, whose shard is
    done again from its beginning.
    """
    rng, free, left, deaths, latest = random.Random(seed), [0.0] * count, shards, 0, 0.0
    while left:
        now = heapq.heappop(free)
        life = rng.expovariate(1 / mean_life) if mean_life < float("inf") else mean_life
        if life < seconds:
            deaths += 1
            heapq.heappush(free, now + life + restart)
        else:
            left -= 1
            latest = max(latest, now + seconds)
            heapq.heappush(free, now + seconds)
    return latest, deaths


PARTS = {part.__name__: part for part in (overhead, workers, ray, merge, memory, cluster)}


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    asked.add_argument("--tokens", type=int, default=60_000)
    options = asked.parse_args()
    for name in options.part:
        with tempfile.TemporaryDirectory() as place:
            PARTS[name](Path(place), options.tokens)


if __name__ == "__main__":
    main()
