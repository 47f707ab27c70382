"""A plan run by processes of this machine: who does which task, and what happens when one of them dies.

A task is a node of the plan's tree. Shards are handed out in order, at most `IN_FLIGHT` to a worker, so that it never waits; a node is
handed out once all below it are there. What a dead worker had is handed out again, and a new worker takes its place; a task that took
`DEATHS` workers with it ends the run. Towards the end an idle worker takes the oldest task of another: whoever is second changes nothing.

The driver holds no tensor, and nothing that is not in the folder: killed and started again, it goes on with what is missing.
"""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from loci.errors import ModelError
from loci.survey.costs import free_bytes
from loci.survey.plan import Plan
from loci.survey.shards import done, load, state_path
from loci.survey.states import DamagedState, read_head
from loci.survey.tree import Node, root, uncovered
from loci.validate import one_line

IN_FLIGHT = 2
DEATHS = 5
"""Workers that may die at one task, or one after the other while they open the model."""
LATE = 3.0
"""Times the mean duration of a task, after which an idle worker takes it too."""
PATIENCE = 10.0
"""Seconds in which a worker that is done may end."""


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


class Worker:
    """One process, and the tasks it has."""

    def __init__(self, number: int, plan_file: Path, folder: Path) -> None:
        self.number = number
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in `end`
        self.tasks: list[tuple[Node, float]] = []
        self.ready = False
        self.last_words = ""
        """The last line that it wrote to stderr, once it has ended."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loci.survey.worker", str(plan_file), str(folder), str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        assert self.process.stdout is not None and self.process.stdin is not None
        os.set_blocking(self.process.stdout.fileno(), False)
        self._rest = b""

    def give(self, node: Node) -> None:
        assert self.process.stdin is not None
        self.tasks.append((node, time.monotonic()))
        with suppress(BrokenPipeError):  # it is dead: its output ends too, and its tasks are handed out again then
            self.process.stdin.write(json.dumps(node).encode() + b"\n")
            self.process.stdin.flush()

    def hear(self) -> list[dict[str, Any]] | None:
        """Its answers since; None where it has ended."""
        assert self.process.stdout is not None
        data = self.process.stdout.read()
        if data == b"":
            return None
        *lines, self._rest = (self._rest + (data or b"")).split(b"\n")
        return [json.loads(line) for line in lines if line]

    def end(self, patience: float) -> None:
        """Let it end, or make it."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").split("\n")
        self.last_words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        self.log.close()


def run_plan(plan: Plan, plan_file: Path, folder: Path, workers: int, tell: Tell = lambda told: None) -> Told:
    """Run what is missing with so many processes; the root's state is in the folder then.

    Raises `ModelError` for no workers, for more than there are shards, where their memory is not there, and where a task cannot be done.
    """
    check_workers(plan, workers)
    return _Run(plan, plan_file, folder, tell).run(workers)


def check_count(workers: int) -> None:
    """Raise `ModelError` for no workers."""
    if workers < 1:
        raise ModelError(f"{workers} workers do nothing: say 1 or more")


def check_workers(plan: Plan, workers: int) -> None:
    """Raise `ModelError` for a number of workers that cannot be."""
    check_count(workers)
    if workers > len(plan.pieces):
        raise ModelError(f"{workers} workers for {len(plan.pieces)} shards: say fewer workers, or plan with fewer --shard-tokens")
    free = free_bytes()
    if free is not None and workers * plan.worker_bytes > free:
        raise ModelError(
            f"{workers} workers need {workers * plan.worker_bytes / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free: say fewer workers, "
            "fewer layers, or smaller --batch-tokens"
        )


