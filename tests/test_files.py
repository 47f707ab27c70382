import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loci.errors import OutputError
from loci.files import check_writable, write_aside


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(ValueError, match="no"), write_aside(path) as aside:
        aside.write_text("half")
        raise ValueError("no")
    assert path.read_text() == "old"
    with write_aside(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_folders_are_made_and_never_replaced(tmp_path: Path) -> None:
    with write_aside(tmp_path / "deep" / "folder") as aside:
        aside.mkdir()
        (aside / "x").write_text("1")
    assert (tmp_path / "deep" / "folder" / "x").read_text() == "1"
    with pytest.raises(OutputError, match="files in it"):
        check_writable(tmp_path / "deep")


@pytest.mark.parametrize("place", ["file/below", "/proc/nowhere/x"])
def test_places_that_take_nothing(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(tmp_path / place)


LOOP = """
import sys, time
from pathlib import Path
from loci.files import write_aside
def slowly(path, mark):
    with path.open("wb") as file:
        for _ in range(10):
            file.write(mark * (size // 10))
            file.flush()
            time.sleep(0.001)
place, size = Path(sys.argv[1]), int(sys.argv[2])
for turn in range(10_000):
    mark = f"{turn % 10}".encode()
    with write_aside(place / "file") as aside:
        slowly(aside, mark)
    with write_aside(place / f"folder{turn}") as aside:
        aside.mkdir()
        for part in "ab":
            slowly(aside / part, mark)
    print(turn, flush=True)
"""


def test_killed_at_any_moment_the_old_or_the_new_is_there_whole(tmp_path: Path) -> None:
    size, rng, turns = 300_000, random.Random(0), []
    for _ in range(10):
        with subprocess.Popen([sys.executable, "-c", LOOP, tmp_path, str(size)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            turns.append(child.stdout.readline())
            time.sleep(rng.random() * 0.1)
            child.kill()
        data = (tmp_path / "file").read_bytes()
        assert (len(data), len(set(data))) == (size, 1)
        for folder in tmp_path.glob("folder*"):
            parts = [(folder / part).read_bytes() for part in "ab"]
            assert parts[0] == parts[1]
            assert (len(parts[0]), len(set(parts[0]))) == (size, 1)
            shutil.rmtree(folder)
    assert turns == ["0\n"] * 10, "every child came to save at least once"


def test_what_a_killed_process_left_is_tidied_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    code = "import sys, time\nfrom loci.files import write_aside\nwith write_aside(sys.argv[1]) as a:\n a.write_text('half'); print(flush=True); time.sleep(60)"
    path = tmp_path / "a"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (room,) = tmp_path.iterdir()
        os.utime(room, (0, 0))
        with write_aside(path) as aside:
            aside.write_text("whole")
        assert room.exists()
        child.kill()
    with write_aside(path) as aside:
        aside.write_text("newer")
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "newer"


FULL = """
import resource, sys
import torch
from loci.errors import OutputError
from loci.facts import known_facts, save_facts
from loci.model import open_model
from loci.patches import Factors, Patch, apply_to_folder, export_delta, export_peft
model = open_model("demo")
factors = {"W_down.1": Factors(torch.ones(model.d_model, 64), torch.ones(64, model.d_mlp))}
patch = Patch("test", model.fingerprint, "demo", factors, ())
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
for write in (
    lambda: patch.save("patch.safetensors"),
    lambda: apply_to_folder(patch, model, "folder"),
    lambda: export_peft(patch, model, "adapter"),
    lambda: export_delta(patch, model, "delta.safetensors"),
    lambda: save_facts(known_facts(), "facts.csv"),
):
    try:
        write()
    except OutputError as error:
        print(error)
"""


@pytest.mark.parametrize("limit", [1000, 100_000])
def test_no_room_in_the_middle_of_saving(tmp_path: Path, limit: int) -> None:
    (tmp_path / "patch.safetensors").write_text("old")
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(limit)], cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 5
    assert all("cannot be written" in line and "File too large" in line for line in lines)
    assert [file.name for file in tmp_path.iterdir()] == ["patch.safetensors"]
    assert (tmp_path / "patch.safetensors").read_text() == "old"
