"""Two lanes of work, each a process of its own: a slow audit never blocks a trace.

A lane does one job at a time, so a model is never asked twice at once. Jobs wait in a short queue;
one more hears `Busy`. A job that is cancelled ends at its next step, or with its worker if it does
not; a worker that dies is replaced for the next job.
"""

import json
import os
import queue
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import loci
from loci.errors import LociError

GRACE = 5.0
"""Seconds that a cancelled job has before its worker is ended."""
ENDED = ("done", "failed", "cancelled")


class Busy(LociError):
    """Too many jobs wait already."""


@dataclass
class Job:
    """One question on its way."""

    id: str
    key: str
    verb: str
    args: dict[str, Any]
    patches: tuple[str, ...]
    state: str = "queued"
    done: int = 0
    total: int = 0
    part: dict[str, Any] | None = None
    result: dict[str, Any] | None = None
    error: str | None = None
    askers: int = 1
    """Pages that wait for it; it is cancelled when the last of them does not want it any more."""
    wanted: bool = True
    version: int = 0
    """Counts changes, so that a watcher sees that there was one."""
    ended: threading.Event = field(default_factory=threading.Event)

    def change(self, **values: Any) -> None:
        for name, value in values.items():
            setattr(self, name, value)
        self.version += 1
        if self.state in ENDED:
            self.ended.set()

    def told(self) -> dict[str, Any]:
        """The job's state as the page receives it."""
        about = {
            name: getattr(self, name)
            for name in ("id", "key", "verb", "state", "done", "total", "part", "error")
        }
        return {"schema": "loci.job/1", **about}


class Lane:
    """A worker process, and the jobs that wait for it."""

    def __init__(self, name: str, setup: dict[str, Any], queued: int) -> None:
        self.name, self.setup, self.queued = name, setup, queued
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"loci-{name}", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Let a job wait its turn. Raises `Busy`."""
        if self._jobs.qsize() >= self.queued:
            raise Busy(f"busy: {self.queued} questions wait already; ask again in a moment")
        self._jobs.put(job)

    def cancel(self, job: Job) -> None:
        """End a job: at once where it waits, at its next step where it runs."""
        job.wanted = False
        if job.state == "queued":
            job.change(state="cancelled")
            return
        self._write({"cancel": job.id})

        def insist() -> None:
            if not job.ended.wait(GRACE):
                self._kill()

        threading.Thread(target=insist, daemon=True).start()

    def close(self) -> None:
        """End the worker; nothing is done any more."""
        self._closed = True
        self._jobs.put(None)
        self._kill()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closed:
            if job.state != "queued":
                continue
            job.change(state="running")
            try:
                self._do(job)
            except (OSError, ValueError) as error:
                job.change(state="failed", error=f"the worker could not be asked: {error}")

    def _do(self, job: Job) -> None:
        process = self._started()
        self._write(
            {"id": job.id, "verb": job.verb, "args": job.args, "patches": list(job.patches)}
        )
        if not job.wanted:
            self._write({"cancel": job.id})
        assert process.stdout is not None
        for line in process.stdout:
            message = json.loads(line)
            if message.pop("id") == job.id and self._heard(job, message):
                return
        process.wait()
        if job.wanted and not self._closed:
            job.change(
                state="failed",
                error=(
                    "the worker ended before it was done; it may have run out of memory. Ask again"
                ),
            )
        else:
            job.change(state="cancelled")

    def _heard(self, job: Job, message: dict[str, Any]) -> bool:
        """Take in what the worker says; whether that was the end of the job."""
        if "result" in message:
            job.change(result=message["result"], state="done")
        elif "error" in message:
            job.change(error=message["error"], state="failed")
        elif "cancelled" in message:
            job.change(state="cancelled")
        else:
            job.change(**message)
            return False
        return True

    def _started(self) -> "subprocess.Popen[str]":
        """The worker, started where there is none."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                home = str(Path(loci.__file__).parents[1])
                path = os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH", "")]))
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "loci.explorer.worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                    env={**os.environ, "PYTHONPATH": path},
                )
                self._put(self._process, self.setup)
            return self._process

    def _write(self, message: dict[str, Any]) -> None:
        with self._lock:
            if self._process is not None:
                self._put(self._process, message)

    @staticmethod
    def _put(process: "subprocess.Popen[str]", message: dict[str, Any]) -> None:
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()

    def _kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
