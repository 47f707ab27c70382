"""The cache: what is in it, what goes first, and that nothing of others is ever touched."""

import os
import time
from pathlib import Path

import pytest

from loci.cache import entries, limit_bytes, mark_used, remove, summary, trim
from loci.errors import OutputError
from loci.model import Model
from loci.text import own_texts
from tests.conftest import tiny_gpt2

DAY = 86_400


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three entries of 100, 200 and 300 kB, used 3, 2 and 1 days ago, beside files of somebody
    else.
    """
    monkeypatch.setenv("LOCI_CACHE", str(tmp_path))
    (tmp_path / "moments").mkdir()
    (tmp_path / "gguf" / "model-1").mkdir(parents=True)
    files = {
        tmp_path / "moments" / "a.safetensors": 100,
        tmp_path / "gguf" / "model-1" / "model.safetensors": 200,
        tmp_path / "moments" / "b.safetensors": 300,
    }
    for size, path in ((size, path) for path, size in files.items()):
        path.write_bytes(bytes(size * 1000))
    for days, path in (
        (3, "moments/a.safetensors"),
        (2, "gguf/model-1"),
        (1, "moments/b.safetensors"),
    ):
        os.utime(tmp_path / path, (0, time.time() - days * DAY))
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "papers").mkdir()
    return tmp_path


def names() -> list[str]:
    return [entry.path.name for entry in entries()]


def test_what_is_kept(cache: Path) -> None:
    assert names() == ["a.safetensors", "model-1", "b.safetensors"], "the least recently used first"
    found = {kind["kind"]: (kind["entries"], kind["bytes"]) for kind in summary(entries())}
    assert found == {
        "gguf": (1, 200_000),
        "moments": (2, 400_000),
        "texts": (0, 0),
        "surveys": (0, 0),
    }


@pytest.mark.parametrize(
    ("limit", "left"),
    [
        ("0.0006", 3),
        ("0.00055", 2),
        ("0.0003", 1),
        ("0.0000001", 0),
        ("0", 3),
        ("", 3),
        ("much", 3),
    ],
)
def test_a_limit_removes_what_was_not_used_for_longest(
    cache: Path, monkeypatch: pytest.MonkeyPatch, limit: str, left: int
) -> None:
    monkeypatch.setenv("LOCI_CACHE_LIMIT", limit)
    everything = names()
    assert [entry.path.name for entry in trim()] == everything[: 3 - left]
    assert names() == everything[3 - left :]
    assert (cache / "mine.txt").exists() and (cache / "papers").exists()


def test_what_is_in_use_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCI_CACHE_LIMIT", "0.0000001")
    mark_used(cache / "moments" / "a.safetensors")
    mark_used(cache / "nothing")
    trim()
    assert names() == ["a.safetensors"]
    assert len(remove(entries())) == 1 and names() == []


def test_limits_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("much", "-1", "nan", "inf", "1e12"):
        monkeypatch.setenv("LOCI_CACHE_LIMIT", said)
        with pytest.raises(OutputError, match="expected a number of GB"):
            limit_bytes()


def test_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCI_CACHE", "")
    assert entries() == [] and trim() == []


@pytest.mark.parametrize("name", ["LOCI_CACHE", "XDG_CACHE_HOME", "HOME"])
@pytest.mark.parametrize("kind", ["below a file", "read-only"])
def test_where_nothing_can_be_kept_the_same_is_found(
    demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    tiny = tiny_gpt2(demo)
    monkeypatch.setenv("LOCI_CACHE", "")
    texts = own_texts(tiny, 64, length=2)
    place = tmp_path / "place"
    if kind == "read-only":
        place.mkdir(mode=0o500)  # to root all is writable
    else:
        place.write_text("")
        place /= "folder"
    for other in ("LOCI_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, str(place))
    assert own_texts(tiny, 64, length=2) == texts
    assert entries() == [] or kind == "read-only"
