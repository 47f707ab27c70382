"""A process that has imported everything, and forks one child a job: jobs cost what they do, not
what imports cost.

Reads a JSON object a line: {"words", "cwd", "env", "cut", "root"}; answers with the child's pid,
and then with its status. With `cut` = k > 0 the child kills itself before the k-th call below
`root` that changes the disk.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import duckdb  # noqa: F401  warm
import pyarrow.parquet  # noqa: F401  warm
import torch

import loci.cli.show
import loci.report  # noqa: F401  warm
from loci.cli.app import main
from loci.facts import known_facts
from loci.model import open_model
from loci.text import corpus_texts

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.link"}


def cut_before(count: int, root: str) -> None:
    left = [count]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        written = (
            event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event not in CHANGES and not written:
            return
        paths = [Path.cwd() / os.fsdecode(arg) for arg in args if isinstance(arg, (str, bytes))]
        if any(path.is_relative_to(root) for path in paths):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def child(job: dict[str, Any]) -> None:
    os.chdir(job["cwd"])
    os.environ.update(job["env"])
    with Path(f"{job['cwd']}.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["loci", *job["words"]]
    if job["cut"]:
        cut_before(job["cut"], job["root"])
    status = 0
    try:
        main()
    except SystemExit as error:
        status = int(error.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    torch.set_num_threads(1)
    open_model("demo")
    known_facts()
    corpus_texts()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            child(json.loads(line))
        print(pid, flush=True)  # noqa: T201
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
