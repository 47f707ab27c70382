"""Pages written by a script are up to date; README and docs run as they are printed.

Steps that state no time run here, top to bottom; the rest by `make docs`. All steps are checked
without running: commands, options, values, files that were written before, names in Python, links.
"""

import contextlib
import importlib
import inspect
import io
import re
import runpy
import shutil
import sys
import warnings
from pathlib import Path

import pytest

import loci
from loci.cli.common import console
from loci.model import Model

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import doc_faults  # noqa: E402
import doc_pages  # noqa: E402
import run_docs  # noqa: E402

IMAGES = ROOT / "docs" / "images"
EVERY = (*doc_pages.PAGES, *doc_pages.RESULTS)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT).with_suffix(""))


def test_models_and_points() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_docs.py"))
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"](), "python scripts/make_docs.py"


def test_commands_and_lessons() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_cli_reference.py"))
    page = made["PAGE"].read_text(encoding="utf-8")
    assert page == made["page"](), "python scripts/make_cli_reference.py"
    made = runpy.run_path(str(ROOT / "scripts" / "make_site.py"))
    page = (ROOT / "docs" / "lessons.md").read_text(encoding="utf-8")
    assert page == made["lessons_page"](), "python scripts/make_site.py --lessons"


def test_the_site_has_every_page_once() -> None:
    nav = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M)
    pages = {str(page.relative_to(ROOT / "docs")) for page in EVERY if page.parent != ROOT}
    assert sorted(nav) == sorted(pages), "nav of mkdocs.yml"


def test_a_page_of_the_site(tmp_path: Path) -> None:
    staged = runpy.run_path(str(ROOT / "scripts" / "make_site.py"))["staged"]
    staged.__globals__["PAGES"] = tmp_path
    source = ROOT / "docs" / "results" / "editing.md"
    text = "```output 9\nx\n```\n[a](../editing.md#x) [b](../../README.md) [c](https://x.org)"
    made = staged(text, source)
    assert made.startswith("```text\nx\n```\n[a](../editing.md#x) [b](../files/README.md)")
    assert made.endswith("[c](https://x.org)") and (tmp_path / "files" / "README.md").exists()


def test_faults_of_the_built_site_are_found(tmp_path: Path) -> None:
    faults = runpy.run_path(str(ROOT / "scripts" / "check_site.py"))["faults"]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "b.html").write_text('<h1 id="x"><img src="data:,"></h1>')
    page = tmp_path / "a.html"
    page.write_text(
        '<a href="in/b.html#x">fine</a><a href="https://x.org">a reader may</a><a href="#top">'
        '<link rel="canonical" href="https://x.org"><p id="top"><a href="in/">none</a>'
    )
    assert list(faults(tmp_path)) == ["a.html: no file in/"]
    page.write_text(
        '<a href="in/b.html#y"></a><script src="https://x.org/s.js"></script>'
        '<link rel="stylesheet" href="//x.org/s.css"><p style="background: url(https://x.org/p)">'
    )
    (tmp_path / "s.css").write_text("@import 'https://x.org/t.css';")
    assert list(faults(tmp_path)) == [
        "a.html: loads https://x.org/s.js",
        "a.html: loads //x.org/s.css",
        "a.html: loads https://x.org/p",
        "a.html: no place #y in b.html",
        "s.css: loads https://x.org/t.css",
    ]


def test_a_stranger_reads_the_readme_in_two_minutes() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_names_of_the_api_page_exist_and_are_nearly_all() -> None:
    made = runpy.run_path(str(ROOT / "scripts" / "make_api.py"))
    text = made["PAGE"].read_text(encoding="utf-8")
    sections = {part.split("\n")[0]: part for part in text.split("\n## ")[1:]}
    for title, section in sections.items():
        module = importlib.import_module(title)
        printed = set(re.findall(r"^\| `(\w+)` \|", section, flags=re.M))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # a name of the last version
            assert [name for name in sorted(printed) if not hasattr(module, name)] == [], title
        public = {name for name in module.__all__ if not inspect.ismodule(getattr(module, name))}
        share = len(printed & public) / len(public)
        assert share >= 0.7, f"{title}: run python scripts/make_api.py"


@pytest.mark.parametrize("page", EVERY, ids=name_of)
def test_commands_names_and_links_of_a_page_exist(page: Path) -> None:
    assert doc_faults.faults(page) == []