class _Run:
    """One run of a plan: what is there, what is to do, who does it."""

    def __init__(self, plan: Plan, plan_file: Path, folder: Path, tell: Tell) -> None:
        self.plan, self.plan_file, self.folder, self.tell = plan, plan_file, folder, tell
        self.count = len(plan.pieces)
        self.root = root(self.count)
        self.there = done(plan, folder)
        self.deaths: Counter[Node | None] = Counter()
        self.durations: list[float] = []
        self.workers: dict[int, Worker] = {}
        self.selector = selectors.DefaultSelector()
        self.told = Told()
        self.began: float | None = None
        """When the first worker was ready."""
        self.number = 0

    def run(self, workers: int) -> Told:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._check_there()
        patience = 0.0
        try:
            for _ in range(workers if self.root not in self.there else 0):
                self._start()
            while self.root not in self.there:
                self._feed()
                for key, _ in self.selector.select(timeout=1.0):
                    self._hear(key.data)
                self._say()
            patience = PATIENCE
        finally:
            for worker in self.workers.values():
                worker.end(patience)
            self.selector.close()
        self._say()
        return self.told

    def _check_there(self) -> None:
        """Look into what is there: a damaged head is as good as none, and of the root all is read."""
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
        worker = Worker(self.number, self.plan_file, self.folder)
        self.workers[self.number] = worker
        self.selector.register(worker.process.stdout or 0, selectors.EVENT_READ, worker)
        self.number += 1

    def _to_do(self) -> list[Node]:
        """Tasks that can be done now and that nobody has: joins first, as they free what is below them."""
        taken = {node for worker in self.workers.values() for node, _ in worker.tasks}
        found: list[Node] = []
        open_nodes = [self.root]
        while open_nodes:
            node = open_nodes.pop()
            if node in self.there or node in taken:
                continue
            below = [child for child in node.children(self.count) if child not in self.there]
            if below:
                open_nodes += below
            else:
                found.append(node)
        return sorted(found, key=lambda node: (-node.level, node.number))

    def _feed(self) -> None:
        """Give every worker that has room a task."""
        to_do = self._to_do()
        for worker in sorted(self.workers.values(), key=lambda worker: len(worker.tasks)):
            if worker.ready:
                while to_do and len(worker.tasks) < IN_FLIGHT:
                    worker.give(to_do.pop(0))
                if not worker.tasks and not to_do:
                    self._help(worker)

    def _help(self, idle: Worker) -> None:
        """Give an idle worker the oldest task of another, where that takes long."""
        mean = sum(self.durations) / len(self.durations) if self.durations else 1.0
        others = [task for worker in self.workers.values() for task in worker.tasks]
        if others:
            node, since = min(others, key=lambda task: task[1])
            if time.monotonic() - since > LATE * mean:
                idle.give(node)

    def _hear(self, worker: Worker) -> None:
        answers = worker.hear()
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
                self._done(worker, Node(*said["node"]), said)

    def _done(self, worker: Worker, node: Node, said: dict[str, Any]) -> None:
        worker.tasks = [task for task in worker.tasks if task[0] != node]
        if "damaged" in said:
            self.there = done(self.plan, self.folder)
            self.told.damaged += 1
            return
        if not node.level and node not in self.there:
            self.told.tokens += said["tokens"]
            self.told.shares[worker.number] = self.told.shares.get(worker.number, 0) + said["tokens"]
        self.durations.append(said["seconds"])
        self.there.add(node)

    def _bury(self, worker: Worker) -> None:
        """A worker is dead: what it had is to do again, by one that takes its place."""
        self.selector.unregister(worker.process.stdout or 0)
        del self.workers[worker.number]
        worker.end(PATIENCE)
        self.told.deaths += 1
        suspect = worker.tasks[0][0] if worker.tasks else None
        self.deaths[suspect] += 1
        if self.deaths[suspect] >= DEATHS:
            status = worker.process.returncode
            what = "while it opened the model" if suspect is None else f"at {self._named(suspect)}"
            why = one_line(worker.last_words) or "too little memory, or a text that breaks the process"
            raise ModelError(f"{DEATHS} workers ended {what} (status {status}): {why}")
        self._start()

    def _named(self, node: Node) -> str:
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
