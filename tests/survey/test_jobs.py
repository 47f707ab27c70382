"""Shares of a plan without a driver, job scripts, and actors of Ray: the same bytes as any other
run.
"""

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from tests.conftest import tiny_gpt2

from loci.errors import ModelError
from loci.facts import corpus
from loci.model import Model
from loci.patches import save_model
from loci.survey.driver import run_plan
from loci.survey.jobs import ShardShare, run_share, share_from, slurm_script, torchrun_script
from loci.survey.plan import Plan, make_plan
from loci.survey.plan_document import ModelSource
from loci.survey.question import keys_question
from loci.survey.ray_pool import RayPool, RayWorker, check_answers, connected
from loci.survey.shards import done, state_path
from loci.survey.tree import MergeNode, root


class Planned(NamedTuple):
    """A plan of a small model, its file, and the bytes of its state."""

    plan: Plan
    file: Path
    whole: bytes


@pytest.fixture(scope="module")
def planned(demo: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planned]:
    place = tmp_path_factory.mktemp("jobs")
    (place / "model").mkdir()
    save_model(tiny_gpt2(demo), place / "model")
    (place / "t.txt").write_text("\n".join(corpus()[:400]))
    plan = make_plan(
        ModelSource(str(place / "model")), keys_question([1]), place / "t.txt", shard_tokens=250
    )
    plan.write(place / "p.json")
    threads = torch.get_num_threads()
    run_share(plan, place / "whole", ShardShare(0, 1, 0))
    yield Planned(plan, place / "p.json", root_bytes(plan, place / "whole"))
    torch.set_num_threads(threads)


def root_bytes(plan: Plan, folder: Path) -> bytes:
    return state_path(plan, root(len(plan.pieces)), folder).read_bytes()


def test_shares_make_the_whole(planned: Planned, tmp_path: Path) -> None:
    """Each job joins what is whole when it ends; whoever comes last ends the plan."""
    plan, count = planned.plan, len(planned.plan.pieces)
    assert count > 16
    read = [run_share(plan, tmp_path, ShardShare(rank, 3, rank)) for rank in (2, 0)]
    assert len(
        {shard for node in done(plan, tmp_path) for shard in node.shards(count)}
    ) == count - len(range(1, count, 3))
    told: list[tuple[int, int, int]] = []
    read.append(run_share(plan, tmp_path, ShardShare(1, 3, 1), lambda *said: told.append(said)))
    assert told[-1] == (len(range(1, count, 3)), len(range(1, count, 3)), read[-1])
    assert run_share(plan, tmp_path, ShardShare(1, 3, 1)) == 0, "what is done is not done again"
    for rank in (0, 2):
        run_share(plan, tmp_path, ShardShare(rank, 3, rank))
    assert root_bytes(plan, tmp_path) == planned.whole


def test_what_a_share_is() -> None:
    assert share_from("3/64", {}) == (3, 64, 3)
    assert share_from(
        "env", {"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_LOCALID": "0"}
    ) == (5, 8, 0)
    assert share_from("env", {"RANK": "9", "WORLD_SIZE": "16", "LOCAL_RANK": "1"}) == (9, 16, 1)
    for text, words in (
        ("64/64", "expected R/N"),
        ("a", "expected R/N"),
        ("1/0", "expected R/N"),
        ("-1/4", "expected R/N"),
        ("env", "neither torchrun nor Slurm"),
    ):
        with pytest.raises(ModelError, match=words):
            share_from(text, {})


def test_scripts_are_scripts(planned: Planned, tmp_path: Path) -> None:
    """They run the plan, whatever its name; a shell finds nothing wrong with them."""
    file = tmp_path / "a plan's.json"
    planned.plan.write(file)
    for script in (slurm_script, torchrun_script):
        text = script(planned.plan, file, tmp_path / "states", 4)
        assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0
        words = shlex.split(text.splitlines()[-1])
        at = words.index("loci")
        assert words[at : at + 6] == [
            "loci",
            "survey",
            "run",
            str(file),
            "--states",
            str(tmp_path / "states"),
        ]
        assert words[-2] == "--share"
    assert "--array=0-3" in slurm_script(planned.plan, file, tmp_path, 4)


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(ModelError, match="nobody answers there"):
            check_answers(address)
    for address in ("nowhere", "host:", "host:99999", ":80"):
        with pytest.raises(ModelError, match="expected local, HOST:PORT or ray://HOST:PORT"):
            check_answers(address)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ModelError, match=r"pip install 'loci-lm\[ray\]'"):
        connected("local", 2)


def test_actors_of_ray(planned: Planned, tmp_path: Path) -> None:
    """One is killed on the way; the bytes are those of any other run."""
    pytest.importorskip("ray")
    killed: list[int] = []

    class Killing(RayPool):
        def wait(self, seconds: float) -> list[tuple[RayWorker, list[dict[str, object]] | None]]:
            heard = super().wait(seconds)
            for _, answers in heard:
                for said in answers or []:
                    pid = said.get("ready")
                    if isinstance(pid, int):
                        self.pids = [*getattr(self, "pids", []), pid]
                    elif not killed:
                        os.kill(self.pids[0], signal.SIGKILL)
                        killed.append(self.pids[0])
            return heard

    pool = Killing("local", planned.plan, planned.file, tmp_path, 2)
    told = run_plan(planned.plan, planned.file, tmp_path, 2, pool=pool)
    assert killed and told.deaths == 1
    assert root_bytes(planned.plan, tmp_path) == planned.whole
    assert set(done(planned.plan, tmp_path)) == {MergeNode(2, 0)}
