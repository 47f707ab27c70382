"""A result is one file: `Tosses` below is all that a new one takes, and terminal, page, notebook,
table and figure follow.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest

import loci
from loci.cli.show import base
from loci.cli.terminal import Terminal
from loci.errors import UseError
from loci.report import notebook
from loci.result import Result
from loci.stats import Estimate, share
from loci.tables import Column, Table


@dataclass(frozen=True)
class Tosses(Result):
    """How often coins fall on their heads."""

    coins: dict[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "loci.tosses/1",
            "coins": {name: own.to_dict() for name, own in self.coins.items()},
        }

    def summary(self) -> tuple[str, ...]:
        return (f"{len(self.coins)} coins were tossed.",)

    def tables(self) -> tuple[Table, ...]:
        return (
            Table("Heads", (Column("coin"), Column("heads", ".1%")), tuple(self.coins.items())),
        )


@pytest.fixture
def tosses() -> Tosses:
    return Tosses({"a <b>penny</b>": share([1, 0, 1, 1]), "[dim]euro[/]": share([0, 0])})


def test_terminal(tosses: Tosses, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(base, "console", Terminal(file=screen, width=80, highlight=False))
    base.show(tosses)
    told = screen.getvalue()
    assert all(
        words in told
        for words in ("2 coins were tossed.", "Heads", "a <b>penny</b>", "[dim]euro[/]")
    )
    assert "75.0% [30.1%, 95.4%]" in told, "Wilson's interval of 3 of 4"


def test_page_and_notebook(tosses: Tosses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tosses, "__module__", "__main__")  # as of a class in a notebook
    tosses.save(tmp_path / "a.html")
    for html in ((tmp_path / "a.html").read_text(), notebook(tosses)):
        assert "2 coins were tossed." in html and "75.0% [30.1%, 95.4%]" in html
        assert "<b>penny" not in html and "&lt;b&gt;penny" in html


def test_a_table_without_rows_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen, nothing = io.StringIO(), Tosses({})
    monkeypatch.setattr(base, "console", Terminal(file=screen, width=80, highlight=False))
    base.show(nothing)
    nothing.save(tmp_path / "a.html")
    for told in (screen.getvalue(), (tmp_path / "a.html").read_text(), notebook(nothing)):
        assert "0 coins were tossed." in told and "Heads" not in told
    assert len(nothing.to_frame()) == 0


def test_frame_and_files(tosses: Tosses, tmp_path: Path) -> None:
    tosses.save(tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size > 0
    tosses.save(tmp_path / "a.json")
    assert Tosses.load(tmp_path / "a.json") == tosses


def test_figure(tosses: Tosses) -> None:
    drawn = loci.plot(tosses)
    assert [list(bar.y) for bar in drawn.data] == [[0.75, 0.0]]
    assert drawn.data[0].error_y.array[0] == pytest.approx(0.954 - 0.75, abs=1e-3)

    @dataclass(frozen=True)
    class Drawn(Tosses):
        """With a figure of its own."""

        def draw(self) -> go.Figure:
            return go.Figure(go.Scatter(y=[1]))

    assert isinstance(loci.plot(Drawn(tosses.coins)).data[0], go.Scatter)

    @dataclass(frozen=True)
    class Silent(Result):
        """Without tables."""

        def to_dict(self) -> dict[str, Any]:
            return {"schema": "loci.silent/1"}

    with pytest.raises(UseError, match="no figure for Silent"):
        loci.plot(Silent())


def test_a_row_has_a_cell_for_every_column() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2"):
        Table("x", (Column("a"), Column("b")), (("one",),))
    assert [
        Column("a", unit="s").heading,
        Column("a").told(None),
        Column("a").told(True),
        Column("a").told(1234),
    ] == [
        "a (s)",
        "–",
        "yes",
        "1,234",
    ]