@pytest.mark.parametrize("page", doc_pages.PAGES, ids=name_of)
def test_a_page_runs_as_it_is_printed(
    page: Path, demo: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps that state no time run; a step left out states a time,
    or reads a file of such a step.
    """
    monkeypatch.setattr(
        "loci.open",
        lambda name="demo", **how: (
            demo if name == "demo" and not how else loci.model.open_model(name, **how)
        ),
    )
    argv = list(sys.argv)
    try:
        ran, left_out = run_docs.run(page, up_to=0)
    finally:
        sys.argv = argv
    slow = "states no time"  # not judged here: the machine may be busy
    wrong = [f"{done.step.where}: {fault}" for done in ran for fault in done.wrong]
    assert [fault for fault in wrong if slow not in fault] == []
    shell = [command for step in left_out if step.kind == "sh" for command in doc_pages.words(step)]
    missing = {name for command in shell for name in doc_pages.outputs(command)}
    for step in left_out:
        commands = doc_pages.words(step) if step.kind == "sh" else []
        reads = {word for command in commands for word in command} & missing
        reads |= {name for name in missing if name in step.text}
        assert step.seconds is not None or reads, step.where


def test_the_console_follows_stdout_once_a_page_has_run(capsys: pytest.CaptureFixture[str]) -> None:
    with io.StringIO() as printed, contextlib.redirect_stdout(printed):
        assert run_docs._call(["loci", "cache"], printed, printed) == 0
        assert printed.getvalue()
    console.print("said to whoever listens now")
    assert capsys.readouterr().out == "said to whoever listens now\n"


def test_most_of_the_tour_is_run() -> None:
    steps = doc_pages.steps(ROOT / "docs" / "tour.md")
    assert sum(step.seconds is None for step in steps) >= len(steps) / 2


def test_every_page_of_a_verb_shows_an_output() -> None:
    for name in ("locating", "reading", "editing", "auditing", "patches", "writing", "circuits"):
        steps = doc_pages.steps(ROOT / "docs" / f"{name}.md")
        assert any(step.output and step.output.words for step in steps), name


def test_an_output_that_is_not_printed_is_found() -> None:
    step = doc_pages.Step("page.md", 1, "sh", "loci ask", None)
    step.output = doc_pages.Output(1, ["the answer is basketball, 0.93"], None)
    same = run_docs.Ran(step, 0, 0.0, "the answer is basketball, 0.94\n", "")
    other = run_docs.Ran(step, 0, 0.0, "no output of this kind\n", "")
    assert run_docs._wrong(same) == [] and "basketball" in run_docs._wrong(other)[0]


def test_outputs_are_written_where_they_belong(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\na\n```\n```output 2\nold\n```\nend\n")
    step = doc_pages.Step("page.md", 2, "sh", "a", None, doc_pages.Output(4, ["old"], 2))
    run_docs.write(page, [run_docs.Ran(step, 0, 0.0, "\none\ntwo\nthree\n", "")])
    assert page.read_text() == "```sh\na\n```\n```output 2\none\ntwo\n…\n```\nend\n"


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
def test_what_is_wrong_is_found(
    printed: str, fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = ROOT / "docs" / "unwritten.md"
    monkeypatch.setattr(Path, "read_text", lambda self, **_: f"```sh\n{printed}\n```\n")
    faults = doc_faults.faults(page)
    assert (faults == []) if fault is None else any(fault in line for line in faults), faults


@pytest.mark.parametrize("name", ["SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_other_pages_exist(name: str) -> None:
    assert list(doc_faults.link_faults(ROOT / name)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One title\n[a](#one-title) [b](#two) [c](none.md) [d](https://x.org)\n")
    assert list(doc_faults.link_faults(page)) == [
        "page.md: no heading #two in page.md",
        "page.md: no file none.md",
    ]


def test_names_and_times() -> None:
    code = "import a\nb = a.c\nprint(b)\nwith b as d:\n    [e for e in d]\n"
    assert doc_faults._unknown(code) == []
    assert doc_faults._unknown("print(ids)\nids = 1\n") == ["ids"]
    assert (
        doc_pages._stated("# 2 min: all of it") == 120 and doc_pages._stated("# about 15 s") == 15
    )
    assert doc_pages._stated("# all 3 s") is None
    assert doc_pages.split('loci ask "a # b"  # 3 s') == ('loci ask "a # b"', "# 3 s")


def test_every_image_is_shown_by_a_page() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in EVERY)
    text += (ROOT / "src" / "loci" / "demo" / "CARD.md").read_text(encoding="utf-8")
    assert [path.name for path in IMAGES.iterdir() if f"images/{path.name}" not in text] == []


def test_the_notebook_runs_cell_by_cell(
    demo: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Beside the other examples, as the tour copies them; with the quick editor and few questions,
    as what they measure is held elsewhere.
    """
    shutil.copytree(ROOT / "examples", tmp_path / "tour")
    monkeypatch.chdir(tmp_path / "tour")
    edit, audit, known = loci.edit, loci.audit, loci.known_facts()
    monkeypatch.setattr(loci, "open", lambda name: {"demo": demo}[name])
    monkeypatch.setattr(loci, "edit", lambda *given: edit(*given, method="memit", layers=[1]))
    monkeypatch.setattr(loci, "audit", lambda *given: audit(*given, controls=(), samples=5))
    runpy.run_path("notebook.py")
    said = capsys.readouterr().out.splitlines()
    assert said[0].strip() == "basketball"
    first = loci.load_facts("more.csv")[0]
    assert said[-3].startswith(first.text) and first.new_answer in said[-3]
    assert said[-2].startswith(first.text) and known.same(first).answer in said[-2]
    assert "efficacy" in said[-1]
    for made in ("trace.html", "audit.html", "more.safetensors"):
        assert Path(made).stat().st_size > 1000


def test_examples_are_what_they_say() -> None:
    """Old answers of the examples are the embedded model's; new ones differ; no edits conflict."""
    known = loci.known_facts()
    for name, count in (("corrections.csv", 20), ("more.csv", 5)):
        facts = loci.load_facts(ROOT / "examples" / name)
        assert len(facts) == count
        for fact in facts:
            taught = known.same(fact)
            assert taught is not None and taught.answer == fact.answer != fact.new_answer
            assert fact.relation == taught.relation
            assert fact.paraphrases and len(fact.neighbours) == 3
    names = ("corrections.csv", "more.csv")
    both = [fact for name in names for fact in loci.load_facts(ROOT / "examples" / name)]
    assert loci.facts.conflicts(loci.FactSet(both)) == []
