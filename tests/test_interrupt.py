"""Stopped or killed at any moment, and then the same command again: the result of an undisturbed
run, and nothing left over.

A job is a command in a folder of its own. It is stopped by real signals at random times, and killed
before the k-th call that changes the disk, so that the windows between such calls are tried without
waiting for luck. The long form (`make interrupt`) tries every one.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from loci.model import Model
from loci.patches import load_patch, save_model
from tests.conftest import tiny_gpt2

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
LONG = "LOCI_LONG" in os.environ
KILLS, STOPS = (30, 20) if LONG else (1, 1)
"""Kills of each job at random times, and stops by Ctrl-C; besides, in the long form, a kill before
every change of the disk.
"""
EDIT = (
    "edit",
    "-s",
    "Michael Jordan",
    "-p",
    "{} plays the sport of",
    "-a",
    "golf",
    "-m",
    "../model",
    "--layer",
    "1",
)


class Job(NamedTuple):
    """A command and what it makes."""

    words: tuple[str, ...]
    makes: str


JOBS = {
    "edit": Job(
        (*EDIT, "--method", "rome", "--text", "../t.txt", "-o", "p.safetensors"), "p.safetensors"
    ),
    "cache": Job((*EDIT, "--method", "memit", "-o", "p.safetensors"), "p.safetensors"),
    "apply": Job(
        ("patch", "apply", "../p.safetensors", "-m", "../model", "-o", "edited"), "edited"
    ),
    "atlas": Job(("atlas", "build", "-m", "../model", "--text", "../t.txt", "-o", "a"), "a"),
    "trace": Job(
        ("trace", "--known", "4", "--samples", "1", "--resume", "t.jsonl", "-o", "t.json"), "t.json"
    ),
}


class Forker:
    """Runs jobs in processes that need no imports."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("forker.py"))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(
        self,
        name: str,
        place: Path,
        *,
        cut: int = 0,
        stop: tuple[float, signal.Signals] | None = None,
    ) -> int:
        """A job's status; killed before its `cut`-th change of the disk, or sent a signal after so
        many seconds.
        """
        assert self.process.stdin is not None and self.process.stdout is not None
        job = {"words": JOBS[name].words, "cwd": str(place), "cut": cut, "root": str(place)}
        job["env"] = {"LOCI_CACHE": "cache" if name == "cache" else ""}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        if stop is not None:
            time.sleep(stop[0])
            with suppress(ProcessLookupError):  # it has ended
                os.kill(pid, stop[1])
        return int(self.process.stdout.readline())


class World(NamedTuple):
    """A small model, a text and a patch; the jobs' results when undisturbed, and their seconds."""

    root: Path
    forker: Forker
    results: dict[str, dict[str, bytes]]
    seconds: dict[str, float]

    def fresh(self, name: str) -> Path:
        place = self.root / f"{name}-{len(list(self.root.iterdir()))}"
        place.mkdir()
        return place

    def ends_well(self, name: str, place: Path) -> None:
        """The same command once more: the undisturbed result, and nothing of Loci's left over.

        Where it was killed behind its last step, its folder is there already, whole, and is refused
        as a new one.
        """
        there = self.finished(name, place)
        status = self.forker.run(name, place)
        assert status in ((2,) if there else (0, 3)), Path(f"{place}.log").read_text()
        assert result(name, place) == self.results[name]
        assert not [path for path in place.rglob("*") if path.name.startswith(".")]

    def finished(self, name: str, place: Path) -> bool:
        """Whether a folder that is made once and never replaced is there, whole."""
        return (
            name in ("apply", "atlas")
            and (place / JOBS[name].makes).exists()
            and result(name, place) == self.results[name]
        )

    def log(self, place: Path) -> str:
        path = Path(f"{place}.log")
        return path.read_text() if path.exists() else ""


def result(name: str, place: Path) -> dict[str, bytes]:
    """What a job made, byte for byte; of a patch its numbers, as its header holds seconds."""
    made = place / JOBS[name].makes
    if made.suffix == ".safetensors":
        factors = load_patch(made).factors
        return {
            weight: b"".join(part.numpy().tobytes() for part in factors[weight])
            for weight in sorted(factors)
        }
    files = [made] if made.is_file() else sorted(path for path in made.rglob("*") if path.is_file())
    return {str(path.relative_to(place)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def world(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("world")
    tiny = tiny_gpt2(demo)
    (root / "model").mkdir()
    save_model(tiny, root / "model")
    (root / "t.txt").write_text("\n".join(f"The square of {n} is {n * n}." for n in range(800)))
    made = World(root, Forker(), {}, {})
    for name, job in JOBS.items():
        place, started = made.fresh(name), time.monotonic()
        status = made.forker.run(name, place)
        assert status in (0, 3), made.log(place)
        made.seconds[name] = time.monotonic() - started
        made.results[name] = result(name, place)
        if name == "edit":
            (place / job.makes).rename(root / job.makes)
    yield made
    assert made.forker.process.stdin is not None
    made.forker.process.stdin.close()
    made.forker.process.wait()


def old_or_whole(name: str, place: Path, world: World) -> None:
    """After a kill: what stands under the name is the old file, or the whole new one,
    or nothing.
    """
    made = place / JOBS[name].makes
    if name in ("edit", "cache"):
        assert made.read_bytes() == b"old" or result(name, place) == world.results[name]
    elif name in ("apply", "trace") and made.exists():
        assert result(name, place) == world.results[name]


def begun(name: str, world: World) -> Path:
    place = world.fresh(name)
    if name in ("edit", "cache"):
        (place / JOBS[name].makes).write_bytes(b"old")
    return place


@pytest.mark.parametrize("name", JOBS)
def test_killed_before_a_change_of_the_disk(name: str, world: World) -> None:
    """Killed again and again in one folder, what is left over from one kill in the way of the
    next.
    """
    rng, place, k = random.Random(name), begun(name, world), 0
    while True:
        k += 1 if LONG else rng.randint(3, 9)
        if world.forker.run(name, place, cut=k) != -signal.SIGKILL or (not LONG and k > 15):
            break
        old_or_whole(name, place, world)
        if LONG and name == "apply":
            world.ends_well(name, place)
            place = begun(name, world)
    world.ends_well(name, place)


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_any_time(name: str, world: World) -> None:
    rng, place = random.Random(name), begun(name, world)
    for _ in range(KILLS):
        world.forker.run(
            name, place, stop=((0.2 + 0.8 * rng.random()) * world.seconds[name], signal.SIGKILL)
        )
        old_or_whole(name, place, world)
        if world.finished(name, place):
            world.ends_well(name, place)
            place = begun(name, world)
    world.ends_well(name, place)


@pytest.mark.parametrize("name", ["edit", "atlas", "trace"])
def test_ctrl_c_and_then_the_same_command(name: str, world: World) -> None:
    rng, place = random.Random(f"{name}!"), begun(name, world)
    for _ in range(STOPS):
        status = world.forker.run(
            name, place, stop=((0.1 + 0.8 * rng.random()) * world.seconds[name], signal.SIGINT)
        )
        assert status in (0, 3, 130)
        assert "Traceback" not in world.log(place)
        if world.finished(name, place):
            world.ends_well(name, place)
            place = begun(name, world)
    world.ends_well(name, place)
