"""A worker: a process that opens the model once and does one job after another.

It is told jobs as lines of JSON on stdin, and answers with lines on stdout; what else is printed
goes to stderr. A line with `cancel` stops the job that it names at its next step. When stdin ends,
so does the worker, whatever it is doing.
"""

import json
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from loci.errors import LociError


def main() -> None:
    """Read the setup from the first line, then work until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    setup = json.loads(sys.stdin.readline() or "null")
    if setup is not None:
        Worker(setup, out).run()


class Worker:
    """Jobs in, answers out."""

    def __init__(self, setup: dict[str, Any], out: Any) -> None:
        self.setup, self.out = setup, out
        self.jobs: queue.Queue[dict[str, Any]] = queue.Queue()
        self.cancelled: set[str] = set()

    def run(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()
        from loci.explorer.desk import Desk
        from loci.explorer.settings import Settings

        desk = Desk(
            Settings(self.setup["model"], self.setup["opening"]), Path(self.setup["folder"])
        )
        desk.expected = self.setup.get("fingerprint")
        while True:
            job = self.jobs.get()
            self.say(job["id"], self.done(desk, job))

    def _listen(self) -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if "cancel" in message:
                self.cancelled.add(message["cancel"])
            else:
                self.jobs.put(message)
        os._exit(0)

    def say(self, job: str, message: dict[str, Any]) -> None:
        self.out.write(
            json.dumps({"id": job, **message}, ensure_ascii=True, allow_nan=False) + "\n"
        )
        self.out.flush()

    def done(self, desk: Any, job: dict[str, Any]) -> dict[str, Any]:
        """The last message about a job: its result, or why there is none, in one line."""
        from loci.explorer.desk import Stopped, Tell
        from loci.explorer.verbs import VERBS
        from loci.result import jsonable

        verb, name = VERBS[job["verb"]], job["id"]
        tell = Tell(
            lambda message: self.say(name, jsonable(message)), lambda: name in self.cancelled
        )
        try:
            document = verb.run(
                desk, verb.arguments.model_validate(job["args"]), tuple(job["patches"]), tell
            )
            return {"result": jsonable(document)}
        except Stopped:
            return {"cancelled": True}
        except LociError as error:
            return {"error": str(error)}
        except MemoryError:
            return {"error": "there is not enough memory for this"}
        except Exception as error:  # noqa: BLE001 one line for whatever happens; the worker goes on
            return {"error": " ".join(f"{type(error).__name__}: {error}".split())[:500]}
        finally:
            self.cancelled.discard(name)


if __name__ == "__main__":
    main()
