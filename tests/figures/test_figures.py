import json
from pathlib import Path

import plotly.graph_objects as go
import pytest

import loci
from loci.auditing import recall
from loci.errors import OutputError
from loci.facts import Fact, FactSet
from loci.figures import Ladder, plot, save
from loci.locating import average_trace, lookup, neurons, trace
from loci.model import Model


def test_trace_figure_shows_the_numbers(demo: Model, jordan: Fact) -> None:
    result = trace(demo, jordan, samples=2)
    figure = plot(result)
    heat = [t for t in figure.data if isinstance(t, go.Heatmap)]
    assert len(heat) == 3
    for one, kind in zip(heat, result.grids, strict=True):
        assert [list(row) for row in one.z] == result.grids[kind].T.tolist()
    assert len({(one.zmin, one.zmax) for one in heat}) == 1, "one scale, so that the kinds can be compared"
    assert "basketball" in figure.layout.title.text


def test_every_result_has_its_figure(demo: Model, world: FactSet, jordan: Fact) -> None:
    average = average_trace(demo, [jordan, *world.sample(3)], samples=2)
    for result in (
        average,
        neurons(demo, jordan, steps=4),
        recall(demo, world[:20]),
        (found := lookup(demo, world, "athlete_sport", count=4)),
        found.two_tokens,
        found.single_step,
        found.context,
        Ladder("x", {"base": {" a": 0.7}, "edited": {" b": 0.4}}),
    ):
        assert loci.plot(result).data
    with pytest.raises(TypeError, match="no figure for int"):
        plot(3)


def test_saved_files(demo: Model, jordan: Fact, tmp_path: Path) -> None:
    result = trace(demo, jordan, samples=2)
    save(result, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["schema"] == "loci.trace/1"
    save(result, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert 'src="http' not in page
    with pytest.raises(OutputError, match="the ending says"):
        save(result, tmp_path / "a.txt")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.html", "a.json"]


def test_a_figure_that_cannot_be_written_leaves_the_old_one(demo: Model, jordan: Fact, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr(go.Figure, "write_image", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no browser")))
    with pytest.raises(OutputError, match="needs loci-lm"):
        save(trace(demo, jordan, samples=2), path)
    assert path.read_bytes() == b"old"
