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
