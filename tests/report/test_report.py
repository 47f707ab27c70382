import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loci.cli.app import main
from loci.cli.opening import Opening
from loci.facts import Fact, FactSet
from loci.model import Model
from loci.report import Story, page, save, tell, write_page

VOID = {"meta", "br", "img", "hr", "link", "input"}


@pytest.fixture(scope="module")
def story(demo: Model, world: FactSet) -> Story:
    fact = next(f for f in world.about("Michael Jordan") if f.relation == "athlete_sport")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("loci.report.story.READING_TOKENS", 4_000)  # for the neurons' triggers
        return tell(demo, fact.to("baseball"), world, more=1)


class Balanced(HTMLParser):
    """Every tag that opens is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_story_holds_together(story: Story) -> None:
    assert story.reverted_bit_for_bit
    assert story.trace.answer == "basketball"
    assert story.audit.cases[0].said == "baseball"
    assert [card.name for card in story.cards] == [
        f"L{layer}N{neuron}" for layer, neuron, _ in story.neurons.top(3)
    ]
    document = story.to_dict()
    assert {"schema", "trace", "edit", "audit", "reverted_bit_for_bit", "seconds"} <= set(document)
    states = story.ladder.states
    assert states["base"] == states["undone"]
    assert max(states["edited"], key=states["edited"].get).strip() == "baseball"


def test_the_command_tells_the_story(
    story: Story,
    demo: Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As a document and in words; it asks for the story of the fixture, which is told once."""
    asked: list[tuple[str, str | None, int]] = []

    def told(model: Model, fact: Fact, _: FactSet, *, more: int, **__: object) -> Story:
        assert model is demo
        asked.append((fact.text, fact.new_answer, more))
        return story

    def loci(*words: str) -> str:
        monkeypatch.setattr("sys.argv", ["loci", "demo", "--edits", "1", *words])
        with pytest.raises(SystemExit) as ended:
            main()
            raise SystemExit(0)
        assert not ended.value.code
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("loci.report.tell", told)
    monkeypatch.setattr(Opening, "open", lambda self: demo)
    found = json.loads(loci("--out", "here", "--json"))
    assert {"schema", "trace", "edit", "audit", "reverted_bit_for_bit", "seconds", "report"} <= set(
        found
    )
    assert found["reverted_bit_for_bit"] is True
    written = sorted(file.name for file in (tmp_path / "here").iterdir())
    assert written == ["edit.safetensors", "report.html"]
    assert Path(found["report"]).exists()
    words = (
        "Where is it?",
        "Which neurons hold it?",
        "Change it",
        "What else did that touch?",
        "every bit is back",
        "report.html",
    )
    out = loci("--out", "there")
    assert all(word in out for word in words)
    assert asked == 2 * [("Michael Jordan plays the sport of", "baseball", 1)]


def test_page_is_whole_and_needs_no_network(story: Story, tmp_path: Path) -> None:
    write_page(story, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    markup = re.sub(r"<script[^>]*>.*?</script>", "", html, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)=|@import|url\(", markup)
    assert not re.search(r"<script[^>]*src", html)
    parser = Balanced()
    parser.feed(html)
    assert not parser.stack
    assert html.count("plotly-graph-div") >= 5
    for words in (
        "Where is it?",
        "Which neurons hold it?",
        "Undo it",
        "every bit is back",
        "in all,",
        "when the MLPs are restored one",
        story.patch.id,
    ):
        assert words in html


def test_page_escapes_what_users_write(story: Story) -> None:
    evil = Fact("<script>x</script>", "{} is", "a").to("<b>")
    object.__setattr__(story, "fact", evil)
    html = page(story)
    assert "<script>x" not in html
    assert "&lt;script&gt;x" in html


def test_card_files(story: Story, tmp_path: Path) -> None:
    save(story.cards[0], tmp_path / "card.html")
    assert story.cards[0].name in (tmp_path / "card.html").read_text()
    save(story.cards[0], tmp_path / "card.json")
    assert '"schema": "loci.neuron/1"' in (tmp_path / "card.json").read_text()
