"""Tables on a terminal: aligned, unsigned, nothing left out of narrow screens, readable without
colours.
"""

from dataclasses import replace

import pytest
import torch
from rich.table import Table

from loci.cli import show as _show  # noqa: F401  (the forms)
from loci.cli.common import console
from loci.cli.show.base import SHADES, shade, show
from loci.cli.tables import aligned, lines
from loci.facts import Fact
from loci.locating import locate, trace
from loci.model import Model
from loci.tables import unsigned


def printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, *things: object
) -> list[str]:
    monkeypatch.setattr(console, "_width", width)
    for thing in things:
        console.print(thing) if isinstance(thing, (str, Table)) else show(thing)
    return capsys.readouterr().out.splitlines()


def test_numbers_and_their_headings_stand_at_the_right(capsys, monkeypatch) -> None:
    table = Table("name", "value", "95 % interval", "said", box=None)
    table.add_row("a", "1.0", "0.5 … 1.0", "b 2")
    table.add_row("long name", "-0.0", "–", "")
    head, first, second = printed(capsys, monkeypatch, 80, table)
    assert head.index("value") + 5 == first.index("1.0") + 3 == second.index(" 0.0") + 4
    assert head.index("95 % interval") + 13 == first.index("0.5 … 1.0") + 9
    assert head.index("said") == first.index("b 2"), "words stay at the left"


@pytest.mark.parametrize(
    ("text", "said"),
    [("-0.00", "0.00"), ("-0", "0"), ("−0.0%", "0.0%"), ("-0.01", "-0.01"),
        ("0 [-0.00, 0.1]", "0 [0.00, 0.1]"), ("1e-05", "1e-05"), ("x-0", "x-0"),
        ("+0.00", "+0.00"), ("by -0.00.", "by 0.00."), ("-0.001", "-0.001")],
)  # fmt: skip
def test_nothing_has_no_sign(text: str, said: str) -> None:
    assert unsigned(text) == said


def test_a_long_caption_stands_in_lines() -> None:
    assert (
        lines("\n[dim]dropped: one thing; composed: another[/]", 30)
        == "\n[dim]dropped: one thing[/]\n[dim]composed: another[/]"
    )
    assert lines("[dim]a; b[/]", 30) == "[dim]a; b[/]"


def test_colours_can_be_read_on_light_and_on_dark() -> None:
    assert not any(word in shade for shade in SHADES for word in ("white", "bright", "black"))
    assert shade(-0.001, 1.0).endswith("   0[/]")


@pytest.mark.parametrize("layers", [6, 18, 30, 80])
@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_layer_can_be_read(
    demo: Model, jordan: Fact, capsys, monkeypatch, layers: int, width: int
) -> None:
    found = locate(demo, jordan)
    profiles = {
        site: {name: [i / layers for i in range(layers)] for name in rows}
        for site, rows in found.profiles.items()
    }
    out = printed(capsys, monkeypatch, width, replace(found, profiles=profiles))
    assert not any("…" in line for line in out) and max(map(len, out)) <= width
    numbers = " ".join(out).split()
    assert all(str(layer) in numbers for layer in range(layers))
    assert f"{100 * (layers - 2) / (layers - 1):.0f}" in numbers


def test_a_trace_of_many_layers_is_whole(demo: Model, jordan: Fact, capsys, monkeypatch) -> None:
    found = trace(demo, jordan, samples=1)
    grids = {kind: torch.cat([grid] * 13) for kind, grid in found.grids.items()}
    out = printed(capsys, monkeypatch, 80, replace(found, grids=grids))
    heads = [word for line in out for word in line.split() if word.isdigit()]
    assert set(map(str, range(78))) <= set(heads) and max(map(len, out)) <= 80


def test_the_token_that_fires_is_marked_without_colours(demo: Model, capsys, monkeypatch) -> None:
    import loci

    card = loci.read(demo, "L1N126", ["Gary Payton plays the sport of basketball."])
    assert any("»" in line and "«" in line for line in printed(capsys, monkeypatch, 80, card))


def test_tables_are_aligned_once(capsys, monkeypatch) -> None:
    table = Table("", "n", box=None)
    table.add_row("a", "1")
    assert aligned(aligned(table)).columns[1].justify == "right"
