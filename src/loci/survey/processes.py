"""Workers as processes of this machine, told by lines (`worker`)."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from loci.survey.tree import MergeNode

PATIENCE = 10.0
"""Seconds in which a worker that is done may end."""


class Process:
    """One process, and the tasks it has."""

    def __init__(self, number: int, plan_file: Path, folder: Path) -> None:
        self.number = number
        self.log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in `end`
        self.tasks: list[tuple[MergeNode, float]] = []
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

    def give(self, node: MergeNode) -> None:
        assert self.process.stdin is not None
        self.tasks.append((node, time.monotonic()))
        with suppress(
            BrokenPipeError
        ):  # it is dead: its output ends too, and its tasks are handed out again then
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


class Processes:
    """As many as are started, each with the plan and the folder."""

    def __init__(self, plan_file: Path, folder: Path) -> None:
        self.plan_file, self.folder = plan_file, folder
        self.living: list[Process] = []
        self.selector = selectors.DefaultSelector()

    def start(self, number: int) -> Process:
        process = Process(number, self.plan_file, self.folder)
        self.living.append(process)
        self.selector.register(process.process.stdout or 0, selectors.EVENT_READ, process)
        return process

    def wait(self, seconds: float) -> list[tuple[Process, list[dict[str, Any]] | None]]:
        """Answers of workers that come within so many seconds; None from a worker that is dead."""
        return [(key.data, key.data.hear()) for key, _ in self.selector.select(seconds)]

    def bury(self, worker: Process) -> str:
        """Take leave of a dead one: how it ended, and the last line that it wrote."""
        self.selector.unregister(worker.process.stdout or 0)
        self.living.remove(worker)
        worker.end(PATIENCE)
        return worker.last_words

    def close(self, *, well: bool) -> None:
        """End all: where the run went `well`, after what they are at."""
        for worker in self.living:
            worker.end(PATIENCE if well else 0.0)
        self.selector.close()
