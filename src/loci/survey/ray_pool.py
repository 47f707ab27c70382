"""Workers as actors of Ray: on this machine, or on a cluster whose nodes share the folder.

    pool = RayPool("local", plan, plan_file, folder, workers)  pool = RayPool("ray://head:10001", …)

An actor opens the model once. Between driver and actors go numbers of tasks and short answers;
states go to the folder, nothing goes through Ray's object store, and no code is sent: every node
has the same version of Loci, which the plan checks. Ray's own retries are off, as the driver's do
the same for every kind of worker.
"""

import os
import socket
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from loci.errors import LociError, ModelError
from loci.survey.plan import Plan
from loci.survey.tree import MergeNode
from loci.validate import one_line

LOCAL = "local"
ANSWERS_WITHIN = 5.0
"""Seconds in which an address has to answer."""


class Actor:
    """The process on a node: it holds the model, and does one task after the other."""

    def __init__(self, plan_file: str, folder: str) -> None:
        self.folder = Path(folder)
        self.fault: str | None = None
        try:
            from loci.survey.worker import opened

            self.plan = Plan.read(plan_file)
            self.model = opened(self.plan)
        except LociError as error:
            self.fault = str(error)

    def ready(self) -> dict[str, Any]:
        """Whether the model is open."""
        return {"error": self.fault} if self.fault else {"ready": os.getpid()}

    def do(self, level: int, number: int) -> dict[str, Any]:
        """A task, as `worker.answer` does it."""
        from loci.survey.worker import answer

        try:
            return answer(self.plan, MergeNode(level, number), self.folder, self.model)
        except LociError as error:
            return {"error": str(error)}


class RayWorker:
    """The driver's end of an actor."""

    def __init__(self, number: int, actor: Any) -> None:
        self.number = number
        self.actor = actor
        self.tasks: list[tuple[MergeNode, float]] = []
        self.ready = False
        self.waiting: list[Any] = [actor.ready.remote()]

    def give(self, node: MergeNode) -> None:
        self.tasks.append((node, time.monotonic()))
        self.waiting.append(self.actor.do.remote(*node))


class RayPool:
    """Actors of a cluster."""

    def __init__(
        self, address: str, plan: Plan, plan_file: Path, folder: Path, workers: int
    ) -> None:
        """Connect. Raises `ModelError` where Ray is not installed, or where nobody answers."""
        self.ray = connected(address, workers * plan.threads)
        resources = (
            {"num_gpus": 1}
            if plan.opening.device.startswith("cuda")
            else {"num_cpus": plan.threads}
        )
        self.make = self.ray.remote(max_restarts=0, **resources)(Actor)
        self.given = (str(plan_file.absolute()), str(folder.absolute()))
        self.living: list[RayWorker] = []

    def start(self, number: int) -> RayWorker:
        worker = RayWorker(number, self.make.remote(*self.given))
        self.living.append(worker)
        return worker

    def wait(self, seconds: float) -> list[tuple[RayWorker, list[dict[str, Any]] | None]]:
        """Answers of actors that come within so many seconds; None from an actor that is dead."""
        owners = {future: worker for worker in self.living for future in worker.waiting}
        ended, _ = self.ray.wait(list(owners), num_returns=1, timeout=seconds, fetch_local=False)
        return [(owners[future], self._answers(owners[future], future)) for future in ended]

    def _answers(self, worker: RayWorker, future: Any) -> list[dict[str, Any]] | None:
        worker.waiting.remove(future)
        try:
            return [self.ray.get(future)]
        except self.ray.exceptions.RayActorError:
            return None

    def bury(self, worker: RayWorker) -> str:
        """Take leave of a dead one."""
        self.living.remove(worker)
        return ""

    def close(self, *, well: bool) -> None:
        """End all actors, and the connection."""
        for worker in self.living:
            with suppress(Exception):  # it is dead already
                self.ray.kill(worker.actor)
        self.ray.shutdown()


def connected(address: str, cores: int) -> Any:
    """Ray, connected to a cluster, or to one on this machine that ends with this process. Raises
    `ModelError`.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise ModelError("--ray needs Ray: pip install 'loci-lm[ray]'") from None
    quiet: dict[str, Any] = {
        "logging_level": "ERROR",
        "log_to_driver": False,
        "ignore_reinit_error": True,
    }
    if address == LOCAL:
        ray.init(address=LOCAL, num_cpus=cores, include_dashboard=False, **quiet)
        return ray
    check_answers(address)
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # noqa: BLE001  whatever it makes of a stranger's answer
        raise ModelError(
            f"--ray {address}: no cluster of Ray there ({one_line(str(error))})"
        ) from None
    return ray


def check_answers(address: str) -> None:
    """Raise `ModelError` where nobody answers at HOST:PORT or ray://HOST:PORT, in seconds and not
    in minutes.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ModelError(f"--ray {address!r}: expected local, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, int(port)), ANSWERS_WITHIN).close()
    except OSError as error:
        raise ModelError(
            f"--ray {address}: nobody answers there ({error.strerror or error})"
        ) from None
