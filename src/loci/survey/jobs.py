"""A plan's shards shared out without a driver: each job takes every N-th, as an array of Slurm or
the ranks of torchrun do.

    loci survey run pass.json --share 3/64        loci survey run pass.json --share env

A share is fixed by its number, so that a job that is started again goes on with its own. Jobs know
nothing of each other; what one could not do is missing, and the plan run once more without a share
does it and joins the states.
"""

import os
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from loci.errors import ModelError
from loci.survey.pass_checkpoint import Surveyed
from loci.survey.plan import Plan
from loci.survey.shards import done, run_task
from loci.survey.states import DamagedState
from loci.survey.tree import MergeNode, nodes
from loci.survey.worker import opened

RANKS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)
"""Environment variables of a job's number and of the number of jobs: Slurm's arrays, torchrun, and
Slurm's steps.
"""


class ShardShare(NamedTuple):
    """Job `rank` of `world`, counted from 0; `local`: among those of its machine, which says its
    GPU.
    """

    rank: int
    world: int
    local: int


def share_from(text: str, environment: Mapping[str, str] | None = None) -> ShardShare:
    """R/N, or what the environment says where it is "env". Raises `ModelError`."""
    said = os.environ if environment is None else environment
    if text == "env":
        pair = next(
            ((said[rank], said[world]) for rank, world in RANKS if rank in said and world in said),
            None,
        )
        if pair is None:
            raise ModelError(
                "--share env: neither torchrun nor Slurm has set a rank: say it, as in --share 3/64"
            )
        text = "/".join(pair)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise ModelError(f"--share {text!r}: expected R/N with R from 0 to N − 1, as 3/64, or env")
    rank = int(match[1])
    local = said.get("LOCAL_RANK", said.get("SLURM_LOCALID", ""))
    return ShardShare(rank, int(match[2]), int(local) if local.isdecimal() else rank)


def run_share(
    plan: Plan,
    folder: Path,
    share: ShardShare,
    tell: Callable[[int, int, int], None] = lambda done, all, tokens: None,
) -> int:
    """Run a job's share of the shards that are missing, here; then join what is whole. Returns: the
    tokens that were read.

    `tell` is called with shards done, shards of this share, tokens read. Raises `ModelError` as a
    worker does.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count, there = len(plan.pieces), done(plan, folder)
    covered = {shard for node in there for shard in node.shards(count)}
    todo = [number for number in range(share.rank, count, share.world) if number not in covered]
    model = opened(plan, share.local) if todo else None
    tokens = 0
    for i, number in enumerate(todo):
        seen: Surveyed = run_task(plan, MergeNode(0, number), folder, model)
        tokens += seen.tokens
        tell(i + 1, len(todo), tokens)
    for node in nodes(count):
        if node.level and node.number % share.world == share.rank:
            _join(plan, node, folder)
    return tokens


def _join(plan: Plan, node: MergeNode, folder: Path) -> None:
    """Join what is below a node, where all is there; what is damaged is left to the run that ends
    the plan.
    """
    there = done(plan, folder)
    if node not in there and all(child in there for child in node.children(len(plan.pieces))):
        try:
            run_task(plan, node, folder, None)
        except DamagedState:
            return


def slurm_script(plan: Plan, plan_file: Path, folder: Path, workers: int) -> str:
    """An array of jobs, which may be requeued, for `sbatch`."""
    memory = -(-plan.worker_bytes * 5 // (4 * 2**20))
    gpu = "#SBATCH --gpus=1\n" if plan.opening.device.startswith("cuda") else ""
    run = _command(plan_file, folder)
    return (
        f"#!/bin/bash\n#SBATCH --job-name=loci-survey\n#SBATCH --array=0-{workers - 1}\n#SBATCH"
        f" --cpus-per-task={plan.threads}\n#SBATCH --mem={memory}M\n{gpu}#SBATCH --requeue\n# Then,"
        f" once: {run}\nsrun {run} --share $SLURM_ARRAY_TASK_ID/{workers}\n"
    )


def torchrun_script(plan: Plan, plan_file: Path, folder: Path, workers: int) -> str:
    """The ranks of one machine, or of several with the same command on each (NODES, HEAD)."""
    run = _command(plan_file, folder)
    return (
        f"#!/bin/bash\n# On every machine, with NODES and HEAD set; then, once: {run}\ntorchrun"
        f" --nnodes=${{NODES:-1}} --nproc-per-node={workers} --rdzv-backend=c10d"
        f" --rdzv-endpoint=${{HEAD:-localhost}}:29500 --max-restarts=3 --no-python {run} --share"
        " env\n"
    )


def _command(plan_file: Path, folder: Path) -> str:
    return shlex.join(
        ["loci", "survey", "run", str(plan_file.absolute()), "--states", str(folder.absolute())]
    )
