import errno
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import plotly.graph_objects as go
import pytest

import loci
from loci.auditing import recall
from loci.errors import OutputError
from loci.facts import Fact, FactSet
from loci.figures import Ladder, plot, save
from loci.figures.outside import as_text
from loci.figures.saving import _no_browser, check_image
from loci.locating import AverageTrace, average_trace, lookup, neuron_attribution, trace
from loci.locating.average import ROLES
from loci.locating.lens_results import Word
from loci.model import Model
from loci.stats import Estimate


def test_trace_figure_shows_the_numbers(demo: Model, jordan: Fact) -> None:
    result = trace(demo, jordan, samples=2)
    figure = plot(result)
    heat = [t for t in figure.data if isinstance(t, go.Heatmap)]
    assert len(heat) == 3
    for one, kind in zip(heat, result.grids, strict=True):
        assert [list(row) for row in one.z] == result.grids[kind].T.tolist()
    assert len({(one.zmin, one.zmax) for one in heat}) == 1, (
        "one scale, so that the kinds can be compared"
    )
    assert "basketball" in figure.layout.title.text


def test_every_result_has_its_figure(demo: Model, world: FactSet, jordan: Fact) -> None:
    average = average_trace(demo, [jordan, *world.sample(3)], samples=2)
    for result in (
        average,
        neuron_attribution(demo, jordan, steps=4),
        recall(demo, world[:20]),
        (
            found := lookup(
                demo,
                world,
                "athlete_sport",
                texts=[f"{f.text} {f.answer}." for f in world[:100]],
                count=4,
                neurons=64,
            )
        ),
        found.two_tokens,
        found.single_step,
        found.context,
        Ladder("x", {"base": {" a": 0.7}, "edited": {" b": 0.4}}),
    ):
        assert loci.plot(result).data
    with pytest.raises(TypeError, match="no figure for int"):
        plot(3)


def test_an_average_is_drawn_with_the_bands_of_its_intervals() -> None:
    """Of the subject's last and the prompt's last token, below the grids."""
    cell = [Estimate(0.1 * i, 0.1 * i - 0.05, 0.1 * i + 0.05, 9) for i in range(len(ROLES))]
    found = AverageTrace("m", False, 9, 0, 1, {"state": [cell] * 80, "mlp": [cell] * 80})
    figure = plot(found)
    bands = [one for one in figure.data if one.type == "scatter" and one.fill == "toself"]
    assert len(bands) == 4 and {one.yaxis for one in bands} == {"y3", "y4"}
    for band, role in zip(bands, ("last subject", "last") * 2, strict=True):
        middle = 0.1 * ROLES.index(role)
        assert sorted(set(band.y)) == pytest.approx([middle - 0.05, middle + 0.05])
    heat = [one for one in figure.data if one.type == "heatmap"]
    assert [one.xgap for one in heat] == [0, 0], "gaps between 80 layers would be all one sees"


@pytest.mark.parametrize("layers", [18, 80])
def test_words_of_a_lens_do_not_stand_over_each_other(demo: Model, layers: int) -> None:
    """A word that stays is written once, and a long one is cut."""
    found = loci.lens(demo, "Michael Jordan plays the sport of", "basketball")
    words = ("staphylococcus", "bar", "bar", "basketball")
    rungs = tuple(
        replace(found.layers[0], layer=i, top=(Word(words[i % 4], 0.5),)) for i in range(layers)
    )
    figure = plot(replace(found, layers=rungs))
    shown = [(i, word) for i, word in enumerate(figure.data[0].text) if word]
    places = [i for i, _ in shown]
    assert shown[0] == (0, "staphylo…") and "bar" in dict(shown).values()
    assert len(shown) <= 18 and all(word != "bar" or i % 4 == 1 for i, word in shown)
    assert all(b - a >= layers / 18 for a, b in pairwise(places))
    assert list(figure.data[0].customdata[:4]) == list(words)


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


def test_a_figure_that_cannot_be_written_leaves_the_old_one(
    demo: Model, jordan: Fact, tmp_path: Path, monkeypatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    monkeypatch.setattr("loci.figures.saving._no_browser", lambda: None)
    monkeypatch.setattr(
        go.Figure, "to_image", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("it has gone"))
    )
    with pytest.raises(OutputError, match=r"a\.png: cannot be drawn \(it has gone\)"):
        save(trace(demo, jordan, samples=2), path)
    assert path.read_bytes() == b"old"


def test_a_full_disk_is_not_blamed_on_a_browser(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(go.Figure, "to_image", lambda *_, **__: b"image")
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left") as error:
        save(Ladder("x", {"base": {"a": 1.0}}), tmp_path / "a.png")
    assert "Chrom" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_strings_of_a_result_are_text_and_no_markup(demo: Model) -> None:
    name = 'Mi<b>chael</b> <a href="https://example.org">Jordan</a> & Co'
    fact = Fact(name, "{} plays the sport of", "basketball")
    result = trace(demo, fact, samples=1)
    figure = plot(result).to_json()
    assert "<a href" not in figure and "<b>" not in figure.replace("<br>", "")
    assert "&lt;a href" in figure or "\\u003ca" not in figure
    assert result.prompt.startswith("Mi<b>"), "the result is as it was"


def test_only_what_needs_it_is_copied() -> None:
    plain = {"a": ("b", [1, 2.0]), "c": Fact("x", "{} is", "y")}
    assert as_text(plain) is plain
    found = as_text({"a<": (Fact("x & y", "{} is", "y"), ["<b>"])})
    assert found == {"a&lt;": (Fact("x &amp; y", "{} is", "y"), ["&lt;b&gt;"])}


def test_an_image_is_tried_before_the_work(monkeypatch, tmp_path: Path) -> None:
    """Without a browser and without matplotlib it is refused; with either it is not."""
    _no_browser.cache_clear()
    monkeypatch.setattr(
        go.Figure, "to_image", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("no browser"))
    )
    try:
        monkeypatch.setattr("loci.figures.saving.find_spec", lambda _: None)
        with pytest.raises(OutputError, match=r"Chromium, or matplotlib: pip install"):
            check_image(tmp_path / "a.svg")
        check_image(tmp_path / "a.html")
        monkeypatch.setattr("loci.figures.saving.find_spec", lambda _: object())
        check_image(tmp_path / "a.svg")
    finally:
        _no_browser.cache_clear()
