"""A plan run by workers, as processes of this machine: who does which task, and what happens when
one of them dies.

A task is a node of the plan's tree. Shards are handed out in order, at most `IN_FLIGHT` to a
worker, so that it never waits; a node is handed out once all below it are there. What a dead worker
had is handed out again, and a new worker takes its place; a task that took `DEATHS` workers with it
ends the run. Towards the end an idle worker takes the oldest task of another: whoever is second
changes nothing.

The driver holds no tensor, and nothing that is not in the folder: killed and started again, it goes
on with what is missing.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from loci.errors import ModelError
from loci.survey.costs import free_bytes
from loci.survey.plan import Plan
from loci.survey.processes import Processes
from loci.survey.shards import done, load, state_path
from loci.survey.states import DamagedState, read_head
from loci.survey.tree import MergeNode, root, uncovered
from loci.validate import one_line

IN_FLIGHT = 2
DEATHS = 5
"""Workers that may die at one task, or one after the other while they open the model."""
LATE = 3.0
"""Times the mean duration of a task, after which an idle worker takes it too."""


@dataclass
class Told:
    """How far a run is: for progress."""

    tokens: int = 0
    """Read in this run."""
    seconds: float = 0.0
    """Since the first worker was ready."""
    shards_left: int = 0
    shares: dict[int, int] = field(default_factory=dict)
    """Tokens by worker."""
    deaths: int = 0
    damaged: int = 0

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds if self.seconds else 0.0


Tell = Callable[[Told], None]


class SurveyWorker(Protocol):
    """Somebody who does tasks, one after the other."""

    number: int
    tasks: list[tuple[MergeNode, float]]
    """Tasks that it was given and has not done, each with the time."""
    ready: bool

    def give(self, node: MergeNode) -> None: ...


W = TypeVar("W", bound=SurveyWorker)


class Pool(Protocol[W]):
    """Where workers come from."""

    def start(self, number: int) -> W: ...
    def wait(self, seconds: float) -> list[tuple[W, list[dict[str, Any]] | None]]:
        """Answers of workers that come within so many seconds; None from a worker that is dead."""
        ...

    def bury(self, worker: W) -> str:
        """Take leave of a dead one: its last words."""
        ...

    def close(self, *, well: bool) -> None: ...


def run_plan(
    plan: Plan,
    plan_file: Path,
    folder: Path,
    workers: int,
    tell: Tell = lambda told: None,
    pool: Pool[Any] | None = None,
) -> Told:
    """Run what is missing with so many workers: processes, or what another `pool` has. The root's
    state is in the folder then.

    Raises `ModelError` for no workers, for more than there are shards, where their memory is not
    there, and where a task cannot be done.
    """
    check_workers(plan, workers, here=pool is None)
    folder.mkdir(parents=True, exist_ok=True)
    return _Run(plan, folder, tell, pool or Processes(plan_file, folder)).run(workers)


def check_count(workers: int) -> None:
    """Raise `ModelError` for no workers."""
    if workers < 1:
        raise ModelError(f"{workers} workers do nothing: say 1 or more")


def check_workers(plan: Plan, workers: int, *, here: bool = True) -> None:
    """Raise `ModelError` for a number of workers that cannot be; `here`: on this machine."""
    check_count(workers)
    if workers > len(plan.pieces):
        raise ModelError(
            f"{workers} workers for {len(plan.pieces)} shards: say fewer workers, or plan with"
            " fewer --shard-tokens"
        )
    free = free_bytes() if here else None
    needed = workers * (plan.worker_bytes - plan.shared_bytes) + plan.shared_bytes
    if free is not None and needed > free:
        raise ModelError(
            f"{workers} workers need {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free:"
            " say fewer workers, fewer layers, or smaller --batch-tokens"
        )


class _Run:
    """One run of a plan: what is there, what is to do, who does it."""

    def __init__(self, plan: Plan, folder: Path, tell: Tell, pool: Pool[Any]) -> None:
        self.plan, self.folder, self.tell, self.pool = plan, folder, tell, pool
        self.count = len(plan.pieces)
        self.root = root(self.count)
        self.there = done(plan, folder)
        self.deaths: Counter[MergeNode | None] = Counter()
        self.durations: list[float] = []
        self.workers: dict[int, SurveyWorker] = {}
        self.told = Told()
        self.began: float | None = None
        """When the first worker was ready."""
        self.number = 0

    def run(self, workers: int) -> Told:
        well = False
        try:
            self._check_there()
            for _ in range(workers if self.root not in self.there else 0):
                self._start()
            while self.root not in self.there:
                self._feed()
                for worker, answers in self.pool.wait(1.0):
                    self._hear(worker, answers)
                self._say()
            well = True
        finally:
            self.pool.close(well=well)
        for node in done(self.plan, self.folder) - {self.root}:  # what came twice, and late
            state_path(self.plan, node, self.folder).unlink(missing_ok=True)
        self._say()
        return self.told

    def _check_there(self) -> None:
        """Look into what is there: a damaged head is as good as none,
        and of the root all is read.
        """
        for node in uncovered(dict.fromkeys(self.there), self.count):
            path = state_path(self.plan, node, self.folder)
            try:
                if node == self.root:
                    load(self.plan, node, [self.folder])
                read_head(path)
            except DamagedState:
                path.unlink(missing_ok=True)
                self.there.discard(node)
                self.told.damaged += 1

    def _start(self) -> None:
        self.workers[self.number] = self.pool.start(self.number)
        self.number += 1

    def _to_do(self) -> list[MergeNode]:
        """Tasks that can be done now and that nobody has: joins first, as they free what is below
        them.
        """
        taken = {node for worker in self.workers.values() for node, _ in worker.tasks}
        nodes: list[MergeNode] = []
        open_nodes = [self.root]
        while open_nodes:
            node = open_nodes.pop()
            if node in self.there or node in taken:
                continue
            below = [child for child in node.children(self.count) if child not in self.there]
            if below:
                open_nodes += below
            else:
                nodes.append(node)
        return sorted(nodes, key=lambda node: (-node.level, node.number))

    def _feed(self) -> None:
        """Give every worker that has room a task."""
        to_do = self._to_do()
        for worker in sorted(self.workers.values(), key=lambda worker: len(worker.tasks)):
            if worker.ready:
                while to_do and len(worker.tasks) < IN_FLIGHT:
                    worker.give(to_do.pop(0))
                if not worker.tasks and not to_do:
                    self._help(worker)

    def _help(self, idle: SurveyWorker) -> None:
        """Give an idle worker the oldest task of another, where that takes long."""
        mean = sum(self.durations) / len(self.durations) if self.durations else 1.0
        others = [task for worker in self.workers.values() for task in worker.tasks]
        if others:
            node, since = min(others, key=lambda task: task[1])
            if time.monotonic() - since > LATE * mean:
                idle.give(node)

    def _hear(self, worker: SurveyWorker, answers: list[dict[str, Any]] | None) -> None:
        if answers is None:
            self._bury(worker)
            return
        for said in answers:
            if "error" in said:
                raise ModelError(one_line(said["error"], 2000))
            if "ready" in said:
                worker.ready = True
                self.began = self.began or time.monotonic()
                self.deaths[None] = 0
            else:
                self._done(worker, MergeNode(*said["node"]), said)

    def _done(self, worker: SurveyWorker, node: MergeNode, said: dict[str, Any]) -> None:
        worker.tasks = [task for task in worker.tasks if task[0] != node]
        if "damaged" in said:
            self.there = done(self.plan, self.folder)
            self.told.damaged += (
                node not in self.there
            )  # else another has joined it, and taken away what is below
            return
        if not node.level and node not in self.there:
            self.told.tokens += said["tokens"]
            self.told.shares[worker.number] = (
                self.told.shares.get(worker.number, 0) + said["tokens"]
            )
        self.durations.append(said["seconds"])
        self.there.add(node)

    def _bury(self, worker: SurveyWorker) -> None:
        """A worker is dead: what it had is to do again, by one that takes its place."""
        del self.workers[worker.number]
        last_words = self.pool.bury(worker)
        self.told.deaths += 1
        suspect = worker.tasks[0][0] if worker.tasks else None
        self.deaths[suspect] += 1
        if self.deaths[suspect] >= DEATHS:
            what = "while it opened the model" if suspect is None else f"at {self._named(suspect)}"
            why = one_line(last_words) or "too little memory, or a text that breaks the process"
            raise ModelError(f"{DEATHS} workers ended {what}: {why}")
        self._start()

    def _named(self, node: MergeNode) -> str:
        shards = node.shards(self.count)
        piece = self.plan.pieces[shards.start]
        return (
            f"shard {shards.start} (texts {piece.first:,} to {piece.first + piece.texts - 1:,})"
            if not node.level
            else f"joining {shards}"
        )

    def _say(self) -> None:
        self.told.seconds = time.monotonic() - self.began if self.began else 0.0
        covered = {shard for node in self.there for shard in node.shards(self.count)}
        self.told.shards_left = self.count - len(covered)
        self.tell(self.told)
