"""Workers and drivers killed, states damaged, texts that are none: the result is that of one quiet
pass, to the byte.

The short form kills a driver and a worker; the long one (`make chaos`) fifty workers and five
drivers.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
import torch
from tests.conftest import tiny_gpt2

from loci.errors import ModelError
from loci.facts import corpus
from loci.model import Model
from loci.patches import save_model
from loci.survey import driver, processes
from loci.survey.driver import run_plan
from loci.survey.outcomes import outcome, summary
from loci.survey.plan import Plan, make_plan
from loci.survey.plan_document import ModelSource
from loci.survey.question import neurons_question
from loci.survey.shards import done, run_task, state_path
from loci.survey.tree import nodes, root

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers are killed by signals")
LONG = "LOCI_LONG" in os.environ
KILLS, DRIVERS, TEXTS = (50, 5, 9000) if LONG else (1, 1, 800)


class World(NamedTuple):
    """A plan with a text that holds what is no text, and the bytes of its state after a quiet
    pass.
    """

    place: Path
    plan: Plan
    file: Path
    quiet: bytes


@pytest.fixture(scope="module")
def world(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("chaos")
    (place / "model").mkdir()
    model = tiny_gpt2(demo)
    save_model(model, place / "model")
    lines = [text.encode() for text in corpus()[:TEXTS]]
    (place / "t.txt").write_bytes(
        b"\n".join([*lines[:50], b"\xff no text", *lines[50:700], b"\x80", *lines[700:]])
    )
    plan = make_plan(
        ModelSource(str(place / "model")), neurons_question([1]), place / "t.txt", shard_tokens=450
    )
    plan.write(place / "p.json")
    threads = torch.get_num_threads()
    torch.set_num_threads(plan.threads)
    for node in nodes(len(plan.pieces)):
        run_task(plan, node, place / "quiet", model)
    torch.set_num_threads(threads)
    yield World(place, plan, place / "p.json", root_bytes(plan, place / "quiet"))


def root_bytes(plan: Plan, folder: Path) -> bytes:
    return state_path(plan, root(len(plan.pieces)), folder).read_bytes()


def progress(plan: Plan, folder: Path) -> int:
    """Shards that are done."""
    return len({shard for node in done(plan, folder) for shard in node.shards(len(plan.pieces))})


class Killer(threading.Thread):
    """Kills a worker at some random moment after each bit of progress."""

    def __init__(self, world: World, folder: Path, workers: list[Any]) -> None:
        super().__init__(daemon=True)
        self.world, self.folder, self.workers = world, folder, workers
        self.killed, self.stop, self.random = list[Any](), threading.Event(), Random(0)

    def run(self) -> None:
        seen = progress(self.world.plan, self.folder)
        while len(self.killed) < KILLS and not self.stop.wait(0.02):
            if progress(self.world.plan, self.folder) > seen:
                time.sleep(self.random.random() * 0.3)
                seen = progress(self.world.plan, self.folder)
                living = [
                    worker.process
                    for worker in self.workers
                    if worker.process not in self.killed and worker.process.poll() is None
                ]
                if living:
                    victim = self.random.choice(living)
                    victim.kill()
                    self.killed.append(victim)


def killed_driver(world: World, folder: Path) -> None:
    """The command, killed once it has got on a little; its workers end by themselves."""
    before = progress(world.plan, folder)
    command = [
        sys.executable,
        "-m",
        "loci",
        "survey",
        "run",
        str(world.file),
        "-w",
        "2",
        "--states",
        str(folder),
        "-q",
    ]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while progress(world.plan, folder) < before + 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    for _ in range(600):
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("workers outlive their driver")


def test_the_result_is_that_of_a_quiet_pass(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, folder, workers = world.plan, tmp_path / "states", list[Any]()

    class Seen(processes.Process):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            workers.append(self)

    monkeypatch.setattr(processes, "Process", Seen)
    for _ in range(DRIVERS):
        killed_driver(world, folder)
    damaged = sorted(folder.glob("*.safetensors"))[:2]
    damaged[0].write_bytes(damaged[0].read_bytes()[:-50] + b"x" * 50)
    damaged[1].write_bytes(b"")
    killer = Killer(world, folder, workers)
    killer.start()
    told = run_plan(plan, world.file, folder, 2)
    killer.stop.set()
    killer.join()
    assert len(killer.killed) == KILLS and told.deaths >= KILLS - 2, (
        "all kills but those at the very end are noticed"
    )
    assert told.damaged == 2
    assert root_bytes(plan, folder) == world.quiet
    assert [path.name for path in folder.iterdir()] == [f"{plan.id}.safetensors"]
    found = summary(plan, outcome(plan, folder))
    assert found == summary(plan, outcome(plan, world.place / "quiet"))
    first, _ = found["set_aside"]
    assert (first["text"], first["reason"]) == (
        50,
        "not UTF-8",
    ) and "t.txt, line 13 behind byte 1,809" in first["place"]
    started = len(workers)
    assert run_plan(plan, world.file, folder, 2).tokens == 0 and len(workers) == started, (
        "what is done is not done again"
    )


def test_numbers_of_workers_that_cannot_be(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(world.plan.pieces)
    for workers, words in (
        (0, "0 workers do nothing"),
        (count + 1, f"{count + 1} workers for {count} shards"),
    ):
        with pytest.raises(ModelError, match=words):
            run_plan(world.plan, world.file, tmp_path, workers)
    monkeypatch.setattr(driver, "free_bytes", lambda: world.plan.worker_bytes)
    with pytest.raises(ModelError, match=r"2 workers need .* GB of memory, .* GB are free"):
        run_plan(world.plan, world.file, tmp_path, 2)


def test_a_worker_with_another_model_ends_the_run(world: World, tmp_path: Path) -> None:
    """In one line, and so does a model's folder that is gone."""
    config = world.place / "model" / "config.json"
    before = config.read_text()
    config.write_text(before + "\n")
    try:
        with pytest.raises(
            ModelError, match="is not the model that the plan was made for: its files differ"
        ):
            run_plan(world.plan, world.file, tmp_path, 1)
    finally:
        config.write_text(before)
    assert not list(tmp_path.iterdir())
