"""What every result can do: equality, a short repr, a table, the way to a file and back."""

import importlib
import pkgutil
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import torch

import loci
from loci.errors import OutputError
from loci.facts import Fact
from loci.locating import Located, Trace, locate, neuron_attribution, trace
from loci.model import Model
from loci.result import Result, brief, same


@pytest.fixture(scope="module")
def grid(demo: Model, jordan: Fact) -> Trace:
    return trace(demo, jordan, samples=2)


def results() -> list[type[Result]]:
    for module in pkgutil.walk_packages(loci.__path__, "loci."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    found, todo = [], [Result]
    while todo:
        todo += (below := todo.pop().__subclasses__())
        found += below
    return [kind for kind in found if kind.__module__.startswith("loci.")]


def test_all_that_is_shown_is_a_result() -> None:
    """Whatever has a figure or a form on a terminal can also be compared, saved and shown in a
    notebook.
    """
    from loci.cli.show import show
    from loci.patches import Patch

    kinds = results()
    shown = {kind for kind in show.registry if kind is not object}
    assert all(issubclass(kind, Result) or kind is Patch for kind in shown)
    assert all(is_dataclass(kind) and kind.__eq__ is Result.__eq__ for kind in kinds)


def test_two_runs_of_one_seed_are_equal(demo: Model, jordan: Fact, grid: Trace) -> None:
    again = trace(demo, jordan, samples=2)
    assert grid == again and hash(grid) == hash(again)
    assert grid != trace(demo, jordan, samples=3)
    assert (grid == "grid") is False


def test_equality_of_parts() -> None:
    nan = float("nan")
    assert same({"a": (1.0, torch.tensor([nan, 2.0]))}, {"a": (1.0, torch.tensor([nan, 2.0]))})
    assert not same({"a": torch.zeros(2)}, {"a": torch.zeros(3)})
    assert not same({"a": torch.zeros(2)}, {"a": torch.zeros(2, dtype=torch.float64)})
    assert not same([1, 2], [1, 3]) and not same((1,), [1])


def test_a_repr_fits_on_a_screen(grid: Trace) -> None:
    assert len(repr(grid)) < 800 and "grids={'state': <6 × 7>" in repr(grid)
    assert brief(list(range(50))) == "<50>"


def test_to_a_file_and_back(demo: Model, jordan: Fact, grid: Trace, tmp_path: Path) -> None:
    grid.save(tmp_path / "grid.json")
    assert Trace.load(tmp_path / "grid.json") == grid
    found = locate(demo, jordan)
    found.save(tmp_path / "found.json")
    assert Located.load(tmp_path / "found.json") == found


def test_what_cannot_be_read_back_is_refused(
    demo: Model, jordan: Fact, grid: Trace, tmp_path: Path
) -> None:
    grid.save(tmp_path / "grid.json")
    with pytest.raises(OutputError, match="cannot be read back as Located"):
        Located.load(tmp_path / "grid.json")
    cells = neuron_attribution(demo, jordan, steps=2)
    cells.save(tmp_path / "cells.json")
    with pytest.raises(OutputError, match="leaves out scores"):
        type(cells).load(tmp_path / "cells.json")
    for text in ("{", "[]", "{}"):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(OutputError, match=r"bad\.json"):
            Trace.load(tmp_path / "bad.json")
    with pytest.raises(OutputError, match="cannot be read"):
        Trace.load(tmp_path / "missing.json")


def test_a_table_in_memory(grid: Trace) -> None:
    table = grid.to_frame()
    names = list(table.columns if hasattr(table, "to_numpy") else table.column_names)
    assert {"part", "i", "j", "value"} <= set(names) and len(table) >= 3 * grid.grids["mlp"].numel()


def test_plot(grid: Trace) -> None:
    assert len(grid.plot().data) == 3
