"""Long texts: what is read is a window, what takes long says how far it is and can be stopped."""

from typing import Any

import pytest

from loci.explorer import measures
from loci.explorer.arguments import parsed
from loci.explorer.desk import PRODUCTS, Desk, Stopped, Tell
from loci.explorer.verbs import VERBS
from loci.model import Model, census
from loci.text import sample_text
from tests.explorer.test_verbs import done

LONG = "Osaka is a city in the country of Japan. " * 7 + "Michael Jordan plays the sport of"


def test_windows_of_a_long_text_are_parts_of_its_whole_grid(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = done(desk, "lens_grid", {"prompt": LONG, "top": 1})
    n, width = last["length"], measures.WINDOW
    assert n > 1.5 * width and last["first"] == n - width and len(last["rows"][0]) == width
    before = done(desk, "lens_grid", {"prompt": LONG, "top": 1, "end": last["first"] + 3})
    first = done(desk, "lens_grid", {"prompt": LONG, "top": 1, "end": 1})
    assert first["first"] == 0 and len(first["tokens"]) == width
    monkeypatch.setattr(measures, "WINDOW", n)
    whole = done(desk, "lens_grid", {"prompt": LONG, "top": 1})
    for part in (last, before, first):
        at = slice(part["first"], part["first"] + width)
        assert part["tokens"] == whole["tokens"][at]
        for row, all_ in zip(part["rows"], whole["rows"], strict=True):
            probs = [one[0]["prob"] for one in row]
            assert probs == pytest.approx([one[0]["prob"] for one in all_[at]], rel=1e-4)


@pytest.mark.parametrize("verb", ["lens_grid", "trace", "neurons"])
def test_what_takes_long_says_how_far_it_is_and_stops(desk: Desk, verb: str) -> None:
    said: list[dict[str, Any]] = []
    asked = {"prompt": LONG} if verb == "lens_grid" else {"prompt": LONG, "subject": "Jordan"}
    args = parsed(VERBS[verb].arguments, asked)
    with pytest.raises(Stopped):
        VERBS[verb].run(desk, args, (), Tell(said.append, lambda: len(said) >= 2))
    counts = [(one["done"], one["total"]) for one in said if "total" in one]
    assert counts and all(done <= total for done, total in counts)
    assert len(said) <= 4, "it stops at the next step"


def test_progress_begins_anew_with_another_total() -> None:
    said: list[dict[str, Any]] = []
    tell = Tell(said.append, lambda: False)
    for done_, total in ((1, 2), (1, 2), (1, 3), (2, 3)):
        tell.progress(done_, total)
    assert [one["done"] for one in said] == [1, 2, 1, 3]


def test_a_larger_model_is_read_over_less_text(desk: Desk, demo: Model) -> None:
    assert desk.reading_tokens * census(demo).parts["mlp_weights"] < PRODUCTS
    assert 1_024 <= desk.reading_tokens == done(desk, "about", {})["reading_tokens"] <= 30_000
    assert desk.texts(500) == sample_text(demo, 500) and desk.texts(500) is desk.texts(500)


def test_a_bare_space_has_a_name_for_eyes(demo: Model) -> None:
    labels = demo.tokenize("\u05d9\u05e8 and  so").labels
    assert labels[1] == "␣" and labels.count("␣") == 2 and "Ġ" not in labels
