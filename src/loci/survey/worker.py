"""A worker: opens the model once, and does the tasks that it is told, one JSON object a line.

    python -m loci.survey.worker PLAN FOLDER NUMBER
    in     [level, index]                     a node to make; at the end of its input it ends
    out    {"ready": pid}     {"node": [level, index], "texts", "tokens", "seconds"}
           {"damaged": …}  {"error": …}

It learns nothing from the driver but numbers, and gives nothing back but these lines: states go to
the folder. Without a driver it ends with the task that it is at. Killed, it leaves no half state.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from loci.errors import LociError, ModelError
from loci.model import Model
from loci.survey.plan import Plan, checkpoint_hash
from loci.survey.shards import run_task
from loci.survey.states import DamagedState
from loci.survey.tree import MergeNode


def main(plan_file: str, folder: str, number: str = "0") -> int:
    """Work until there is no more to do; 2 after an error that no other worker would be without."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's to hear
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    try:
        plan = Plan.read(plan_file)
        model = opened(plan, int(number))
        print(json.dumps({"ready": os.getpid()}), file=out)
        for line in sys.stdin:
            print(
                json.dumps(answer(plan, MergeNode(*json.loads(line)), Path(folder), model)),
                file=out,
            )
    except BrokenPipeError:
        return 0  # the driver is gone
    except LociError as error:
        print(json.dumps({"error": str(error)}), file=out)
        return 2
    return 0


def opened(plan: Plan, number: int = 0) -> Model:
    """The plan's model, with the plan's number of threads; on "cuda", worker `number` takes the
    GPUs in turn.

    Raises `ModelError` where its files, or its weights, are not those of the plan.
    """
    torch.set_num_threads(plan.threads)
    opening = plan.opening
    if checkpoint_hash(opening.model) != plan.checkpoint:
        raise ModelError(
            f"{opening.model!r} is not the model that the plan was made for: its files differ; make"
            " a new plan"
        )
    if opening.device == "cuda" and torch.cuda.device_count():
        opening = replace(opening, device=f"cuda:{number % torch.cuda.device_count()}")
    model = opening.open()
    if plan.weights is not None and model.fingerprint != plan.weights:
        raise ModelError(
            f"{opening.model!r} as workers open it is not the model that is open here, as where a"
            " patch is applied to it"
        )
    return model


def answer(plan: Plan, node: MergeNode, folder: Path, model: Model) -> dict[str, Any]:
    """Do one task, and say so."""
    started = time.monotonic()
    try:
        seen = run_task(plan, node, folder, model)
    except DamagedState as error:
        return {"damaged": str(error), "node": list(node)}
    return {
        "node": list(node),
        "texts": seen.texts,
        "tokens": seen.tokens,
        "seconds": time.monotonic() - started,
    }


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
