"""Lessons run headless, their exercises can be solved, and a wrong answer is refused."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import loci
from loci.errors import LociError
from loci.lessons import LESSONS, Exercise, Lesson, Ran, Text, lesson, run
from loci.lessons.catalogue import FOLDER, read_lesson
from loci.lessons.page import page
from loci.model import Model
from tests.lessons import stated

Runner = Callable[[int], Ran]


@pytest.fixture(scope="module")
def ran(demo: Model) -> Runner:
    """Each lesson once, at the smaller of its two sizes, on one opened model."""
    done: dict[int, Ran] = {}

    def once(number: int) -> Ran:
        if number not in done:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("LOCI_LESSONS_QUICK", "1")
                real = loci.model.open_model
                patch.setattr(
                    "loci.open",
                    lambda name="demo", **how: (
                        demo if name == "demo" and not how else real(name, **how)
                    ),
                )
                done[number] = run(lesson(str(number)))
        return done[number]

    return once


@pytest.mark.parametrize("entry", LESSONS, ids=lambda entry: entry.name)
def test_a_lesson_runs_and_its_exercises_can_be_solved(entry: Lesson, ran: Runner) -> None:
    done = ran(entry.number)
    assert sum(isinstance(value, Text) for value in done.shown) >= 5
    assert done.exercises and done.choices
    for posed in done.exercises:
        assert posed.right is None, "a lesson ships unanswered"
        assert posed.holds(eval(posed.solution, done.names)), posed.question
        assert not posed.holds(eval(posed.wrong, done.names)), posed.question
        assert posed.hint and posed.because


@pytest.mark.parametrize("entry", LESSONS, ids=lambda entry: entry.name)
def test_every_number_of_a_lesson_is_recomputed(entry: Lesson, ran: Runner) -> None:
    """What a lesson does not format from its own results stands in a table, with its check."""
    assert stated.left_over(entry) == [], "numbers in fixed words: tests/lessons/stated.py"
    source = entry.path.read_text(encoding="utf-8")
    shown = [stated.flat(text) for text in stated.texts(entry)]
    names = {**ran(entry.number).names, "math": math, "source": source}
    for fragment, check in stated.STATED.get(entry.number, {}).items():
        assert any(fragment in text for text in shown), f"nothing says {fragment!r} any more"
        assert eval(check, names), fragment
    for fragment in stated.GIVEN.get(entry.number, ()):
        assert any(fragment in text for text in shown), f"nothing says {fragment!r} any more"


def test_a_number_that_nothing_recomputes_is_found(tmp_path: Path) -> None:
    place = tmp_path / "9_mine.py"
    place.write_text('mo.md(f"In step 2 of lesson 3 P falls to 0.17, by {x:.2f}: a quarter.")\n')
    assert [
        re.findall(r"0\.17|quarter", text) for text in stated.left_over(read_lesson(place))
    ] == [
        ["0.17", "quarter"],
        ["0.17", "quarter"],
    ]


@pytest.mark.parametrize("entry", LESSONS, ids=lambda entry: entry.name)
def test_a_lesson_is_a_page_without_another_host(entry: Lesson, ran: Runner) -> None:
    made = page(ran(entry.number))
    assert f"<h1>{entry.title}</h1>" in made and "<details><summary>Solution" in made
    words = "\n".join(v.markdown for v in ran(entry.number).shown if isinstance(v, Text))
    assert made.count("<table>") == sum(line.startswith("|---") for line in words.splitlines())
    assert "    |" not in words, "a table whose rows stand further in is no table"
    head = made.partition("<body>")[0].replace("plotly.js", "")
    assert 'src="http' not in made and "<link" not in head


def test_lessons_are_numbered_and_named() -> None:
    assert [entry.number for entry in LESSONS] == list(range(1, len(LESSONS) + 1))
    assert all(entry.title.endswith("?") or entry.title for entry in LESSONS)
    assert lesson("store_a_fact") is lesson("1")
    with pytest.raises(LociError, match="there is no lesson 'ten': 1 store_a_fact"):
        lesson("ten")


def test_marimo_takes_the_files_as_they_are() -> None:
    pytest.importorskip("marimo")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "marimo",
            "check",
            "--strict",
            *map(str, sorted(FOLDER.glob("*.py"))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


COPY = '''"""Mine."""

import marimo

app = marimo.App()

with app.setup:
    import marimo as mo

    from loci.lessons import exercise


@app.cell
def _():
    angle = mo.ui.slider(0, 90, 10, value=30, label="an angle")
    word = mo.ui.dropdown(["yes", "no"], label="a word")
    angle
    return angle, word


@app.cell
def _(angle, word):
    answer = ANSWER
    mo.md(f"{angle.value} {word.value}")
    return (answer,)


@app.cell
def _(answer):
    exercise(
        "2?", answer, lambda a: 1 / a == 0.5, hint="half", solution="2", because="so", wrong="0"
    )
    return
'''


def copied(tmp_path: Path, answer: str) -> Lesson:
    place = tmp_path / "mine.py"
    place.write_text(COPY.replace("ANSWER", answer))
    return read_lesson(place)


def test_settings_and_answers_of_a_copy(tmp_path: Path) -> None:
    done = run(copied(tmp_path, "2"), {"angle": "60", "word": "no"})
    assert Text("60 no") in done.shown
    assert [e.verdict for e in done.exercises] == ["Right."]
    assert run(copied(tmp_path, "0")).exercises[0].verdict == "Not yet. half"
    assert run(copied(tmp_path, "'two'")).exercises[0].right is False
    html = page(done)
    assert "✓ Right." in html and "an angle: 60 (angle, 0 … 90)" in html
    assert "loci lessons mine.py runs it" in html and "lesson 0" not in html


@pytest.mark.parametrize(
    ("answer", "values", "message"),
    [
        ("1", {"angle": "91"}, "an angle: 91 is outside 0 … 90"),
        ("1", {"angle": "wide"}, "'wide' is no number"),
        ("1", {"word": "perhaps"}, "'perhaps' is none of yes, no"),
        ("1", {"angel": "3"}, "no setting 'angel': angle, word"),
        ("nothing", {}, r"mine\.py:\d+: NameError: name 'nothing'"),
        ("(", {}, "this is no Python"),
    ],
)
def test_what_cannot_be_is_one_line(
    tmp_path: Path, answer: str, values: dict[str, str], message: str
) -> None:
    with pytest.raises(LociError, match=message):
        run(copied(tmp_path, answer), values)


def test_an_exercise_shows_itself() -> None:
    posed = Exercise("1 < 2?", None, bool, "no", "1 < 2", "so", "0")
    html = posed._repr_html_()
    assert "1 &lt; 2?" in html and "Not answered yet" in html and "<details>" in html
