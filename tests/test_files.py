import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loci.asides import MAGIC, PREFIX
from loci.errors import OutputError
from loci.files import append_line, cache_folder, check_writable, exclusive, write_aside


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
    with write_aside(tmp_path / "deep" / "folder", folder=True) as aside:
        aside.mkdir()
        (aside / "x").write_text("1")
    assert (tmp_path / "deep" / "folder" / "x").read_text() == "1"
    with pytest.raises(OutputError, match="files in it"):
        check_writable(tmp_path / "deep", folder=True)


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
    with write_aside(place / f"folder{turn}", folder=True) as aside:
        aside.mkdir()
        for part in "ab":
            slowly(aside / part, mark)
    print(turn, flush=True)
"""


def test_killed_at_any_moment_the_old_or_the_new_is_there_whole(tmp_path: Path) -> None:
    size, rng, turns = 300_000, random.Random(0), []
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", LOOP, tmp_path, str(size)], stdout=subprocess.PIPE, text=True
        ) as child:
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


HOLD = """
import sys, time
from loci.files import write_aside
with write_aside(sys.argv[1]) as aside:
    aside.write_text("half")
    print(flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_tidied_at_once_and_what_is_in_use_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (room,) = tmp_path.iterdir()
        os.utime(room, (0, 0))
        with write_aside(tmp_path / "b") as aside:
            aside.write_text("whole")
        assert room.exists()
        child.kill()
    with write_aside(tmp_path / "b") as aside:
        aside.write_text("newer")
    assert [file.name for file in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "newer"


def test_of_a_killed_process_every_half_of_a_room_is_tidied(tmp_path: Path) -> None:
    """Killed before the owner's file was there, while it was written, and while the room was
    removed.
    """
    with subprocess.Popen(["true"]) as ended:
        pass
    for word in ("a", "b", "c", "d"):
        (tmp_path / f"{PREFIX}{ended.pid}-{word}").mkdir()
    (tmp_path / f"{PREFIX}{ended.pid}-b" / "owner.new").write_bytes(MAGIC[:10])
    (tmp_path / f"{PREFIX}{ended.pid}-c" / "owner").write_bytes(MAGIC)
    (tmp_path / f"{PREFIX}{ended.pid}-d" / "owner").write_bytes(MAGIC)
    (tmp_path / f"{PREFIX}{ended.pid}-d" / "big").mkdir()
    (tmp_path / f"{PREFIX}{ended.pid}-d" / "big" / "file").write_text("x")
    with write_aside(tmp_path / "out") as aside:
        aside.write_text("x")
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_leftovers_go_where_the_output_is_refused_too(tmp_path: Path) -> None:
    """Killed between the last rename and the removal of its room: the folder is there, whole."""
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / f"{PREFIX}{ended.pid}-a").mkdir()
    (tmp_path / f"{PREFIX}{ended.pid}-a" / "owner").write_bytes(MAGIC)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    with pytest.raises(OutputError, match="files in it"):
        check_writable(tmp_path / "out", folder=True)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


def test_a_disk_of_64_kilobytes(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    try:
        (place / "a").write_bytes(b"old")
        with (
            pytest.raises(OutputError, match=r"cannot be written \(No space left on device\)"),
            write_aside(place / "a") as aside,
        ):
            aside.write_bytes(b"x" * 100_000)
        with pytest.raises(OutputError, match="No space left"):
            append_line(place / "lines", "y" * 100_000)
        (place / "lines").unlink()
        assert {path.name: path.read_bytes() for path in place.iterdir()} == {"a": b"old"}
        with write_aside(place / "a") as aside:
            aside.write_bytes(b"new")
        assert (place / "a").read_bytes() == b"new"
    finally:
        subprocess.run(["umount", place], check=True)


def test_what_only_looks_like_a_leftover_is_left_alone(tmp_path: Path) -> None:
    strangers = {
        ".m.backup": ".lock",
        ".m.x1y2": ".lock",
        f"{PREFIX}1234567-mine": "owner",
        f"{PREFIX}1234567-more": "data",
        f"{PREFIX}notes": "owner",
    }
    for folder, name in strangers.items():
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("mine")
        os.utime(tmp_path / folder, (0, 0))
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "owner").write_bytes(MAGIC)
    (tmp_path / f"{PREFIX}1234567-link").symlink_to(tmp_path / "kept")
    before = sorted(path for path in tmp_path.rglob("*"))
    with write_aside(tmp_path / "m", folder=True) as aside:
        aside.mkdir()
    assert sorted(path for path in tmp_path.rglob("*")) == sorted([*before, tmp_path / "m"])


def _node(path: Path, kind: str) -> None:
    try:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(str(path))
        else:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except (OSError, AttributeError) as error:
        pytest.skip(f"no {kind} can be made here: {error}")


@pytest.mark.parametrize("kind", ["device", "pipe", "socket"])
@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_file_is_never_replaced(
    tmp_path: Path, kind: str, link: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _node(Path("node"), kind)
    before = Path("node").stat()
    Path("link").symlink_to("node")
    target = "link" if link else "node"
    for write in (write_aside(target), write_aside(target, folder=True)):
        with pytest.raises(OutputError, match=rf"{target}: not a regular file \(a {kind}\)"), write:
            pytest.fail("nothing may be written")
    with pytest.raises(OutputError, match="not a regular file"):
        check_writable(target)
    if kind != "socket":
        with pytest.raises(OutputError, match=r"not a regular file|No such device"):
            append_line(target, "x")
    after = Path("node").stat()
    assert (before.st_mode, before.st_ino) == (after.st_mode, after.st_ino)
    assert sorted(path.name for path in Path().iterdir()) == ["link", "node"]


def test_a_device_as_output_of_a_command_stays_one(tmp_path: Path) -> None:
    _node(tmp_path / "n.json", "device")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "loci",
            "census",
            "--config",
            "gpt3-125m",
            "-o",
            str(tmp_path / "n.json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "not a regular file (a device)" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert stat.S_ISCHR((tmp_path / "n.json").stat().st_mode)


def test_modes_and_links_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "deep" / "real", tmp_path / "link"
    real.parent.mkdir()
    real.write_text("old")
    real.chmod(0o600)
    link.symlink_to(Path("deep") / "real")
    with write_aside(link) as aside:
        aside.write_text("new")
    assert link.is_symlink()
    assert (real.read_text(), stat.S_IMODE(real.stat().st_mode)) == ("new", 0o600)
    (tmp_path / "dangling").symlink_to("later")
    old = os.umask(0o027)
    try:
        with write_aside(tmp_path / "dangling") as aside:
            aside.write_text("first")
    finally:
        os.umask(old)
    assert (tmp_path / "dangling").is_symlink()
    assert stat.S_IMODE((tmp_path / "later").stat().st_mode) == 0o640
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match="cannot be written"):
        check_writable(tmp_path / "loop")


def test_parents_go_again_after_an_error_and_after_a_check(tmp_path: Path) -> None:
    place = tmp_path / "there" / "a" / "b" / "c"
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="no"), write_aside(place) as aside:
        aside.write_text("half")
        raise ValueError("no")
    check_writable(place)
    assert list(tmp_path.rglob("*")) == [tmp_path / "there"]
    with pytest.raises(ValueError, match="no"), write_aside(place):
        (place.parent / "another's").write_text("x")
        raise ValueError("no")
    assert (place.parent / "another's").exists()


@pytest.mark.parametrize(
    "name",
    [
        "n" * 300,
        "m" * 300 + "/x",
        "a\0b",
        "\ud800",
        "",
        ".",
        "..",
        "a/..",
        "file/",
        "file/x",
        "folder",
        "x" * 5000,
    ],
)
def test_names_that_are_none(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("old")
    Path("folder").mkdir()
    if name == "file/":
        name = "file/y"
    with pytest.raises(OutputError) as error:
        check_writable(name)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400
    with pytest.raises(OutputError), write_aside(name):
        pytest.fail("nothing may be written")
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder"]
    with pytest.raises(OutputError, match="there is a file of this name"):
        check_writable("file", folder=True)


RACE = """
import sys
from pathlib import Path
from loci.files import write_aside
for turn in range(25):
    with write_aside(sys.argv[1]) as aside:
        aside.write_bytes(sys.argv[2].encode() * 200_000)
"""


def test_two_processes_that_write_one_file_leave_one_whole(tmp_path: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", RACE, tmp_path / "a", mark]) for mark in "12"
    ]
    assert [child.wait() for child in children] == [0, 0]
    data = (tmp_path / "a").read_bytes()
    assert (len(data), len(set(data))) == (200_000, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_of_two_processes_that_write_one_folder_the_second_is_refused_and_the_first_whole(
    tmp_path: Path,
) -> None:
    with (
        pytest.raises(OutputError, match="cannot be written"),
        write_aside(tmp_path / "a", folder=True) as late,
    ):
        late.mkdir()
        (late / "x").write_text("late")
        with write_aside(tmp_path / "a", folder=True) as early:
            early.mkdir()
            (early / "x").write_text("early")
    assert (tmp_path / "a" / "x").read_text() == "early"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


LOCK = """
import sys, time
from loci.files import exclusive
with exclusive(sys.argv[1], "busy"):
    print(flush=True)
    time.sleep(60)
"""


def test_a_lock_is_held_by_one_and_falls_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen([sys.executable, "-c", LOCK, path], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(OutputError, match="busy"), exclusive(path, "busy"):
            pytest.fail("held by another")
        child.kill()
    with exclusive(path, "busy"):
        assert path.exists()
    assert not path.exists()


def test_where_caches_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "loci"
    for home in ("", "relative"):
        monkeypatch.setenv("HOME", home)
        found = cache_folder()
        assert found is None or found.parent.parent != Path("/")
        assert found is None or found.is_absolute()
    monkeypatch.setenv("HOME", str(tmp_path / "gone"))
    assert cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "loci"
    monkeypatch.setenv("LOCI_CACHE", "")
    assert cache_folder() is None
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


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
        [sys.executable, "-c", FULL, str(limit)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert len(lines) == 5
    assert all("cannot be written" in line and "File too large" in line for line in lines)
    assert [file.name for file in tmp_path.iterdir()] == ["patch.safetensors"]
    assert (tmp_path / "patch.safetensors").read_text() == "old"
