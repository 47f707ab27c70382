"""Pages that are written from tables are as the tables are; README and docs hold what they print.

What a page states no time for is run here, top to bottom; the rest by `make docs`. All of it is parsed: commands, options, values, files
that were written before, names in Python.
"""

import runpy
import sys
import types
from pathlib import Path

import pytest

import loci
from loci.model import Model

ROOT = Path(__file__).parents[1]


def script(name: str) -> types.SimpleNamespace:
    module = types.ModuleType(name)
    sys.modules[name] = module  # dataclasses look their module up
    path = ROOT / "scripts" / f"{name}.py"
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), module.__dict__)
    return types.SimpleNamespace(**vars(module))


docs = script("run_docs")
IDS = [path.stem for path in docs.PAGES]


def test_models_and_points() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](), "run python scripts/make_docs.py"


@pytest.mark.parametrize("page", docs.PAGES, ids=IDS)
def test_a_page_prints_nothing_that_there_is_not(page: Path) -> None:
    assert docs.faults(page) == []


@pytest.mark.parametrize("page", docs.PAGES, ids=IDS)
def test_a_page_runs_as_it_is_printed(page: Path, demo: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that state no time; what is left out reads a file of one that does, or states a time itself: the page says all of it."""
    monkeypatch.setattr(
        "loci.open", lambda name="demo", **how: demo if name == "demo" and not how else loci.model.open_model(name, **how)
    )
    argv = list(sys.argv)
    try:
        ran, left_out = docs.run(page, up_to=0)
    finally:
        sys.argv = argv
    slow = "states no time"  # how long a step takes here is another's business: the machine may be busy
    wrong = [f"{done.step.where}: {fault}" for done in ran for fault in done.wrong if slow not in fault]
    assert wrong == []
    missing = {name for step in left_out if step.kind == "sh" for command in docs.words(step) for name in docs.outputs(command)}
    for step in left_out:
        named = {word for command in docs.words(step) for word in command} if step.kind == "sh" else set()
        assert step.seconds is not None or named & missing or any(name in step.text for name in missing), step.where


def test_most_of_the_tour_is_run() -> None:
    steps = docs.steps(ROOT / "README.md")
    assert sum(step.seconds is None for step in steps) >= len(steps) / 2


@pytest.mark.parametrize(
    ("printed", "fault"),
    [
        ("loci trace", None),
        ("loci tracing", "no command 'tracing'"),
        ('loci trace "x" --sampels 3', "no option --sampels"),
        ('loci trace "x" --samples many', "valid integer"),
        ("loci audit --patch nowhere.safetensors", "nothing has written 'nowhere.safetensors'"),
        ("loci edit --facts corrections.csv -o a.safetensors", None),
        ("loci edit --facts corrections.csv", "--out"),
        ("make tea", "no target 'tea'"),
        ("brew tea", "what is 'brew'"),
    ],
)
def test_what_is_wrong_is_found(printed: str, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ROOT / "docs" / "unwritten.md"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"```sh\n{printed}\n```\n", raising=True)
    found = docs.faults(page)
    assert (found == []) if fault is None else any(fault in line for line in found), found


def test_names_and_times(tmp_path: Path) -> None:
    assert docs._unknown("import a\nb = a.c\nprint(b)\nwith b as d:\n    [e for e in d]\n") == []
    assert docs._unknown("print(ids)\nids = 1\n") == ["ids"]
    assert docs._stated("# 2 min: all of it") == 120 and docs._stated("# about 15 s") == 15 and docs._stated("# all 3 s") is None
    assert docs._split('loci ask "a # b"  # 3 s') == ('loci ask "a # b"', "# 3 s")


def test_examples_are_what_they_say() -> None:
    """The examples' old answers are what the embedded model was taught; new ones differ; no two edits conflict."""
    known = loci.known_facts()
    for name, count in (("corrections.csv", 20), ("more.csv", 5)):
        facts = loci.load_facts(ROOT / "examples" / name)
        assert len(facts) == count
        for fact in facts:
            taught = known.same(fact)
            assert taught is not None and taught.answer == fact.answer != fact.new_answer
            assert fact.relation == taught.relation and fact.paraphrases and len(fact.neighbours) == 3
    both = [*loci.load_facts(ROOT / "examples" / "corrections.csv"), *loci.load_facts(ROOT / "examples" / "more.csv")]
    assert loci.facts.conflicts(loci.FactSet(both)) == []
